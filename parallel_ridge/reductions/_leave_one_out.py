"""Decision values of each row from a fit to all the others, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.numerics import CLOSE_TO_ONE, LARGEST_ROUNDED, LEVERAGE_ROUNDING
from parallel_ridge.reductions._base import raise_not_finite
from parallel_ridge.reductions._decisions import Decisions
from parallel_ridge.sources import Block, shifted


@dataclass(frozen=True)
class Leverages:
    """Diagonals in the principal axes that give leverages and decision values; shape (p, m) each.

    Attributes
    ----------
    fitted : ndarray
        One over the sum of squares plus the penalty.
    left_out : ndarray, or None
        If the rows can be interpolated (as many axes as rows): what fits leave of each axis, so
        that no digits are lost where the leverage is close to 1.
    rounding : float
        Estimated error of a leverage formed in float32.
    """

    fitted: NDArray[np.float64]
    left_out: NDArray[np.float64] | None
    rounding: float


class LeaveOneOutDecisions(Decisions):
    """Decision value of each row from a fit to all the others, in closed form.

    With leverage ``h = w (a^T D a + 1 / W)``, where ``a`` are the row's coordinates in the
    principal axes and ``D`` is diagonal, the error of a left-out row is its fitted error divided by
    ``1 - h``.

    Parameters
    ----------
    axes : ndarray of shape (d, m)
    means : ndarray of shape (d,)
    diagonals : Leverages
        ``D``, for p penalties.
    rotated : ndarray of shape (t, m)
        Right-hand sides in the axes.
    target_means : ndarray of shape (t,)
    targets : slice
        The classes that are targets.
    n_classes : int
    mean_leverage : float
        ``1 / W``, or 0 without an intercept.
    dtype : dtype
        Dtype of the computation: float32 for float32 rows, except rows with leverages close to 1.
    full : ndarray of shape (d,), bool, default=False
        See `NormalProductReduction`.

    Notes
    -----
    Leverages are most of the work unless there are many penalties, and an error in a small leverage
    hardly affects ``1 - h``. They are therefore formed in float32 even for float64 values if they
    are small and lose little by it.

    References
    ----------
    Cook and Weisberg (1982), Residuals and Influence in Regression, section 2.2; Rifkin and Lippert
    (2007), Notes on regularized least squares, section 3.
    """

    def __init__(
        self,
        axes: NDArray[np.float64],
        means: NDArray[np.float64],
        diagonals: Leverages,
        rotated: NDArray[np.float64],
        target_means: NDArray[np.float64],
        targets: slice,
        n_classes: int,
        mean_leverage: float,
        dtype: np.dtype[Any],
        full: NDArray[np.bool_] | bool = False,
    ) -> None:
        p, t, m = len(diagonals.fitted), len(rotated), len(axes.T)
        self.shape = (p, t)
        double, single = np.dtype(np.float64), np.dtype(np.float32)
        self.dtype = double if diagonals.left_out is not None else dtype
        small = self.dtype == single or diagonals.rounding <= LEVERAGE_ROUNDING
        self.leverage_dtype = single if small else double
        coefs = axes @ (diagonals.fitted[:, None] * rotated).reshape(p * t, m).T
        # Sparse rows are centred only in columns far from zero, where hardly any value is zero.
        self.far = np.where(full, means, 0.0)
        self.coordinates = _CentredProduct(axes, means - self.far, {double, self.leverage_dtype})
        if diagonals.left_out is not None:
            self.filtered = (diagonals.left_out[:, None] * rotated).reshape(p * t, m).T
        self.fitted = _CentredProduct(coefs, means - self.far, {double, self.dtype})
        self.means = means
        self.diagonals = diagonals
        self.target_means = target_means
        self.targets = targets
        self.n_classes = n_classes
        self.mean_leverage = mean_leverage

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        y = block.labels.indicator(self.n_classes)[:, self.targets]
        dense = isinstance(block.X, np.ndarray)
        rows = block.X - self.means if dense else shifted(block.X, self.far)
        leverage_dtype = self.leverage_dtype if dense else self.dtype
        values, left = self._left_out(rows, block.weights, y, self.dtype, leverage_dtype)
        if not np.isfinite(values).all():
            raise_not_finite(block)
        if leverage_dtype != np.float64:
            least = CLOSE_TO_ONE if self.dtype == np.float32 else 1.0 - LARGEST_ROUNDED
            close = left.min(axis=1, initial=1.0) < least
            if close.any():
                weights = None if block.weights is None else block.weights[close]
                double = np.dtype(np.float64)
                values[close], _ = self._left_out(rows[close], weights, y[close], double, double)
        if self.diagonals.left_out is not None and block.weights is not None:
            # Rows with zero weight take no part in the interpolation.
            none = block.weights == 0.0
            if none.any():
                values[none] = self._fitted(rows[none], self.dtype)
        return values

    def _left_out(
        self,
        rows: Any,
        weights: NDArray[np.float64] | None,
        y: NDArray[np.float64],
        dtype: np.dtype[Any],
        leverage_dtype: np.dtype[Any],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values, and one minus the leverages, shape (m, p)."""
        a = self.coordinates(rows, leverage_dtype)
        diagonal = self.diagonals.left_out
        if diagonal is None:
            errors = y[:, None] - self._fitted(rows, dtype)
        else:
            errors = (a @ self.filtered).reshape(-1, *self.shape)
        np.multiply(a, a, out=a)
        if diagonal is None:
            part = (a @ self.diagonals.fitted.T.astype(a.dtype)).astype(np.float64, copy=False)
            part += self.mean_leverage
        else:
            part = a @ diagonal.T
        if weights is not None:
            part *= weights[:, None]
        if diagonal is None:
            # A row that alone determines its own value has leverage 1, up to rounding.
            left = np.maximum(1.0 - part, np.finfo(np.float64).eps)
        else:
            left = np.where(part > 0.0, part, 1.0)
        return y[:, None] - errors / left[:, :, None], left

    def _fitted(self, rows: Any, dtype: np.dtype[Any]) -> NDArray[np.float64]:
        """Values from the fit to all rows."""
        values = self.fitted(rows, dtype).reshape(-1, *self.shape).astype(np.float64, copy=False)
        return values + self.target_means


