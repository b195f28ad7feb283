"""Where rows live: each source gives its rows as blocks, in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Real
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from parallel_ridge.labels import among, as_labels, is_text, union_of_labels

T = TypeVar("T")
Gather = Callable[[Callable[[], T]], list[T]]  # the verb of a backend
Validate = Callable[[Any, Any, bool], tuple[Any, Any]]  # X, y, and whether there may be no rows


@dataclass(frozen=True)
class Labels:
    """Classes of rows: row ``i`` has ``codes[i]``, or ``codes[indptr[i]:indptr[i + 1]]``.

    Attributes
    ----------
    codes : ndarray of int32
        Positions in the classes.
    indptr : ndarray of shape (n + 1,), int64, or None
        Where each row's codes begin, for multilabel targets.
    """

    codes: NDArray[np.int32]
    indptr: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.codes) if self.indptr is None else len(self.indptr) - 1

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Labels:
        if self.indptr is None:
            return Labels(self.codes[rows])
        if isinstance(rows, slice):
            indptr = self.indptr[rows.start : rows.stop + 1]
            return Labels(self.codes[indptr[0] : indptr[-1]], indptr - indptr[0])
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return Labels(
            self.codes[np.repeat(self.indptr[rows] - indptr[:-1], lengths) + np.arange(indptr[-1])],
            indptr,
        )

    @staticmethod
    def join(parts: Sequence[Labels]) -> Labels:
        """Labels of all rows, in order."""
        codes = np.concatenate([part.codes for part in parts])
        if parts[0].indptr is None:
            return Labels(codes)
        lengths = [np.diff(part.indptr) for part in parts if part.indptr is not None]
        return Labels(codes, np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))

    def indicator(self, n_classes: int) -> NDArray[np.float64]:
        """Matrix of shape (n, n_classes) of +1 where a row has a class, -1 where not."""
        indptr = np.arange(len(self) + 1) if self.indptr is None else self.indptr
        out = np.full((len(self), n_classes), -1.0)
        out[np.repeat(np.arange(len(self)), np.diff(indptr)), self.codes] = 1.0
        return out

    def weights(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight of each row by its classes.

        Parameters
        ----------
        table : ndarray of shape (k,), or (k, 2) for multilabel targets
            Weight of each class; for multilabel targets, of rows without and with each label, which
            are multiplied.
        """
        if self.indptr is None:
            return table[self.codes]
        has = self.indicator(len(table)) > 0
        weights: NDArray[np.float64] = np.where(has, table[:, 1], table[:, 0]).prod(axis=1)
        return weights


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
    """Rows that a backend can fold.

    What a source tells is of *all* rows, wherever they live; what it gives, blocks, are rows of this
    process. Where rows live in several processes, all of them must ask alike: a fact is gathered
    when it is asked for.

    """

    @property
    def n_features(self) -> int:
        """Columns of the rows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows."""

    @property
    def sparse(self) -> bool:
        """Whether rows come as CSR."""

    @property
    def stays(self) -> bool:
        """Whether rows must stay where they are, so that no process can have them all."""

    @property
    def fold_sizes(self) -> Sequence[int]:
        """Rows of each fold that the backend has made, where rows stay; else none."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns of features, of a table."""

    @property
    def n_rows(self) -> int:
        """Rows of all processes."""

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""

    @property
    def span(self) -> slice:
        """Where this process's rows stand among all."""

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of ``n_rows`` of this process's rows, the last (of each group) perhaps fewer."""

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
        """Values that the rows hold: of sparse rows those that are stored."""

    def reweighted(self, table: NDArray[np.float64] | None) -> Self:
        """The rows with their weights times those of their classes (see `Labels.weights`)."""

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Some of this process's rows, by position; a row may come more than once."""

    def grouped(self, group: Any, table: Sequence[int]) -> Self:
        """The rows in groups: row ``i`` in ``table[group[i]]``, or left out if that is -1.

        Parameters
        ----------
        group : ndarray of int
            A number for each of this process's rows (what it is, is the source's own affair:
            whoever makes the source makes the groups).
        table : sequence of int
            Which groups those numbers mean.
        """

    def among_all(self) -> Self:
        """All rows that some were taken of, once each; those not taken with weight zero."""

    def with_rows(self, X: NDArray[Any]) -> Self:
        """The same labels and weights, with other features of all rows."""


