"""Rows of arrays and CSR matrices in the memory of this process, or made of what is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import check_array

from parallel_ridge.sources._base import Block, Validate
from parallel_ridge.sources._features import FeatureRows
from parallel_ridge.sources._labels import Labels, Target, encode_labels
from parallel_ridge.sources._sparse import as_csr, canonical


class RowFacts(ABC):
    """Facts of rows in this process, from their labels and weights."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of rows in use."""

    @abstractmethod
    def row_labels(self) -> Labels:
        """Labels of the rows in use."""

    @abstractmethod
    def row_weights(self) -> NDArray[np.float64] | None:
        """Weights of the rows in use."""

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""
        weights = self.row_weights()
        return float(self.n_rows) if weights is None else float(weights.sum())

    def positive_rows(self) -> int:
        """Number of rows with a positive weight."""
        weights = self.row_weights()
        return self.n_rows if weights is None else int(np.count_nonzero(weights))

    def weight_range(self) -> tuple[float, float]:
        """Smallest and largest positive weight; both 1 if there are none."""
        return weight_range(self.row_weights())

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Number of rows in each class."""
        return self.row_labels().counts(n_classes)


class Elsewhere:
    """Stands in for rows that are not in one array here: splitters see only their number.

    Parameters
    ----------
    shape : tuple of int
    where : str
        Where the rows are, for an error.
    """

    def __init__(self, shape: tuple[int, int], where: str) -> None:
        self.shape = shape
        self.where = where

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        raise ValueError(
            f"The splitter looks at X, and the rows are {self.where}: pass the splits themselves, as "
            "(train, test) positions, or the column that decides as groups."
        )


class ArraySource(RowFacts):
    """Rows of an array (or memory map) or a CSR matrix in this process, without a copy.

    Parameters
    ----------
    X : ndarray, CSR matrix or FeatureRows of shape (n, d)
    labels : Labels of n rows
    weights : ndarray of shape (n,), float64, or None
    rows : ndarray of int, default=None
        Positions of the selected rows, gathered block by block; all rows if None.
    edges : sequence of int, default=None
        Start of each group among the selected rows, and the end of the last group; a single group
        if None.
    """

    collectable = True
    fold_sizes: Sequence[int] = ()
    columns: tuple[str, ...] | None = None

    def __init__(
        self,
        X: Any,
        labels: Labels,
        weights: NDArray[np.float64] | None = None,
        rows: NDArray[np.intp] | None = None,
        edges: Sequence[int] | None = None,
    ) -> None:
        self.sparse = X.sparse if isinstance(X, FeatureRows) else sp.issparse(X)
        self.X = canonical(X) if sp.issparse(X) else X
        self.labels = labels
        self.weights = weights
        self.rows = rows
        self.n_features = X.shape[1]
        self.edges = (0, self.n_rows) if edges is None else edges
        self.dtype = X.dtype

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.weights is not None

    @property
    def n_rows(self) -> int:
        """Number of rows, selected ones if there are any."""
        return int(self.X.shape[0]) if self.rows is None else len(self.rows)

    @property
    def local_rows(self) -> slice:
        """Slice of all rows that this process holds: every row."""
        return slice(0, self.n_rows)

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Yield blocks of ``n_rows`` rows, group by group; the last of a group may be shorter.

        Rows that are made take memory, so there are no more of them in a block than are made at a time.
        """
        if isinstance(self.X, FeatureRows):
            n_rows = min(n_rows, self.X.block_rows)
        for group, (first, last) in enumerate(pairwise(self.edges)):
            for start in range(first, last, n_rows):
                rows = self._range(start, min(start + n_rows, last))
                weights = None if self.weights is None else self.weights[rows]
                yield Block(rows, take_rows(self.X, rows), self.labels[rows], weights, group)

    def sample(self, n_rows: int) -> Any:
        """At most ``n_rows`` rows, spread evenly over the source, as an array or CSR matrix."""
        return self.every(max(1, -(-self.n_rows // n_rows)))

    def every(self, step: int, start: int = 0) -> Any:
        """Every ``step``-th row, from row ``start`` on."""
        rows = self.X[start::step] if self.rows is None else self.X[self.rows[start::step]]
        return rows if self.sparse else np.asarray(rows)

    def row_labels(self) -> Labels:
        """Labels of the selected rows."""
        return self.labels if self.rows is None else self.labels[self.rows]

    def row_weights(self) -> NDArray[np.float64] | None:
        """Weights of the selected rows."""
        return (
            self.weights if self.weights is None or self.rows is None else self.weights[self.rows]
        )

    def stored(self) -> int:
        """Number of values in the rows; for sparse rows, of stored values."""
        if not self.sparse:
            return self.n_rows * self.n_features
        return int(self.X.nnz * self.n_rows / max(1, self.X.shape[0]))

    def reweighted(self, table: NDArray[np.float64] | None) -> ArraySource:
        """The rows, each weight multiplied by its class weight."""
        if table is None:
            return self
        weights = self.labels.weights(table)
        if self.weights is not None:
            weights *= self.weights
        weighted = check_weights(weights, len(weights))
        return ArraySource(self.X, self.labels, weighted, self.rows, self.edges)

    def take(self, rows: NDArray[np.intp]) -> ArraySource:
        """Rows of ``X`` selected by position; a row may be selected more than once."""
        return ArraySource(self.X, self.labels, self.weights, rows)

    def grouped(self, group: Any, table: Sequence[int]) -> ArraySource:
        """The rows, ordered group by group."""
        number = np.asarray(table, np.int16 if len(table) < 2**15 else np.intp)[group]
        order = np.argsort(number, kind="stable")
        ends = np.arange(max(table) + 2)
        edges = np.searchsorted(number, ends, sorter=order)
        rows = order[edges[0] :]
        return ArraySource(
            self.X,
            self.labels,
            self.weights,
            rows if self.rows is None else self.rows[rows],
            (edges - edges[0]).tolist(),
        )

    def with_others_weightless(self) -> ArraySource:
        """All rows that `take` chose from, once each; rows not taken have weight zero."""
        if self.rows is None:
            return self
        weights = np.bincount(self.rows, minlength=len(self.labels)).astype(np.float64)
        if self.weights is not None:
            weights *= self.weights
        return ArraySource(self.X, self.labels, weights)

    def for_splitter(self, X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any, Any]:
        """The arrays that the user gave."""
        return X.samples if isinstance(X, FeatureRows) else X, y, groups, None

    def with_classes(self, positions: NDArray[np.int32], target: Target) -> ArraySource:
        """The same rows with more classes; ``positions`` are those of the classes so far."""
        labels = Labels(positions[self.labels.codes])
        return ArraySource(self.X, labels, self.weights, self.rows, self.edges)

    def without_rows(self, target: Target) -> ArraySource:
        """No rows, for one of several processes; their labels are of the kind of the others'."""
        indptr = np.zeros(1, np.int64) if target.multilabel else None
        return ArraySource(self.X[:0], Labels(np.empty(0, np.int32), indptr))

    def with_rows(self, X: NDArray[Any]) -> ArraySource:
        """The same labels and weights with different features."""
        return ArraySource(X, self.row_labels(), self.row_weights())

    def _range(self, start: int, stop: int) -> slice | NDArray[np.intp]:
        if self.rows is None:
            return slice(start, stop)
        rows = self.rows[start:stop]
        first, last = int(rows[0]), int(rows[-1])
        if last - first == len(rows) - 1 and (np.diff(rows) == 1).all():  # no need to gather
            return slice(first, last + 1)
        return rows


def take_rows(X: Any, rows: slice | NDArray[np.intp]) -> Any:
    """Rows of an array or a CSR matrix; a slice does not copy their values."""
    if not sp.issparse(X) or not isinstance(rows, slice):
        return X[rows]
    indptr = X.indptr[rows.start : rows.stop + 1]
    part = slice(indptr[0], indptr[-1])
    return sp.csr_matrix(
        (X.data[part], X.indices[part], indptr - indptr[0]),
        shape=(rows.stop - rows.start, X.shape[1]),
    )


def shifted(X: Any, shift: NDArray[np.float64]) -> Any:
    """Rows minus a shift, in float64; sparse rows stay sparse but fill in where it is not zero."""
    if isinstance(X, np.ndarray):
        return X - shift
    X = X.astype(np.float64, copy=False)
    columns = np.flatnonzero(shift)
    if not len(columns):
        return X
    n = X.shape[0]
    step = sp.csr_matrix(
        (
            np.tile(shift[columns], n),
            np.tile(columns.astype(X.indices.dtype), n),
            np.arange(n + 1, dtype=X.indptr.dtype) * len(columns),
        ),
        shape=X.shape,
    )
    return (X - step).tocsr()


def check_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64] | None:
    """Row weights as float64; None if all are one.

    Raises
    ------
    ValueError
        If a weight is negative, NaN or infinite (the message names the row), or if the length
        differs from ``n_rows``.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_rows, sample_weight, dtype=np.float64)
    weights = check_array(
        sample_weight,
        ensure_2d=False,
        ensure_min_samples=0,
        dtype=np.float64,
        ensure_all_finite=False,
        input_name="sample_weight",
    )
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}: one weight per row."
        )
    bad = np.flatnonzero(~(weights >= 0) | np.isinf(weights))
    if len(bad):
        raise ValueError(
            f"sample_weight must be finite and not negative; row {bad[0]} has {weights[bad[0]]}."
        )
    return None if np.all(weights == 1.0) else np.ascontiguousarray(weights)


def weight_range(weights: NDArray[np.float64] | None) -> tuple[float, float]:
    """Smallest and largest positive weight; both 1 if there are none."""
    positive = np.empty(0) if weights is None else weights[weights > 0.0]
    return (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)


def check_rows(X: Any, y: Any, empty: bool) -> tuple[Any, Any]:
    """Rows after scikit-learn's checks, and the labels; zero rows are always allowed."""
    X = check_array(
        as_csr(X) if sp.issparse(X) else X,
        accept_sparse="csr",
        ensure_all_finite=False,
        ensure_min_samples=0,
        input_name="X",
    )
    return X, y


def as_source(
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    classes: Any = None,
    validate: Validate = check_rows,
) -> tuple[ArraySource, Target]:
    """Make a source from an array of rows and its labels.

    The pass over the rows, not this function, checks that values are finite.

    Parameters
    ----------
    validate : callable, default=check_rows
        ``validate(X, y, empty)`` checks X and y and returns them as arrays (or CSR matrices);
        ``empty`` says whether zero rows are allowed.
    """
    X, y = validate(X, y, False)
    labels, target = encode_labels(y, classes)
    if len(labels) != X.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows and y has {len(labels)} labels.")
    return ArraySource(X, labels, check_weights(sample_weight, X.shape[0])), target


def cut(block: Block, n_rows: int) -> Iterator[Block]:
    """Parts of a block, of at most ``n_rows`` rows each."""
    m = block.X.shape[0]
    if m <= n_rows:
        yield block
        return
    for start in range(0, m, n_rows):
        yield part_of(block, slice(start, min(start + n_rows, m)), block.group)


def part_of(block: Block, rows: slice | NDArray[np.intp], group: int) -> Block:
    """Some rows of a block: a view if they are a slice."""
    if not isinstance(block.rows, slice):
        positions: slice | NDArray[np.intp] = block.rows[rows]
    elif isinstance(rows, slice):
        positions = slice(block.rows.start + rows.start, block.rows.start + rows.stop)
    else:
        positions = block.rows.start + rows
    weights = None if block.weights is None else block.weights[rows]
    return Block(positions, take_rows(block.X, rows), block.labels[rows], weights, group)
