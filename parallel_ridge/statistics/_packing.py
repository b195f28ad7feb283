"""Gram matrices: packed triangles, conversion to floats, and the rounding error of a fold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _triangle
from parallel_ridge.numerics import LEAST, ROUNDING


def shortened(numbers: NDArray[Any]) -> NDArray[Any]:
    """Integers as int32 if all of them fit."""
    if numbers.dtype == np.int64 and len(numbers):
        short = np.iinfo(np.int32)
        if short.min <= numbers.min() and numbers.max() <= short.max:
            return numbers.astype(np.int32)
    return numbers


def fold_rounding(
    gram: NDArray[Any], class_sums: NDArray[Any], n_samples: int, dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """Estimated rounding error of the diagonal of a Gram matrix of float rows: see `numerics`.

    Parameters
    ----------
    dtype : dtype
        Dtype of the products.
    """
    name, n = str(dtype), max(1, n_samples)
    relative = ROUNDING[name] / (n**0.5 if name == "float32" else 1.0)
    rounding = relative * gram.diagonal() + LEAST[name] * n
    # Columns of zeros, or of constants that were shifted to zeros, are exact.
    rounding[(gram.diagonal() == 0.0) & ~class_sums.any(axis=0)] = 0.0
    return rounding


def pack_triangle(matrix: NDArray[Any], overwrite: bool = False) -> NDArray[Any]:
    """Upper triangle of a square matrix, row by row.

    Parameters
    ----------
    overwrite : bool, default=False
        Use the matrix's own memory; it must be C-contiguous.
    """
    d = len(matrix)
    n = d * (d + 1) // 2
    packed = matrix.reshape(-1)[:n] if overwrite else np.empty(n, matrix.dtype)
    if d:
        _triangle.pack(matrix, packed)
    return packed


def unpack_triangle(packed: NDArray[Any], d: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Square matrix from a packed upper triangle.

    Parameters
    ----------
    out : ndarray of shape (d, d), default=None
        Where to write the matrix, whose lower triangle is then meaningless; ``packed`` may be the
        start of its memory.
    """
    matrix = np.zeros((d, d), packed.dtype) if out is None else out
    if d:
        _triangle.unpack(packed, matrix)
    return matrix


def as_float(gram: NDArray[Any], overwrite: bool = False) -> NDArray[np.float64]:
    """A matrix of 8-byte numbers as float64: a copy, or the same memory."""
    if not overwrite:
        return gram.astype(np.float64, order="C")
    floats = gram.view(np.float64)
    if gram.dtype != np.float64:
        for row, integers in zip(floats, gram, strict=True):
            row[:] = integers
    return floats
