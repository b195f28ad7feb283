"""Columns in place of rows: what problems with fewer rows than features are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.kernels import _columns
from parallel_ridge.numerics import EPSILON
from parallel_ridge.reductions._base import check_range, raise_not_finite
from parallel_ridge.sources import ArraySource, Block, canonical
from parallel_ridge.threads import blas_threads

COLUMN_BYTES = 2**21  # of columns formed at a time: they stay in cache until they are multiplied


@dataclass
class Formed:
    """Columns that were formed together.

    Attributes
    ----------
    places : slice
        Their positions.
    Z : ndarray or CSR matrix of shape (m, n)
        Columns as rows, centred (sparse ones only if far from zero) and scaled.
    means, variances, scale : ndarray of shape (m,)
        Weighted means; variances before and divisors of the scaling.
    """

    places: slice
    Z: Any
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    scale: NDArray[np.float64]


@dataclass(frozen=True)
class ColumnForm:
    """How columns are centred and scaled.

    Sparse columns are centred if they are far from zero: these have hardly any zeros to fill in. All
    users of sparse columns remove what is left of the means from their results.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Weights of the rows for means and variances; not all zero.
    centre, standardize : bool
    """

    weights: NDArray[np.float64]
    centre: bool
    standardize: bool

    def form(self, block: Block, dtype: np.dtype[Any], n_threads: int) -> Formed:
        """Form the columns in a block that holds them as rows."""
        if isinstance(block.X, np.ndarray):
            return self._dense(block, dtype, n_threads)
        return self._sparse(block)

    def _dense(self, block: Block, dtype: np.dtype[Any], n_threads: int) -> Formed:
        X = block.X.T
        m = X.shape[1]
        if X.dtype != np.float32 or not X.dtype.isnative or not X.flags.aligned:
            X = X.astype(np.float64, copy=False)
        Z = np.empty((m, X.shape[0]), np.result_type(dtype, X.dtype))
        means, variances = np.empty((2, m))
        weights = self.weights / self.weights.sum()
        # Counted from the heaviest row: if one row has nearly all of the weight, the mean is there.
        anchor = int(np.argmax(weights))
        with np.errstate(all="ignore"):
            _columns.form(
                X, weights, anchor, self.centre, self.standardize, Z, means, variances, n_threads
            )
        if not np.isfinite(means).all():
            raise_not_in_columns(block)
        check_range(variances, first=block.position(0))
        # Values that differ by their rounding only are constant.
        constant = variances <= (8.0 * EPSILON * means) ** 2
        if self.centre and constant.any():
            Z[constant] = 0.0
        variances[constant] = 0.0
        return Formed(block.rows, Z, means, variances, self._scale(variances))  # type: ignore[arg-type]

    def _sparse(self, block: Block) -> Formed:
        X = block.X.astype(np.float64)
        if not np.isfinite(X.data).all():
            raise_not_in_columns(block)
        weights = self.weights / self.weights.sum()
        means = X @ weights
        with np.errstate(over="ignore"):
            squares = X.multiply(X) @ weights
        check_range(squares, first=block.position(0))
        variances = np.maximum(squares - means * means, 0.0)
        far = np.flatnonzero(means**2 > variances)
        if len(far) and (self.centre or self.standardize):
            places = far + block.position(0)
            columns = Block(places, X[far].toarray(), block.labels, None)
            dense = ColumnForm(self.weights, self.centre, False)._dense(
                columns, np.dtype(np.float64), 1
            )
            means[far], variances[far] = dense.means, dense.variances
            near = np.setdiff1d(np.arange(X.shape[0]), far)
            order = np.argsort(np.concatenate([near, far]), kind="stable")
            X = sp.vstack([X[near], sp.csr_matrix(dense.Z)], format="csr")[order]
        scale = self._scale(variances)
        if self.standardize:
            X = sp.diags_array(1.0 / scale) @ X
        return Formed(block.rows, canonical(sp.csr_matrix(X)), means, variances, scale)  # type: ignore[arg-type]

    def _scale(self, variances: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.standardize:
            return np.ones(len(variances))
        return np.sqrt(np.where(variances > 0.0, variances, 1.0))


class Columns:
    """The columns of rows in this process, for products with them.

    Parameters
    ----------
    source : ArraySource
        Columns as rows.
    how : ColumnForm
    n_threads : int
    """

    def __init__(self, source: ArraySource, how: ColumnForm, n_threads: int) -> None:
        self.source = source
        self.how = how
        self.n_threads = n_threads

    def formed(self) -> Iterator[Formed]:
        """All columns in float64, some at a time."""
        size = max(64, COLUMN_BYTES // (8 * self.source.n_features) // 64 * 64)
        for block in self.source.blocks(self.source.n_rows if self.source.sparse else size):
            yield self.how.form(block, np.dtype(np.float64), self.n_threads)

    def dense(self, size: int) -> Iterator[NDArray[np.float64]]:
        """All columns as dense rows, ``size`` at a time, centred if they are to be."""
        for block in self.source.blocks(size):
            X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
            block = Block(block.rows, X, block.labels, None)
            yield self.how.form(block, np.dtype(np.float64), self.n_threads).Z

    def product(self, V: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Z V``, shape (n, t), for V of shape (d, t); for sparse rows, plus the same for each row."""
        total = np.zeros((self.source.n_features, V.shape[1]))
        with blas_threads(1):  # see `blas_of_solve`: each product is short
            for some in self.formed():
                total += some.Z.T @ V[some.places]
        return total

    def transposed_product(self, U: NDArray[np.float64]) -> tuple[NDArray[np.float64], Formed]:
        """``Z^T U``, shape (d, t), for U of shape (n, t) whose columns sum to zero if Z is centred.

        Also the means, variances and scale of all columns.
        """
        with blas_threads(1):
            parts = [(some.Z @ U, replace(some, Z=None)) for some in self.formed()]
        means, variances, scale = (
            np.concatenate([getattr(some, name) for _, some in parts])
            for name in ("means", "variances", "scale")
        )
        whole = Formed(slice(0, len(means)), None, means, variances, scale)
        return np.vstack([product for product, _ in parts]), whole


def transposed(X: NDArray[Any], dtype: np.dtype[Any], n_threads: int) -> NDArray[Any]:
    """Columns of a dense block as contiguous rows of ``dtype``."""
    X = X.view(np.uint8) if X.dtype == np.bool_ else X
    if not X.dtype.isnative or not X.flags.aligned or X.dtype != dtype:
        X = X.astype(dtype)
    columns = np.empty(X.shape[::-1], dtype)
    _columns.transpose(X, columns, n_threads)
    return columns


def raise_not_in_columns(block: Block) -> None:
    """Raise the error for a block of columns with NaN or infinity."""
    X = block.X.T if isinstance(block.X, np.ndarray) else block.X.T.tocsr()
    raise_not_finite(Block(slice(0, X.shape[0]), X, block.labels, None), block.position(0))
