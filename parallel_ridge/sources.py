"""Where rows live: each source gives its rows as blocks, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target


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

    def indicator(self, n_classes: int) -> NDArray[np.float64]:
        """Matrix of shape (n, n_classes) of +1 where a row has a class, -1 where not."""
        indptr = np.arange(len(self) + 1) if self.indptr is None else self.indptr
        out = np.full((len(self), n_classes), -1.0)
        out[np.repeat(np.arange(len(self)), np.diff(indptr)), self.codes] = 1.0
        return out


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
    """

    rows: slice | NDArray[np.intp]
    X: Any
    labels: Labels
    weights: NDArray[np.float64] | None

    def position(self, row: int) -> int:
        """Position, among all rows, of one of the block's."""
        start = self.rows.start + row if isinstance(self.rows, slice) else self.rows[row]
        return int(start)


class Source(Protocol):
    """Rows that a backend can fold."""

    n_rows: int
    n_features: int
    dtype: np.dtype[Any]
    sparse: bool

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of ``n_rows`` rows, the last perhaps fewer."""

    def sample(self, n_rows: int) -> NDArray[Any]:
        """At most ``n_rows`` dense rows, spread evenly over the source."""

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""


class ArraySource:
    """Rows of an array (a memory map too) or a CSR matrix in this process; none is copied.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    labels : Labels of n rows
    weights : ndarray of shape (n,), float64, or None
    rows : ndarray of int, default=None
        Positions of the rows that are meant, gathered block by block; all, when None.
    """

    def __init__(
        self,
        X: Any,
        labels: Labels,
        weights: NDArray[np.float64] | None = None,
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        self.sparse = sp.issparse(X)
        self.X = _canonical(X) if self.sparse else X
        self.labels = labels
        self.weights = weights
        self.rows = rows
        self.n_rows, self.n_features = X.shape[0] if rows is None else len(rows), X.shape[1]
        self.dtype = X.dtype

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.weights is not None

    def take(
        self, rows: NDArray[np.intp] | None, weights: NDArray[np.float64] | None
    ) -> ArraySource:
        """Source of some of the rows of ``X`` (all, when None), with other weights.

        Parameters
        ----------
        rows : ndarray of int, or None
        weights : ndarray of shape (n,), or None
            One for each row of ``X``.
        """
        return ArraySource(self.X, self.labels, weights, rows)

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of ``n_rows`` rows, the last perhaps fewer."""
        for start in range(0, self.n_rows, n_rows):
            rows = self._range(start, min(start + n_rows, self.n_rows))
            weights = None if self.weights is None else self.weights[rows]
            yield Block(rows, take_rows(self.X, rows), self.labels[rows], weights)

    def sample(self, n_rows: int) -> NDArray[Any]:
        """At most ``n_rows`` dense rows, spread evenly over the source."""
        step = max(1, -(-self.n_rows // n_rows))
        rows = self.X[::step] if self.rows is None else self.X[self.rows[::step]]
        return rows.toarray() if self.sparse else np.asarray(rows)

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

    def _range(self, start: int, stop: int) -> slice | NDArray[np.intp]:
        if self.rows is None:
            return slice(start, stop)
        rows = self.rows[start:stop]
        first, last = int(rows[0]), int(rows[-1])
        if last - first == len(rows) - 1 and (np.diff(rows) == 1).all():  # no need to gather
            return slice(first, last + 1)
        return rows


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


def _canonical(X: Any) -> Any:
    """CSR with ascending indices and no repeats; the caller's matrix stays as it is."""
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
    if not sp.issparse(y):
        y = np.asarray(y)
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
        found = np.flatnonzero(present).astype(y.dtype) + y.dtype.type(low)
        codes = (np.cumsum(present, dtype=np.int32) - 1)[offsets]
    return _among(found, classes, codes)


def _among(found: NDArray[Any], classes: Any, codes: NDArray[Any]) -> tuple[Labels, Target]:
    """Codes among `found` as codes among `classes`."""
    if classes is None:
        return Labels(codes.astype(np.int32, copy=False)), Target(found, multilabel=False)
    classes = np.unique(np.asarray(classes))
    unknown = np.setdiff1d(found, classes)
    if len(unknown):
        raise ValueError(
            f"y contains labels that are not in classes: {unknown.tolist()} not in {classes.tolist()}."
        )
    among = np.searchsorted(classes, found).astype(np.int32)
    return Labels(among[codes]), Target(classes, multilabel=False)


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


def as_source(
    X: Any, y: Any, *, sample_weight: Any = None, classes: Any = None
) -> tuple[Source, Target]:
    """Source of the rows of an array with labels, after scikit-learn's checks of both.

    Values are not checked to be finite here: the pass over the rows does that.
    """
    X = check_array(
        X, accept_sparse="csr", ensure_all_finite=False, ensure_min_samples=0, input_name="X"
    )
    labels, target = encode_labels(y, classes)
    if len(labels) != X.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows and y has {len(labels)} labels.")
    return ArraySource(X, labels, check_weights(sample_weight, X.shape[0])), target
