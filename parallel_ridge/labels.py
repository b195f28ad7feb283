"""One rule for labels of several origins: which are the same, and in which order."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_text(labels: NDArray[Any]) -> bool:
    """Whether labels are strings, or objects such as strings."""
    return labels.dtype.kind in "OUS"


def plain(labels: Any) -> Any:
    """Numbers of a pandas extension type as NumPy's; everything else as it is.

    scikit-learn goes by way of float64, in which integers beyond 2^53 become one.
    """
    kind: Any = getattr(labels, "dtypes", getattr(labels, "dtype", None))
    kinds = list(kind) if hasattr(kind, "to_list") else [kind]  # those of a frame's columns
    if kind is None or all(isinstance(one, np.dtype) for one in kinds):
        return labels
    array = np.asarray(labels)
    return array if array.dtype.kind in "biuf" else labels


def union_of_labels(*parts: NDArray[Any]) -> NDArray[Any]:
    """Distinct labels, ascending, each with the value that it has.

    Parameters
    ----------
    *parts : ndarrays
        Labels of each origin; those without any do not count.

    Raises
    ------
    ValueError
        If strings meet numbers, or if no dtype holds all labels exactly (NumPy would join int64 and
        uint64 as float64, in which labels beyond 2^53 become one).
    """
    full = [part for part in parts if len(part)] or list(parts[:1])
    first = full[0]
    if len({is_text(part) for part in full}) > 1:
        text, other = (
            next(part for part in full if is_text(part) == kind) for kind in (True, False)
        )
        raise ValueError(
            f"Some rows have labels {_few(text)} and others {_few(other)}: strings and numbers do not "
            "order. Convert one of them."
        )
    try:
        if all(part.dtype == first.dtype for part in full):
            return np.unique(first if len(full) == 1 else np.concatenate(full))
        dtype = _common_dtype(full)
        exact = [_as_exactly(part, dtype) for part in full]
        return np.unique(np.concatenate(exact))
    except TypeError as error:
        raise ValueError(
            f"Labels {_few(first)} and {_few(full[-1])} do not order: {error}."
        ) from error


def as_labels(classes: Any) -> NDArray[Any]:
    """Labels as a user lists them, distinct and ascending."""
    labels = np.asarray(classes)
    if labels.dtype.kind == "f" and not isinstance(classes, np.ndarray):
        given = np.asarray(classes, dtype=object).ravel()
        if all(isinstance(label, Integral) for label in given):  # which have no dtype in common
            labels = np.asarray(given, dtype=_integer_dtype(int(min(given)), int(max(given))))
    return union_of_labels(labels.ravel())


def among(
    labels: NDArray[Any], classes: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Positions of labels in ascending classes, and which of them are there (others have position 0).

    Raises
    ------
    ValueError
        As `union_of_labels`.
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
        f"Labels from {low} to {high} have no integer dtype in common: number the classes anew."
    )


def _as_exactly(labels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Labels in another dtype, if they keep their values."""
    cast = labels.astype(dtype)
    if dtype.kind in "mM" and not np.array_equal(cast.astype(labels.dtype), labels):
        away = labels[cast.astype(labels.dtype) != labels]
        raise ValueError(
            f"Some labels are {dtype}, which does not reach the label {away[0]} of others: convert all "
            "to one unit of time."
        )
    if labels.dtype.kind in "iu" and dtype.kind == "f":
        for label, other in zip(labels.tolist(), cast.tolist(), strict=True):
            if int(other) != label:
                raise ValueError(
                    f"Some labels are {dtype}, which does not hold the label {label} of others: it "
                    f"would become {int(other)}. Pass all labels as integers."
                )
    return cast


def _few(labels: NDArray[Any]) -> str:
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    return f"{labels[:5].tolist()}{more}"
