"""Labels: their equality, their order and their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from parallel_ridge.sources._sparse import as_csr


def is_text(labels: NDArray[Any]) -> bool:
    """Whether labels are strings, or Python objects (usually strings)."""
    return labels.dtype.kind in "OUS"


def plain(labels: Any) -> Any:
    """Numbers of a pandas extension type as a NumPy array; anything else unchanged.

    scikit-learn converts them through float64, which merges integers beyond 2^53.
    """
    kind: Any = getattr(labels, "dtypes", getattr(labels, "dtype", None))
    kinds = list(kind) if hasattr(kind, "to_list") else [kind]  # one dtype per column
    if kind is None or all(isinstance(one, np.dtype) for one in kinds):
        return labels
    array = np.asarray(labels)
    return array if array.dtype.kind in "biuf" else labels


def union_of_labels(*parts: NDArray[Any]) -> NDArray[Any]:
    """Distinct labels in ascending order, each with its exact value.

    Parameters
    ----------
    *parts : ndarrays
        Labels from each origin; empty arrays are ignored.

    Raises
    ------
    ValueError
        If strings and numbers are mixed, or if no dtype holds all labels exactly (NumPy would join
        int64 and uint64 as float64, which merges labels beyond 2^53).
    """
    full = [part for part in parts if len(part)] or list(parts[:1])
    first = full[0]
    if len({is_text(part) for part in full}) > 1:
        text, other = (
            next(part for part in full if is_text(part) == kind) for kind in (True, False)
        )
        raise ValueError(
            f"Some rows have labels {_few(text)} and others {_few(other)}: strings and numbers "
            "have no common order. Convert one of them."
        )
    try:
        if all(part.dtype == first.dtype for part in full):
            return np.unique(first if len(full) == 1 else np.concatenate(full))
        dtype = _common_dtype(full)
        exact = [_as_exactly(part, dtype) for part in full]
        return np.unique(np.concatenate(exact))
    except TypeError as error:
        raise ValueError(
            f"Labels {_few(first)} and {_few(full[-1])} have no common order: {error}."
        ) from error


def as_labels(classes: Any) -> NDArray[Any]:
    """Labels that a user lists, made distinct and ascending."""
    labels = np.asarray(classes)
    if labels.dtype.kind == "f" and not isinstance(classes, np.ndarray):
        given = np.asarray(classes, dtype=object).ravel()
        if all(isinstance(label, Integral) for label in given):  # NumPy found no common dtype
            labels = np.asarray(given, dtype=_integer_dtype(int(min(given)), int(max(given))))
    return union_of_labels(labels.ravel())


def among(
    labels: NDArray[Any], classes: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Positions of labels in ascending classes (0 if absent), and which labels are present.

    Raises
    ------
    ValueError
        See `union_of_labels`.
    """
    if not len(classes) or not len(labels):
        return np.zeros(len(labels), np.intp), np.zeros(len(labels), np.bool_)
    if labels.dtype != classes.dtype:
        dtype = union_of_labels(labels, classes).dtype
        labels, classes = labels.astype(dtype), classes.astype(dtype)
    positions = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    found = np.asarray(classes[positions] == labels, dtype=np.bool_)
    return np.where(found, positions, 0), found


def _common_dtype(parts: list[NDArray[Any]]) -> np.dtype[Any]:
    integers = all(part.dtype.kind in "biu" for part in parts)
    if not integers:
        return np.result_type(*parts)
    low, high = min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)
    dtype = np.result_type(*parts)
    if dtype.kind in "biu":
        return dtype
    return _integer_dtype(low, high)


