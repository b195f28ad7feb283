"""The contract of a source, and the blocks it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.sources._labels import Labels

T = TypeVar("T")


Gather = Callable[[Callable[[], T]], list[T]]  # the verb of a backend


Validate = Callable[[Any, Any, bool], tuple[Any, Any]]  # X, y, and whether there may be no rows


@dataclass(frozen=True)
class Block:
    """Some rows of a source.

    Attributes
    ----------
    rows : slice or ndarray of int
        Their positions, for error messages.
    X : ndarray or CSR matrix of shape (m, d)
    labels : Labels
    weights : ndarray of shape (m,), float64, or None
    group : int
        The group that all of the rows are in, of a source of groups.
    """

    rows: slice | NDArray[np.intp]
    X: Any
    labels: Labels
    weights: NDArray[np.float64] | None
    group: int = 0

    def position(self, row: int) -> int:
        """Position, among all rows, of one of the block's."""
        start = self.rows.start + row if isinstance(self.rows, slice) else self.rows[row]
        return int(start)


class Source(Protocol):
    """Rows that a backend can read.

    The facts of a source are those of *all* rows, wherever they live; its blocks are rows of this
    process. Where rows live in several processes, all of them must ask for the same facts in the same
    order, because a fact is gathered when it is asked for.
    """

    @property
    def n_features(self) -> int:
        """Columns of the rows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the rows."""

    @property
    def sparse(self) -> bool:
        """Whether rows come as CSR."""

    @property
    def collectable(self) -> bool:
        """Whether one process can have all of the rows."""

    @property
    def fold_sizes(self) -> Sequence[int]:
        """Sizes of the folds that the backend made of rows that are not collectable; else empty."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the feature columns of a table."""

    @property
    def n_rows(self) -> int:
        """Rows of all processes."""

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""

    @property
    def local_rows(self) -> slice:
        """Where this process's rows stand among all."""

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of ``n_rows`` of this process's rows; the last one of each group may be shorter."""

    def sample(self, n_rows: int) -> Any:
        """At most ``n_rows`` rows, spread evenly over the source: an array or CSR."""

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""

    def positive_rows(self) -> int:
        """Rows with a positive weight."""

    def weight_range(self) -> tuple[float, float]:
        """The smallest positive weight and the largest; ones if there are none."""

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Rows of each class."""

    def magnitude(self) -> int:
        """Largest absolute value of integer rows."""

    def stored(self) -> int:
        """Number of values in the rows; for sparse rows, of those that are stored."""

    def reweighted(self, table: NDArray[np.float64] | None) -> Self:
        """The rows with their weights times those of their classes (see `Labels.weights`)."""

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Some of this process's rows, by position; a row may come more than once."""

    def grouped(self, group: Any, table: Sequence[int]) -> Self:
        """The rows in groups: row ``i`` in ``table[group[i]]``, or left out if that is -1.

        Parameters
        ----------
        group : ndarray of int
            A number for each of this process's rows; its form is up to whoever makes the source and
            the groups.
        table : sequence of int
            The group that each number stands for.
        """

    def with_others_weightless(self) -> Self:
        """All rows once each, of which some were taken; those not taken have weight zero."""

    def with_rows(self, X: NDArray[Any]) -> Self:
        """The same labels and weights, with other features of all rows."""