class ArraySource:
    """Rows of an array (a memory map too) or a CSR matrix in this process; none is copied.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    labels : Labels of n rows
    weights : ndarray of shape (n,), float64, or None
    rows : ndarray of int, default=None
        Positions of the rows that are meant, gathered block by block; all, when None.
    edges : sequence of int, default=None
        Where each group of rows begins among those that are meant, and where the last one ends; one
        group, when None.
    """

    stays = False
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
        self.sparse = sp.issparse(X)
        self.X = canonical(X) if self.sparse else X
        self.labels = labels
        self.weights = weights
        self.rows = rows
        self.n_rows, self.n_features = X.shape[0] if rows is None else len(rows), X.shape[1]
        self.edges = (0, self.n_rows) if edges is None else edges
        self.dtype = X.dtype

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.weights is not None

    @property
    def span(self) -> slice:
        """All rows are this process's."""
        return slice(0, self.n_rows)

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of ``n_rows`` rows, group by group; the last of each perhaps fewer."""
        for group, (first, last) in enumerate(pairwise(self.edges)):
            for start in range(first, last, n_rows):
                rows = self._range(start, min(start + n_rows, last))
                weights = None if self.weights is None else self.weights[rows]
                yield Block(rows, take_rows(self.X, rows), self.labels[rows], weights, group)

    def sample(self, n_rows: int) -> Any:
        """At most ``n_rows`` rows, spread evenly over the source: an array or CSR."""
        return self.every(max(1, -(-self.n_rows // n_rows)))

    def every(self, step: int, start: int = 0) -> Any:
        """One of ``step`` rows."""
        rows = self.X[start::step] if self.rows is None else self.X[self.rows[start::step]]
        return rows if self.sparse else np.asarray(rows)

    def row_labels(self) -> Labels:
        """Labels of the rows that are meant."""
        return self.labels if self.rows is None else self.labels[self.rows]

    def row_weights(self) -> NDArray[np.float64] | None:
        """Weights of the rows that are meant."""
        return (
            self.weights if self.weights is None or self.rows is None else self.weights[self.rows]
        )

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""
        weights = self.row_weights()
        return float(self.n_rows) if weights is None else float(weights.sum())

    def positive_rows(self) -> int:
        """Rows with a positive weight."""
        weights = self.row_weights()
        return self.n_rows if weights is None else int(np.count_nonzero(weights))

    def weight_range(self) -> tuple[float, float]:
        """The smallest positive weight and the largest; ones if there are none."""
        return weight_range(self.row_weights())

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Rows of each class."""
        return np.bincount(self.row_labels().codes, minlength=n_classes)

    def magnitude(self) -> int:
        """Largest absolute value of integer rows."""
        largest = 0
        for block in self.blocks(2048):
            largest = max(largest, int(block.X.max()), -int(block.X.min()))
        return largest

    def stored(self) -> int:
        """Values that the rows hold: of sparse rows those that are stored."""
        if not self.sparse:
            return self.n_rows * self.n_features
        return int(self.X.nnz * self.n_rows / max(1, self.X.shape[0]))

    def reweighted(self, table: NDArray[np.float64] | None) -> ArraySource:
        """The rows with their weights times those of their classes."""
        if table is None:
            return self
        weights = self.labels.weights(table)
        if self.weights is not None:
            weights *= self.weights
        weighted = check_weights(weights, len(weights))
        return ArraySource(self.X, self.labels, weighted, self.rows, self.edges)

    def take(self, rows: NDArray[np.intp]) -> ArraySource:
        """Some of the rows of ``X``, by position; a row may come more than once."""
        return ArraySource(self.X, self.labels, self.weights, rows)

    def grouped(self, group: Any, table: Sequence[int]) -> ArraySource:
        """The rows group by group."""
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

    def among_all(self) -> ArraySource:
        """All rows that some were taken of, once each; those not taken with weight zero."""
        if self.rows is None:
            return self
        weights = np.bincount(self.rows, minlength=len(self.labels)).astype(np.float64)
        if self.weights is not None:
            weights *= self.weights
        return ArraySource(self.X, self.labels, weights)

    def with_rows(self, X: NDArray[Any]) -> ArraySource:
        """The same labels and weights, with other features."""
        return ArraySource(X, self.row_labels(), self.row_weights())

    def _range(self, start: int, stop: int) -> slice | NDArray[np.intp]:
        if self.rows is None:
            return slice(start, stop)
        rows = self.rows[start:stop]
        first, last = int(rows[0]), int(rows[-1])
        if last - first == len(rows) - 1 and (np.diff(rows) == 1).all():  # no need to gather
            return slice(first, last + 1)
        return rows


