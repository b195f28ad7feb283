"""Decision values that are linear in the rows, and what becomes of them while they are in a cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _decide


def answer_dtype(rows: np.dtype[Any], coefs: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype of decision values: float32 if it holds both, else float64."""
    single = np.dtype(np.float32)
    return single if np.result_type(rows, coefs) == single else np.dtype(np.float64)


@dataclass(frozen=True)
class LinearMap:
    """Decision values of rows: products with coefficients, plus intercepts.

    Methods return the first row with a value that is not finite (a row that is not finite has such
    values), or the number of rows.

    Attributes
    ----------
    coefs : ndarray of shape (v, d), or None
        Of float32 or float64; None if the rows are products already.
    intercepts : ndarray of shape (v,)
    """

    coefs: NDArray[Any] | None
    intercepts: NDArray[Any]

    @staticmethod
    def reads(X: Any) -> bool:
        """Whether the kernel reads such rows as they are, however many."""
        return isinstance(X, np.ndarray) and _decide.reads(X)

    def values(self, X: Any, out: NDArray[Any], n_threads: int = 1) -> int:
        """Write decision values.

        Parameters
        ----------
        X : ndarray of shape (n, d), or CSR matrix
        out : ndarray of shape (n, v)
            Of the dtype of `answer_dtype`.
        """
        X, coefs = self._operands(X, out.dtype)
        return _decide.values(X, self._intercepts(out.dtype), coefs, out, n_threads)

    def all_values(self, X: Any) -> tuple[NDArray[Any], int]:
        """Decision values, shape (n, v), and the first row that is not finite."""
        out = np.empty((X.shape[0], len(self.intercepts)), self._dtype(X))
        return out, self.values(X, out)

    def codes(
        self,
        X: Any,
        n_targets: int,
        out: NDArray[np.int64],
        table: NDArray[np.int64] | None = None,
        n_threads: int = 1,
    ) -> int:
        """Write the classes of rows for each group of targets.

        Parameters
        ----------
        n_targets : int
            Values per group. A class is the first largest value, or whether a single one is positive.
        out : ndarray of int64, shape (n, v / n_targets)
        table : ndarray of int64, default=None
            What to write for each class, in place of its position.
        """
        dtype = self._dtype(X)
        X, coefs = self._operands(X, dtype)
        return _decide.codes(X, self._intercepts(dtype), coefs, n_targets, out, table, n_threads)

    def add_errors(self, X: Any, out: NDArray[np.float64], **options: Any) -> int:
        """Add squared errors to sums: see the kernel of this name."""
        dtype = self._dtype(X)
        X, coefs = self._operands(X, dtype)
        return _decide.add_errors(X, self._intercepts(dtype), coefs, out, **options)

    @cached_property
    def _columns(self) -> NDArray[Any]:
        """Coefficients of each column, side by side, for SciPy."""
        assert self.coefs is not None
        return np.ascontiguousarray(self.coefs.T)

    def _dtype(self, X: Any) -> np.dtype[Any]:
        return answer_dtype(X.dtype, self.intercepts.dtype)

    def _intercepts(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        return self.intercepts.astype(dtype, copy=False)

    def _operands(self, X: Any, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Rows that the kernel reads, and the coefficients, or products and None."""
        if not isinstance(X, np.ndarray):
            products = np.asarray(X @ self._columns)
            return np.ascontiguousarray(products, dtype), None
        if not _decide.reads(X):
            X = X.astype(dtype)
        coefs = self.coefs
        return X, None if coefs is None else np.ascontiguousarray(coefs, dtype)
