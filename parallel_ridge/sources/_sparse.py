"""Checks and conversions of sparse matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def check_sparse(X: Any, name: str = "X") -> None:
    """Raise if a sparse matrix has values outside its rows and columns; SciPy does not check.

    Parameters
    ----------
    X : sparse matrix of any format
    name : str
        Name of the matrix in the message.

    Raises
    ------
    ValueError
        If the indices of the matrix are damaged; the message says how.
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
            f"{name} is a damaged {X.format.upper()} matrix: its indptr counts {used} values, but "
            "it has fewer."
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
            f"{name} is a damaged {X.format.upper()} matrix: row {row} has a value in column "
            f"{column}, but the matrix has {X.shape[0]} rows and {X.shape[1]} columns."
        )


def as_csr(X: Any, name: str = "X") -> Any:
    """A sparse matrix of any format as CSR; a damaged one raises an error (see `check_sparse`)."""
    if X.ndim != 2:
        return X  # scikit-learn's checks reject it
    check_sparse(X, name)
    if X.format != "csr":
        X = sp.csr_matrix(X)
        check_sparse(X, name)  # only now does damage in LIL and DOK matrices show
    return X


def canonical(X: Any) -> Any:
    """CSR with ascending indices and no duplicates; the caller's matrix stays unchanged.

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