class ShardSource:
    """Rows of this process, and what is true of those of all processes.

    Parameters
    ----------
    local : ArraySource
        This process's rows, perhaps none.
    gather : callable
        The verb of the backend.
    rank : int
        This process's place among all.
    dtype : dtype
        That all processes with rows agree on.
    sparse : bool
    """

    stays = False
    fold_sizes: Sequence[int] = ()
    columns: tuple[str, ...] | None = None

    def __init__(
        self, local: ArraySource, gather: Gather[Any], rank: int, dtype: np.dtype[Any], sparse: bool
    ) -> None:
        self.local = local
        self.gather = gather
        self.rank = rank
        self.n_features = local.n_features
        self.dtype = dtype
        self.sparse = sparse

    @cached_property
    def _parts(self) -> list[tuple[int, bool, float, int, tuple[float, float]]]:
        """Of each process: rows, whether they are weighted, and what is known of their weights."""
        local = self.local
        return self.gather(
            lambda: (
                local.n_rows,
                local.weighted,
                local.weight_sum(),
                local.positive_rows(),
                local.weight_range(),
            )
        )

    @property
    def n_rows(self) -> int:
        """Rows of all processes."""
        return sum(part[0] for part in self._parts)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return any(part[1] for part in self._parts)

    @property
    def span(self) -> slice:
        """Where this process's rows stand among all: in order of the processes."""
        start = sum(part[0] for part in self._parts[: self.rank])
        return slice(start, start + self.local.n_rows)

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of this process's rows."""
        return self.local.blocks(n_rows)

    def sample(self, n_rows: int) -> Any:
        """At most ``n_rows`` rows: those that one process with all rows would take."""
        step = max(1, -(-self.n_rows // n_rows))
        start = -self.span.start % step
        parts = self.gather(lambda: self.local.every(step, start))
        parts = [part for part in parts if part.shape[0]] or parts[:1]
        return sp.vstack(parts, format="csr") if self.sparse else np.concatenate(parts)

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""
        return sum(part[2] for part in self._parts)

    def positive_rows(self) -> int:
        """Rows with a positive weight."""
        return sum(part[3] for part in self._parts)

    def weight_range(self) -> tuple[float, float]:
        """The smallest positive weight and the largest; ones if there are none."""
        ranges = [part[4] for part in self._parts if part[3]] or [(1.0, 1.0)]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Rows of each class."""
        counts: NDArray[np.int64] = np.sum(
            self.gather(lambda: self.local.class_counts(n_classes)), axis=0
        )
        return counts

    def magnitude(self) -> int:
        """Largest absolute value of integer rows."""
        return max(self.gather(self.local.magnitude))

    def stored(self) -> int:
        """Values that the rows hold: of sparse rows those that are stored."""
        return sum(self.gather(self.local.stored))

    def reweighted(self, table: NDArray[np.float64] | None) -> ShardSource:
        """The rows with their weights times those of their classes."""
        return self if table is None else self._with(self.local.reweighted(table))

    def take(self, rows: NDArray[np.intp]) -> ShardSource:
        """Some of this process's rows, by position."""
        return self._with(self.local.take(rows))

    def grouped(self, group: Any, table: Sequence[int]) -> ShardSource:
        """The rows in groups."""
        return self._with(self.local.grouped(group, table))

    def among_all(self) -> ShardSource:
        """All rows that some were taken of."""
        return self._with(self.local.among_all())

    def with_rows(self, X: NDArray[Any]) -> ShardSource:
        """The same labels and weights, with other features of all rows."""
        local = self.local.with_rows(X[self.span])
        return ShardSource(local, self.gather, self.rank, X.dtype, False)

    def _with(self, local: ArraySource) -> ShardSource:
        return ShardSource(local, self.gather, self.rank, self.dtype, self.sparse)


def take_rows(X: Any, rows: slice | NDArray[np.intp]) -> Any:
    """Rows of an array or a CSR matrix; those of a slice without a copy of their values."""
    if not sp.issparse(X) or not isinstance(rows, slice):
        return X[rows]
    indptr = X.indptr[rows.start : rows.stop + 1]
    part = slice(indptr[0], indptr[-1])
    return sp.csr_matrix(
        (X.data[part], X.indices[part], indptr - indptr[0]),
        shape=(rows.stop - rows.start, X.shape[1]),
    )


def shifted(X: Any, shift: NDArray[np.float64]) -> Any:
    """Rows less a shift, in float64; sparse rows stay sparse, and full where the shift is not zero."""
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


def check_sparse(X: Any, name: str = "X") -> None:
    """Raise unless a sparse matrix has its values in its own rows and columns: SciPy does not look.

    Parameters
    ----------
    X : sparse matrix of any format
    name : str
        What it is called in the message.

    Raises
    ------
    ValueError
    """
    n, d = X.shape
    if X.format == "coo":
        outside = (X.row < 0) | (X.row >= n) | (X.col < 0) | (X.col >= d)
        _raise_outside(name, X, outside, lambda at: (X.row[at], X.col[at]))
    if X.format not in ("csr", "csc", "bsr"):
        return
    block = X.blocksize if X.format == "bsr" else (1, 1)
    n_major, n_minor = (d, n) if X.format == "csc" else (n // block[0], d // block[1])
    indptr, indices = X.indptr, X.indices
    if len(indptr) != n_major + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise ValueError(
            f"{name} is a damaged {X.format.upper()} matrix: its indptr must begin with 0 and not "
            "decrease."
        )
    used = indptr[-1]
    if len(indices) < used or len(X.data) < used:
        raise ValueError(
            f"{name} is a damaged {X.format.upper()} matrix: it has fewer than its indptr's {used} "
            "values."
        )
    indices = indices[:used]

    def place(at: int) -> tuple[int, int]:
        major, minor = int(np.searchsorted(indptr, at, side="right")) - 1, int(indices[at])
        return (minor, major) if X.format == "csc" else (major * block[0], minor * block[1])

    if used and not (indices.min() >= 0 and indices.max() < n_minor):
        _raise_outside(name, X, (indices < 0) | (indices >= n_minor), place)


def _raise_outside(
    name: str, X: Any, outside: NDArray[np.bool_], place: Callable[[int], tuple[int, int]]
) -> None:
    if outside.any():
        row, column = place(int(np.flatnonzero(outside)[0]))
        raise ValueError(
            f"{name} is a damaged {X.format.upper()} matrix: row {row} has a value in column {column}, "
            f"and there are {X.shape[0]} rows and {X.shape[1]} columns."
        )


def as_csr(X: Any, name: str = "X") -> Any:
    """A sparse matrix of any format as CSR; one that is damaged is refused (see `check_sparse`)."""
    if X.ndim != 2:
        return X  # which scikit-learn's checks refuse
    check_sparse(X, name)
    if X.format != "csr":
        X = sp.csr_matrix(X)
        check_sparse(X, name)  # lists and dictionaries of indices show their damage only now
    return X


def canonical(X: Any) -> Any:
    """CSR with ascending indices and no repeats; the caller's matrix stays as it is.

    Raises
    ------
    ValueError
        See `check_sparse`.
    """
    check_sparse(X)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    index = np.promote_types(X.indices.dtype, X.indptr.dtype)
    arrays = [
        np.require(a, t, ["C", "A"])
        for a, t in ((X.data, None), (X.indices, index), (X.indptr, index))
    ]
    if not all(a is b for a, b in zip(arrays, (X.data, X.indices, X.indptr), strict=True)):
        X = sp.csr_matrix(tuple(arrays), shape=X.shape)
    return X


@dataclass(frozen=True)
class Target:
    """What the labels of a data set mean.

    Attributes
    ----------
    classes : ndarray of shape (k,)
        Labels in ascending order; ``arange(k)`` for multilabel targets.
    multilabel : bool
        Whether a row may have any number of them.
    """

    classes: NDArray[Any]
    multilabel: bool

    def decode(self, labels: Labels) -> NDArray[Any]:
        """The labels that positions stand for; a matrix of 0 and 1 for multilabel targets."""
        if self.multilabel:
            return (labels.indicator(len(self.classes)) > 0).astype(int)
        classes: NDArray[Any] = self.classes[labels.codes]
        return classes


def encode_labels(y: Any, classes: Any = None) -> tuple[Labels, Target]:
    """Positions of labels in the sorted classes.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, 1), or indicator matrix of shape (n, k)
    classes : array-like, default=None
        All labels there are; those of ``y`` when None.

    Raises
    ------
    ValueError
        If ``y`` is continuous or multi-output, or has a label that ``classes`` lacks.
    """
    if y is None:
        raise ValueError("y is missing: pass the labels of the rows of X.")
    y = as_csr(y, "y") if sp.issparse(y) else np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1 and not sp.issparse(y):
        y = column_or_1d(y, warn=True)
    if len(getattr(y, "shape", ())) == 1 and y.dtype.kind in "bui" and len(y):
        return _encode_integers(y, classes)  # needs neither sorting nor a look at the type
    if y.shape[0] == 0 and classes is None:
        raise ValueError("y has no rows, so its classes are unknown: pass classes.")
    if y.shape[0]:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind.endswith("multioutput"):
            raise ValueError(
                f"y of shape {y.shape} is {kind}: pass one label a row, or a multilabel indicator "
                "matrix of 0 and 1."
            )
    if y.ndim == 2:
        indicator = sp.csr_matrix(y)
        values = np.unique(indicator.data).tolist()
        if not (set(values) <= {0, 1} or set(values) <= {-1, 1}):
            raise ValueError(
                f"A multilabel indicator matrix holds 0 and 1, or -1 and 1; y holds {values[:5]}."
            )
        indicator = (indicator > 0).tocsr()
        target = Target(np.arange(y.shape[1]), multilabel=True)
        if classes is not None and not np.array_equal(classes, target.classes):
            raise ValueError(
                f"classes={np.asarray(classes).tolist()} for multilabel targets of "
                f"{y.shape[1]} columns; expected {target.classes.tolist()}."
            )
        return Labels(indicator.indices.astype(np.int32), indicator.indptr.astype(np.int64)), target
    found, codes = np.unique(y, return_inverse=True)
    return _among(found, classes, codes)


def _encode_integers(y: NDArray[Any], classes: Any) -> tuple[Labels, Target]:
    codes: NDArray[Any]
    low, high = int(y.min()), int(y.max())
    if high - low >= 2**16:
        found, codes = np.unique(y, return_inverse=True)
    else:
        # Unsigned labels may exceed int64, differences of signed ones their own dtype.
        away = y - y.dtype.type(low) if y.dtype.kind == "u" else y.astype(np.int64) - low
        offsets = away.astype(np.intp, copy=False)
        present = np.bincount(offsets, minlength=high - low + 1) > 0
        found = (np.flatnonzero(present).astype(y.dtype) + y.dtype.type(low)).astype(y.dtype)
        codes = (np.cumsum(present, dtype=np.int32) - 1)[offsets]
    return _among(found, classes, codes)


def _among(found: NDArray[Any], classes: Any, codes: NDArray[Any]) -> tuple[Labels, Target]:
    """Codes among `found` as codes among `classes`."""
    if classes is None:
        return Labels(codes.astype(np.int32, copy=False)), Target(found, multilabel=False)
    classes = as_labels(classes)
    positions = places(found, classes)
    return Labels(positions[codes]), Target(classes, multilabel=False)


def places(found: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int32]:
    """Positions of labels in the classes.

    Raises
    ------
    ValueError
        If one is not there.
    """
    positions, known = among(found, classes)
    if not known.all():
        raise ValueError(
            f"y contains labels that are not in classes: {found[~known].tolist()} not in "
            f"{classes.tolist()}."
        )
    return positions.astype(np.int32)


def check_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64] | None:
    """Weights of rows as float64; None where all are one.

    Raises
    ------
    ValueError
        If one is negative, NaN or infinite (the message names the row), or if the length differs
        from ``n_rows``.
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
            f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}: one weight a row."
        )
    bad = np.flatnonzero(~(weights >= 0) | np.isinf(weights))
    if len(bad):
        raise ValueError(
            f"sample_weight must be finite and not negative; row {bad[0]} has {weights[bad[0]]}."
        )
    return None if np.all(weights == 1.0) else np.ascontiguousarray(weights)


def weight_range(weights: NDArray[np.float64] | None) -> tuple[float, float]:
    """The smallest positive weight and the largest; ones if there are none."""
    positive = np.empty(0) if weights is None else weights[weights > 0.0]
    return (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)


def check_rows(X: Any, y: Any, empty: bool) -> tuple[Any, Any]:
    """Rows after scikit-learn's checks, and the labels; there may be none in any case."""
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
    """Source of the rows of an array with labels.

    Values are not checked to be finite here: the pass over the rows does that.

    Parameters
    ----------
    validate : callable, default=check_rows
        ``validate(X, y, empty)``: both as arrays (or CSR matrices), after checks; whether there may
        be no rows.
    """
    X, y = validate(X, y, False)
    labels, target = encode_labels(y, classes)
    if len(labels) != X.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows and y has {len(labels)} labels.")
    return ArraySource(X, labels, check_weights(sample_weight, X.shape[0])), target


@dataclass(frozen=True)
class _Facts:
    """What a process tells the others of its rows."""

    n_rows: int
    n_features: int
    names: list[str] | None
    dtype: np.dtype[Any]
    sparse: bool
    target: Target | None
    options: dict[str, str]


def as_shard(
    gather: Gather[Any],
    rank: int,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    classes: Any = None,
    validate: Validate = check_rows,
    options: Callable[[], dict[str, str]] = dict,
) -> tuple[ShardSource, Target]:
    """Source of this process's rows, with all that the processes must agree on.

    Parameters
    ----------
    gather : callable
        The verb of the backend.
    rank : int
        This process's place among all.
    options : callable
        ``options()``: what else must be the same everywhere, by name.

    Raises
    ------
    ValueError
        If processes disagree; the message shows what two of them have.
    """
    local: ArraySource

    def read() -> _Facts:
        nonlocal local
        names = _names(X)
        rows, labels = validate(X, y, True)
        target: Target | None = None
        if rows.shape[0] == 0 and np.shape(labels)[:1] == (0,):
            local = ArraySource(rows, Labels(np.empty(0, np.int32)))
        else:
            local, target = as_source(
                rows, labels, sample_weight=sample_weight, classes=classes, validate=_as_they_are
            )
        dtype = local.dtype.newbyteorder(
            "="
        )  # in which order bytes lie is each process's own affair
        return _Facts(local.n_rows, local.n_features, names, dtype, local.sparse, target, options())

    facts = gather(read)
    for name in facts[0].options:
        agree(name, [fact.options.get(name, "nothing") for fact in facts])
    agree("the number of features", [fact.n_features for fact in facts])
    agree("the names of the features", [fact.names for fact in facts])
    # Of what a process without rows has, neither matters.
    ranks = [rank for rank, fact in enumerate(facts) if fact.n_rows] or [0]
    dtype = agree("the dtype of X", [facts[i].dtype for i in ranks], ranks)
    sparse = agree("whether X is sparse", [facts[i].sparse for i in ranks], ranks)
    ranks = [rank for rank, fact in enumerate(facts) if fact.target is not None]
    if not ranks:
        if classes is None:
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {local.n_features})) on every rank, so the "
                "classes are unknown: pass classes."
            )
        _, target = encode_labels(np.empty(0), classes)
        return ShardSource(local, gather, rank, dtype, sparse), target
    targets = [fact.target for fact in facts if fact.target is not None]
    multilabel = agree("whether y is multilabel", [t.multilabel for t in targets], ranks)
    if multilabel:
        agree("the number of labels", [len(t.classes) for t in targets], ranks)
        if not local.n_rows:
            local.labels = Labels(np.empty(0, np.int32), np.zeros(1, np.int64))
        return ShardSource(local, gather, rank, dtype, sparse), targets[0]
    agree("whether labels are strings", [is_text(t.classes) for t in targets], ranks)
    union = union_of_labels(*(t.classes for t in targets))
    mine = facts[rank].target
    if mine is not None and not np.array_equal(mine.classes, union):
        local.labels = Labels(places(mine.classes, union)[local.labels.codes])
    return ShardSource(local, gather, rank, dtype, sparse), Target(union, multilabel=False)