class DualLeaveOneOutDecisions(Decisions):
    """Decision value of each row from a fit to all the others, from eigenvectors of a dual system.

    With ``C = (Z Z^T + alpha I)^-1`` on the centred right-hand sides, the error of a left-out row is
    ``(C y)_i / C_ii``. Blocks hold the rows' coordinates: those of the eigenvectors. A row without
    weight has the coordinates that give its fitted value.

    Parameters
    ----------
    inverse : ndarray of shape (p, r)
        Eigenvalues of C, for p penalties.
    rotated : ndarray of shape (r, t)
        Right-hand sides in the eigenvectors.
    target_means : ndarray of shape (t,)
    targets : slice
        The classes that are targets.
    n_classes : int

    References
    ----------
    Cawley (2006), Leave-one-out cross-validation based model selection criteria for weighted
    LS-SVMs, doi:10.1109/IJCNN.2006.246634.
    """

    def __init__(
        self,
        inverse: NDArray[np.float64],
        rotated: NDArray[np.float64],
        target_means: NDArray[np.float64],
        targets: slice,
        n_classes: int,
    ) -> None:
        self.shape = (len(inverse), len(target_means))
        self.inverse = inverse
        products = inverse[:, None] * rotated.T
        self.weights = np.ascontiguousarray(products.reshape(-1, inverse.shape[1]).T)
        self.target_means = target_means
        self.targets = targets
        self.n_classes = n_classes

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        values: NDArray[Any] = (block.X @ self.weights).reshape(-1, *self.shape)
        own = (block.X**2) @ self.inverse.T
        roots = np.ones(len(own)) if block.weights is None else np.sqrt(block.weights)
        divisor = (own * roots[:, None])[:, :, None]
        y = block.labels.indicator(self.n_classes)[:, self.targets]
        fitted = values + self.target_means
        # A row that alone determines its own value is fitted without error.
        errors = np.divide(values, divisor, out=np.zeros_like(values), where=divisor > 0.0)
        return np.where(roots[:, None, None] > 0.0, y[:, None] - errors, fitted)


class _CentredProduct:
    """Centred rows times a matrix, in one of several precisions.

    Dense rows arrive centred, so those far from zero keep their digits in float32. For sparse rows,
    the product is corrected instead.
    """

    def __init__(
        self, matrix: NDArray[np.float64], means: NDArray[np.float64], dtypes: set[np.dtype[Any]]
    ) -> None:
        self.matrices = {dtype: matrix.astype(dtype, copy=False) for dtype in dtypes}
        self.offset = means @ matrix

    def __call__(self, rows: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        matrix = self.matrices[dtype]
        if isinstance(rows, np.ndarray):
            return np.asarray(rows.astype(dtype, copy=False) @ matrix)
        return np.asarray(rows @ matrix - self.offset, dtype=dtype)