def _integer_dtype(low: int, high: int) -> np.dtype[Any]:
    for kind in (np.int64, np.uint64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise ValueError(
        f"Labels from {low} to {high} have no integer dtype in common: renumber the classes."
    )


def _as_exactly(labels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Labels in another dtype; raise an error if that changes a value."""
    cast = labels.astype(dtype)
    if dtype.kind in "mM" and not np.array_equal(cast.astype(labels.dtype), labels):
        away = labels[cast.astype(labels.dtype) != labels]
        raise ValueError(
            f"Some labels are {dtype}, which cannot hold the label {away[0]} of others: convert "
            "all labels to one unit of time."
        )
    if labels.dtype.kind in "iu" and dtype.kind == "f":
        for label, other in zip(labels.tolist(), cast.tolist(), strict=True):
            if int(other) != label:
                raise ValueError(
                    f"Some labels are {dtype}, which cannot hold the label {label} of others: it "
                    f"would become {int(other)}. Pass all labels as integers."
                )
    return cast


def _few(labels: NDArray[Any]) -> str:
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    return f"{labels[:5].tolist()}{more}"


@dataclass(frozen=True)
class Labels:
    """Classes of rows: row ``i`` has ``codes[i]``, or ``codes[indptr[i]:indptr[i + 1]]``.

    Attributes
    ----------
    codes : ndarray of int32
        Positions in the classes.
    indptr : ndarray of shape (n + 1,), int64, or None
        Start of each row's codes, for multilabel targets.
    """

    codes: NDArray[np.int32]
    indptr: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.codes) if self.indptr is None else len(self.indptr) - 1

    def counts(self, n_classes: int, weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
        """Number or weight of the rows of each class."""
        if weights is not None and self.indptr is not None:
            weights = np.repeat(weights, np.diff(self.indptr))
        return np.bincount(self.codes, weights, n_classes)

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
        """Matrix of shape (n, n_classes): +1 where a row has a class, -1 where it does not."""
        indptr = np.arange(len(self) + 1) if self.indptr is None else self.indptr
        out = np.full((len(self), n_classes), -1.0)
        out[np.repeat(np.arange(len(self)), np.diff(indptr)), self.codes] = 1.0
        return out

    def weights(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight of each row, from the weights of its classes.

        Parameters
        ----------
        table : ndarray of shape (k,), or (k, 2) for multilabel targets
            Weight of each class. For multilabel targets, the weights of rows without and with each
            label; a row's weights are multiplied.
        """
        if self.indptr is None:
            return table[self.codes]
        has = self.indicator(len(table)) > 0
        weights: NDArray[np.float64] = np.where(has, table[:, 1], table[:, 0]).prod(axis=1)
        return weights


@dataclass(frozen=True)
class Target:
    """What the labels of a data set mean.

    Attributes
    ----------
    classes : ndarray of shape (k,)
        Labels in ascending order; ``arange(k)`` for multilabel targets.
    multilabel : bool
        Whether a row may have any number of classes.
    """

    classes: NDArray[Any]
    multilabel: bool

    def decode(self, labels: Labels) -> NDArray[Any]:
        """The labels that the codes stand for; a matrix of 0 and 1 for multilabel targets."""
        if self.multilabel:
            return (labels.indicator(len(self.classes)) > 0).astype(int)
        classes: NDArray[Any] = self.classes[labels.codes]
        return classes


def encode_labels(y: Any, classes: Any = None) -> tuple[Labels, Target]:
    """Encode labels as positions in the sorted classes.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, 1), or indicator matrix of shape (n, k)
    classes : array-like, default=None
        All possible labels; those of ``y`` if None.

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
        return _encode_integers(y, classes)  # no need to sort, or to check the type of target
    if y.shape[0] == 0 and classes is None:
        raise ValueError("y has no rows, so its classes are unknown: pass classes.")
    if y.shape[0]:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind.endswith("multioutput"):
            raise ValueError(
                f"y of shape {y.shape} is {kind}: pass one label per row, or a multilabel indicator "
                "matrix of 0 and 1."
            )
    if y.ndim == 2:
        return _encode_indicator(y, classes)
    found, codes = np.unique(y, return_inverse=True)
    return _among(found, classes, codes)


def _encode_indicator(y: Any, classes: Any) -> tuple[Labels, Target]:
    """Encode the rows of a multilabel indicator matrix."""
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


def _encode_integers(y: NDArray[Any], classes: Any) -> tuple[Labels, Target]:
    codes: NDArray[Any]
    low, high = int(y.min()), int(y.max())
    if high - low >= 2**16:
        found, codes = np.unique(y, return_inverse=True)
    else:
        # Unsigned labels may exceed int64; differences of signed labels may exceed their own dtype.
        away = y - y.dtype.type(low) if y.dtype.kind == "u" else y.astype(np.int64) - low
        offsets = away.astype(np.intp, copy=False)
        present = np.bincount(offsets, minlength=high - low + 1) > 0
        found = (np.flatnonzero(present).astype(y.dtype) + y.dtype.type(low)).astype(y.dtype)
        codes = (np.cumsum(present, dtype=np.int32) - 1)[offsets]
    return _among(found, classes, codes)


def _among(found: NDArray[Any], classes: Any, codes: NDArray[Any]) -> tuple[Labels, Target]:
    """Turn positions in `found` into positions in `classes`."""
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
        If a label is not among the classes.
    """
    positions, known = among(found, classes)
    if not known.all():
        raise ValueError(
            f"y contains labels that are not in classes: {found[~known].tolist()} not in "
            f"{classes.tolist()}."
        )
    return positions.astype(np.int32)