def described(value: Any) -> str:
    """A value in words that are the same wherever it is: those of 1, 1.0 and ``np.float64(1)`` are."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bool) or not isinstance(
        value, Real | dict | set | frozenset | list | tuple
    ):
        if isinstance(value, FunctionType | BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if hasattr(value, "get_params") and not isinstance(value, type):
            return f"{type(value).__qualname__}{described(value.get_params(deep=False))}"
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    if isinstance(value, Real):
        number: Any = value  # a float of a whole number is that number, exactly
        return str(int(number)) if number == number // 1 else repr(float(number))
    if isinstance(value, dict):
        pairs = sorted((described(key), described(one)) for key, one in value.items())
        return "{" + ", ".join(f"{key}: {one}" for key, one in pairs) + "}"
    parts = [described(one) for one in value]
    if isinstance(value, set | frozenset):
        parts.sort()
    return "[" + ", ".join(parts) + "]"


def agree(name: str, values: Sequence[T], ranks: Sequence[int] | None = None) -> T:
    """The value that all processes have.

    Raises
    ------
    ValueError
        If two differ.
    """
    ranks = range(len(values)) if ranks is None else ranks
    for rank, value in zip(ranks, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"Ranks disagree on {name}: {values[0]} on rank {ranks[0]}, {value} on rank {rank}. "
                "All ranks of a fit need the same options and the same kind of rows."
            )
    return values[0]


def _as_they_are(X: Any, y: Any, empty: bool) -> tuple[Any, Any]:
    return X, y


def _names(X: Any) -> list[str] | None:
    columns = getattr(X, "columns", None)
    return None if columns is None else [str(name) for name in columns]
