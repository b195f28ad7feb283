"""The stream protocol: rows that are read piece by piece, in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.sources import Labels, Target, check_weights, encode_labels
from parallel_ridge.streams._sample import Sample


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a stream.

    Attributes
    ----------
    start, stop : int
        Positions of the rows.
    X : ndarray of shape (m, ...) or CSR matrix of shape (m, d), or None
        The rows; None if only their labels were asked for.
    labels : Labels, or None
        Codes among the classes of ``target``.
    target : Target, or None
    weights : ndarray of shape (m,), float64, or None
    groups, folds : ndarray of shape (m,), or None
        Group, and cross-validation fold, of each row.
    place : str
        Where the rows are, for error messages, such as ``"batch 3"``.
    """

    start: int
    stop: int
    X: Any
    labels: Labels | None = None
    target: Target | None = None
    weights: NDArray[np.float64] | None = None
    groups: NDArray[Any] | None = None
    folds: NDArray[Any] | None = None
    place: str = ""

    def decoded(self) -> Any:
        """The labels as the user gave them; None if they were not read."""
        if self.labels is None or self.target is None:
            return None
        return self.target.decode(self.labels)


class Stream(ABC):
    """Rows that can be read piece by piece, again and again, in the same order.

    Attributes
    ----------
    description : str
        What the user passed, for error messages.
    once : bool
        Whether the rows can be read only once.
    labels_apart : bool
        Whether labels can be read without the features, and their order is sure to stay the same.
    columns : tuple of str, or None
        Names of the feature columns of a table.
    features_named : bool
        Whether each of these columns is one feature.
    here : bool
        Whether processes that share the rows read them; if not, their backend does, in a cluster.
    """

    description: str = "stream"
    once: bool = False
    labels_apart: bool = False
    columns: tuple[str, ...] | None = None
    features_named: bool = False
    here: bool = True

    @abstractmethod
    def pieces(self, features: bool = True) -> Iterator[Piece]:
        """Pieces of all rows, in order; without X if ``features`` is False.

        Every call reads the rows anew.
        """

    def share(self, rank: int, size: int) -> Stream:
        """The part of the rows that one of several processes reads; here, all of them are its own."""
        return self

    def first(self) -> Piece | None:
        """The first piece; None if there are no rows."""
        pieces = self.pieces()
        with closing(pieces):  # type: ignore[type-var]
            return next(pieces, None)

    def sample(self, n_rows: int) -> Sample:
        """At most twice ``n_rows`` rows with their labels, spread evenly; takes a pass."""
        sample = Sample(n_rows)
        pieces = self.pieces()
        with closing(pieces):  # type: ignore[type-var]
            for piece in pieces:
                sample = sample.plus(piece.X, piece.decoded())
        return sample


@dataclass(frozen=True)
class Arrays:
    """Labels, weights and groups that lie beside the rows of a stream, as arrays.

    Attributes
    ----------
    n_rows : int, or None
        Length of the arrays; None if there are none.
    """

    n_rows: int | None = None
    labels: Labels | None = None
    target: Target | None = None
    weights: NDArray[np.float64] | None = None
    groups: NDArray[Any] | None = None

    @classmethod
    def of(cls, y: Any, sample_weight: Any, groups: Any) -> Self:
        """Check and encode arrays; each may be None."""
        n_rows = labels = target = weights = None
        if y is not None:
            labels, target = encode_labels(y[...] if _is_chunked(y) else y)
            n_rows = len(labels)
        given = {"sample_weight": sample_weight, "groups": groups}
        arrays = {name: None if a is None else np.asarray(a) for name, a in given.items()}
        for name, array in arrays.items():
            if array is None:
                continue
            if array.ndim != 1 or n_rows not in (None, len(array)):
                raise ValueError(
                    f"{name}.shape == {array.shape}, expected ({n_rows or 'n'},): one value per row."
                )
            n_rows = len(array)
        if sample_weight is not None:
            assert n_rows is not None
            weights = check_weights(arrays["sample_weight"], n_rows)
        return cls(n_rows, labels, target, weights, arrays["groups"])

    def beside(self, start: int, stop: int) -> dict[str, Any]:
        """Fields of the piece of these rows."""
        if self.n_rows is not None and stop > self.n_rows:
            raise ValueError(
                f"X has more than the {self.n_rows} rows that y (or sample_weight or groups) has."
            )
        rows = slice(start, stop)
        found: dict[str, Any] = {}
        if self.labels is not None:
            found |= {"labels": self.labels[rows], "target": self.target}
        for name in ("weights", "groups"):
            values = getattr(self, name)
            if values is not None:
                found[name] = values[rows]
        return found

    def check_end(self, n_rows: int) -> None:
        """Raise if the stream had fewer rows than the arrays have."""
        if self.n_rows not in (None, n_rows):
            raise ValueError(
                f"X has {n_rows} rows, and y (or sample_weight or groups) has {self.n_rows}."
            )


def _is_chunked(y: Any) -> bool:
    return not isinstance(y, np.ndarray) and hasattr(y, "chunks") and hasattr(y, "shape")


def read_once(description: str) -> ValueError:
    """The error for a second pass over rows that can be read once."""
    return ValueError(
        f"This needs another pass over the rows, and X, a {description}, can be read once. "
        "One pass is enough for partial_fit, and for ParallelRidgeClassifier(solver='eigen') with its "
        "other options at their defaults. Scores of a search, solver='svd' and 'cg', and the "
        "refinement of an ill-conditioned solution take more: pass rows that can be read again (a "
        "list of batches, a DataLoader, a table, a dataset)."
    )
