"""Rows of floats or of wide integers that hold small integers only, which kernels sum exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _fold
from parallel_ridge.numerics import EXACT_LIMIT

NARROWED = tuple(np.dtype(name) for name in ("f4", "f8", "i4", "i8"))
BYTE_LIMITS = (-128, 255)
# Values a thread must have to be worth waking: a few wake-up times.
THREAD_VALUES = 2**16


def exact_dtype(dtype: np.dtype[Any]) -> bool:
    """Whether kernels sum all rows of a dtype exactly: booleans and integers of up to 16 bits."""
    return dtype.kind in "bui" and dtype.itemsize <= 2


def in_rows(X: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rows as the kernels read them, with unit column stride; not copied if they already are."""
    in_place = (
        X.dtype == dtype
        and X.dtype.isnative
        and X.flags.aligned
        and X.strides[1] == X.itemsize
        and X.strides[0] > 0
        and X.strides[0] % X.itemsize == 0
    )
    return X if in_place else np.require(X, dtype, ["C", "A"])


def in_wide_rows(X: NDArray[Any]) -> NDArray[Any]:
    """Rows as `as_integers` reads them, with the same values or with values that it refuses, too."""
    dtype = X.dtype.newbyteorder("=")
    if dtype not in NARROWED:
        dtype = np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize < 4 else np.float64)
    return in_rows(X, dtype)


def as_integers(
    X: NDArray[Any], n_threads: int, out: NDArray[np.uint8] | None = None
) -> tuple[NDArray[Any], int] | None:
    """Rows in the shortest type whose products are summed exactly, and their largest magnitude.

    None for other rows, usually after a look at a few values. float32 rows must fit in bytes:
    products of wider integers are formed in float64, which takes twice as long as float32.

    Parameters
    ----------
    X : ndarray of shape (m, d)
        From `in_wide_rows`.
    out : ndarray of shape (m, d), default=None
        Memory for rows of bytes.
    """
    wide = X.dtype != np.float32
    least, most = (-EXACT_LIMIT, EXACT_LIMIT) if wide else BYTE_LIMITS
    out = np.empty(X.shape, np.uint8) if out is None else out
    n_threads = max(1, min(n_threads, X.size // THREAD_VALUES))
    found = _fold.narrow(X, out, least, most, n_threads)
    if found is None:
        return None
    low, high = found
    largest = max(high, -low)
    for dtype in (np.uint8, np.int8):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return out.view(dtype), largest
    return (X, largest) if wide else None


def promises_integers(sample: NDArray[Any]) -> bool:
    """Whether to look for integers in each block of rows, by a sample of the rows.

    Floats must fit in bytes. Those that do not cost as much in exact sums as in others, and a
    little more to find.
    """
    found = as_integers(in_wide_rows(sample), 1)
    return found is not None and (found[0].itemsize == 1 or sample.dtype.kind != "f")
