"""The source protocol, and the blocks of rows that a source yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.sources._labels import Labels

T = TypeVar("T")


Gather = Callable[[Callable[[], T]], list[T]]  # a backend's method of this name


Validate = Callable[[Any, Any, bool], tuple[Any, Any]]  # X, y, and whether zero rows are allowed


@dataclass(frozen=True)
class Block:
    """A block of rows from a source.

    Attributes
    ----------
    rows : slice or ndarray of int
        Positions of the rows, for error messages.
    X : ndarray or CSR matrix of shape (m, d)
    labels : Labels
    weights : ndarray of shape (m,), float64, or None
    group : int
        Group that all of the rows belong to, if the source has groups.
    """

    rows: slice | NDArray[np.intp]
    X: Any
    labels: Labels
    weights: NDArray[np.float64] | None
    group: int = 0

    def position(self, row: int) -> int:
        """Position among all rows of a row of the block."""
        start = self.rows.start + row if isinstance(self.rows, slice) else self.rows[row]
        return int(start)


class Source(Protocol):
    """Rows that a backend can read.

    The facts of a source are those of *all* rows, wherever they live; its blocks are rows of this
    process. If rows live in several processes, all of them must ask for the same facts in the same
    order, because a fact is gathered when it is asked for.
    """

    @property
    def n_features(self) -> int:
        """Number of columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the rows."""

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR matrices."""

    @property
    def collectable(self) -> bool:
        """Whether one process can collect all of the rows."""

    @property
    def fold_sizes(self) -> Sequence[int]:
        """Sizes of the folds that the backend made of rows that are not collectable; else empty."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the feature columns of a table."""

    @property
    def n_rows(self) -> int:
        """Number of rows in all processes."""

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""

    @property
    def local_rows(self) -> slice:
        """Slice of all rows that this process holds."""

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of ``n_rows`` of this process's rows; the last of each group may be shorter."""

    def sample(self, n_rows: int) -> Any:
        """At most ``n_rows`` rows, spread evenly over the source, as an array or CSR matrix."""

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""

    def positive_rows(self) -> int:
        """Number of rows with a positive weight."""

    def weight_range(self) -> tuple[float, float]:
        """Smallest and largest positive weight; both 1 if there are none."""

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Number of rows in each class."""

    def stored(self) -> int:
        """Number of values in the rows; for sparse rows, of those that are stored."""

    def reweighted(self, table: NDArray[np.float64] | None) -> Self:
        """The rows, each weight multiplied by its class weight (see `Labels.weights`)."""

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Rows of this process selected by position; a row may be selected more than once."""

    def grouped(self, group: Any, table: Sequence[int]) -> Self:
        """The rows in groups: row ``i`` joins group ``table[group[i]]``, or none if that is -1.

        Parameters
        ----------
        group : ndarray of int
            One number per row of this process; its form is up to whoever makes the source and the
            groups.
        table : sequence of int
            The group that each number stands for.
        """

    def with_others_weightless(self) -> Self:
        """All rows that `take` chose from, once each; rows not taken have weight zero."""

    def for_splitter(self, X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any, Any]:
        """What a splitter may look at: X, labels, groups and folds of this process's rows.

        Parameters
        ----------
        X, y, groups : object
            As the user gave them.

        Returns
        -------
        tuple
            Arrays, or None; the folds are those of a column that the user named.
        """

    def with_rows(self, X: NDArray[Any]) -> Source:
        """The same labels and weights with different features for all rows."""
