"""Decision values of each row from a fit to all the others, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _lapack
from parallel_ridge.numerics import (
    CLOSE_TO_ONE,
    FLOAT32_LEVERAGE,
    LARGEST_ROUNDED,
    LEVERAGE_ROUNDING,
)
from parallel_ridge.reductions._base import raise_not_finite
from parallel_ridge.reductions._decisions import Decisions
from parallel_ridge.reductions._linear import LinearMap
from parallel_ridge.sources import Block, shifted


class Leverages(Protocol):
    """What gives the leverages of rows in the axes of a system, for p penalties, without the mean's."""

    def fit_single(self, dtype: np.dtype[Any]) -> bool:
        """Whether float32 has enough digits for the leverages of rows of a dtype."""

    def of(self, a: NDArray[Any]) -> NDArray[np.float64]:
        """Leverages of rows with coordinates of shape (n, m), which are destroyed; shape (n, p)."""


@dataclass(frozen=True)
class AxisLeverages:
    """Leverages in principal axes, where the inverse of a penalised system is diagonal.

    Attributes
    ----------
    fitted : ndarray of shape (p, m)
        One over the sum of squares plus the penalty.
    rounding : float
        Estimated error of a leverage formed in float32.
    left_out : ndarray of shape (p, m), or None
        If the rows can be interpolated (as many axes as rows): what fits leave of each axis, so
        that no digits are lost where the leverage is close to 1.
    filtered : ndarray of shape (p t, m), or None
        Right-hand sides of t targets times what fits leave.
    """

    fitted: NDArray[np.float64]
    rounding: float
    left_out: NDArray[np.float64] | None = None
    filtered: NDArray[np.float64] | None = None

    def fit_single(self, dtype: np.dtype[Any]) -> bool:
        """Whether the rows are float32 themselves, or little is lost; not beyond float32's range."""
        return self.rounding <= (
            np.finfo(np.float64).max if dtype == np.float32 else LEVERAGE_ROUNDING
        )

    def of(self, a: NDArray[Any]) -> NDArray[np.float64]:
        """Leverages of rows."""
        np.multiply(a, a, out=a)
        return (a @ self.fitted.T.astype(a.dtype)).astype(np.float64, copy=False)


class BandLeverages:
    """Leverages in a basis where a penalised system is banded, with blocks of its Cholesky factors.

    Parameters
    ----------
    inverses : ndarray of shape (p, K, b, b)
        Inverses of the diagonal blocks of the factors.
    before : ndarray of shape (p, K, b, b)
        What each block of a solution takes of the block before it.
    rounding : float
        Estimated error of a leverage formed in float32.
    """

    def __init__(
        self, inverses: NDArray[np.float64], before: NDArray[np.float64], rounding: float = np.inf
    ) -> None:
        self.blocks = inverses, before
        self.rounding = rounding
        self._single: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def fit_single(self, dtype: np.dtype[Any]) -> bool:
        """Whether the rows are float32 themselves, and not too much is lost."""
        return dtype == np.float32 and self.rounding <= FLOAT32_LEVERAGE

    def of(self, a: NDArray[Any]) -> NDArray[np.float64]:
        """Squared lengths of what the factors' inverses make of rows."""
        inverses, before = self.blocks if a.dtype == np.float64 else self._in_single()
        squares = np.empty((len(a), len(inverses)), a.dtype)
        _lapack.solution_squares(np.ascontiguousarray(a), inverses, before, squares)
        return squares.astype(np.float64, copy=False)

    def _in_single(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The blocks in float32, once for all threads (or, at worst, once for each)."""
        if self._single is None:
            inverses, before = (np.asarray(blocks, np.float32) for blocks in self.blocks)
            self._single = inverses, before
        return self._single


class LeaveOneOutDecisions(Decisions):
    """Decision value of each row from a fit to all the others, in closed form.

    With leverage ``h = w (a^T D a + 1 / W)``, where ``a`` are the row's coordinates in axes of the
    system and ``D`` is the system's inverse in them, the error of a left-out row is its fitted error
    divided by ``1 - h``.

    Parameters
    ----------
    axes : ndarray of shape (d, m)
    means : ndarray of shape (d,)
    leverages : Leverages
        For p penalties.
    coefs : ndarray of shape (p, t, d)
        Coefficients of the fits to all rows.
    target_means : ndarray of shape (t,)
    targets : slice
        The classes that are targets.
    n_classes : int
    mean_leverage : float
        ``1 / W``, or 0 without an intercept.
    dtype : dtype
        Dtype of the computation: float32 for float32 rows, except rows with leverages close to 1, and
        leverages that would lose too many digits.
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
        leverages: Leverages,
        coefs: NDArray[np.float64],
        target_means: NDArray[np.float64],
        targets: slice,
        n_classes: int,
        mean_leverage: float,
        dtype: np.dtype[Any],
        full: NDArray[np.bool_] | bool = False,
    ) -> None:
        self.shape = coefs.shape[:2]
        n_values = coefs.shape[0] * coefs.shape[1]
        double, single = np.dtype(np.float64), np.dtype(np.float32)
        self.left_out: NDArray[np.float64] | None = None
        if isinstance(leverages, AxisLeverages) and leverages.filtered is not None:
            self.left_out, dtype = leverages.left_out, double
            self.filtered = LinearMap(-leverages.filtered, np.zeros(n_values))
        self.dtype = dtype
        self.leverage_dtype = single if leverages.fit_single(dtype) else double
        # Sparse rows are centred only in columns far from zero, where hardly any value is zero.
        self.far = np.where(full, means, 0.0)
        self.coordinates = _CentredProduct(axes.T, means - self.far, {double, self.leverage_dtype})
        self.fitted = _CentredProduct(
            coefs.reshape(n_values, -1), means - self.far, {double, self.dtype}
        )
        self.means = means
        self.leverages = leverages
        self.target_means = target_means
        self.targets = targets
        self.n_classes = n_classes
        self.mean_leverage = mean_leverage

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        y = block.labels.indicator(self.n_classes)[:, self.targets]
        values: NDArray[Any] = np.empty(0)
        for part in self._parts(block):
            products, bad = part.linear.all_values(part.operand)
            if bad < len(products):
                raise_not_finite(block)
            found = products.reshape(-1, *self.shape).astype(np.float64, copy=False)
            targets = y[part.rows, None]
            if part.fitted:
                found += self.target_means - targets
            found /= part.left[:, :, None]  # from here on, negative errors of left-out rows
            found += targets
            if isinstance(part.rows, slice):
                values = found
            else:
                values[part.rows] = found
        if not np.isfinite(values).all():
            raise_not_finite(block)
        if self.left_out is not None and block.weights is not None:
            # Rows with zero weight take no part in the interpolation.
            none = np.flatnonzero(block.weights == 0.0)
            if len(none):
                rows, _ = self._centred(block)
                values[none] = self.fitted(rows[none], self.dtype).reshape(-1, *self.shape)
                values[none] += self.target_means
        return values

    def add_errors(self, block: Block, first_target: int, out: NDArray[np.float64]) -> None:
        """Add squared errors to sums, shape (p, t + 1)."""
        if not isinstance(block.X, np.ndarray):  # their products are formed whole
            for part in self.parts(block):
                self._add_errors(part, first_target, out)
        else:
            self._add_errors(block, first_target, out)

    def _add_errors(self, block: Block, first_target: int, out: NDArray[np.float64]) -> None:
        parts = self._parts(block)
        for part, later in zip_longest(parts, parts[1:]):
            labels, weights = block.labels, block.weights
            if not isinstance(part.rows, slice):
                labels = labels[part.rows]
                weights = None if weights is None else weights[part.rows]
            scales = 1.0 / part.left
            if later is not None:
                scales[later.rows] = 0.0
            bad = part.linear.add_errors(
                part.operand,
                out,
                offsets=self.target_means if part.fitted else None,
                scales=scales,
                weights=weights,
                labels=labels.codes if part.fitted else None,
                label_ptr=labels.indptr if part.fitted else None,
                first_target=first_target,
            )
            if bad < len(scales):
                raise_not_finite(block)

    def _parts(self, block: Block) -> list[_Part]:
        """All rows of a block, and then those again that need more digits, if any."""
        rows, dense = self._centred(block)
        leverage_dtype = self.leverage_dtype if dense else self.dtype
        whole = self._part(slice(None), rows, block.weights, self.dtype, leverage_dtype)
        if leverage_dtype == np.float64:
            return [whole]
        least = CLOSE_TO_ONE if self.dtype == np.float32 else 1.0 - LARGEST_ROUNDED
        # What float32 does not hold is formed again, too.
        close = np.flatnonzero(~(whole.left.min(axis=1, initial=1.0) >= least))
        if not len(close):
            return [whole]
        weights = None if block.weights is None else block.weights[close]
        double = np.dtype(np.float64)
        return [whole, self._part(close, rows[close], weights, double, double)]

    def _centred(self, block: Block) -> tuple[Any, bool]:
        """Rows about the means, and whether they are dense; sparse ones are only partly centred."""
        if isinstance(block.X, np.ndarray):
            return block.X - self.means, True
        return shifted(block.X, self.far), False

    def _part(
        self,
        some: slice | NDArray[np.intp],
        rows: Any,
        weights: NDArray[np.float64] | None,
        dtype: np.dtype[Any],
        leverage_dtype: np.dtype[Any],
    ) -> _Part:
        a = self.coordinates(rows, leverage_dtype)
        diagonal = self.left_out
        if diagonal is None:
            linear, operand = self.fitted.of(rows, dtype)
            part = self.leverages.of(a)
            part += self.mean_leverage
        else:
            linear, operand = self.filtered, a
            part = (a * a) @ diagonal.T
        if weights is not None:
            part *= weights[:, None]
        if diagonal is None:
            # A row that alone determines its own value has leverage 1, up to rounding.
            left = np.maximum(1.0 - part, np.finfo(np.float64).eps)
        else:
            left = np.where(part > 0.0, part, 1.0)
        return _Part(some, linear, operand, left, diagonal is None)


@dataclass(frozen=True)
class _Part:
    """Some rows of a block, as `LinearMap` reads them.

    Attributes
    ----------
    rows : slice or ndarray of int
    linear : LinearMap
        Gives decision values of the fit to all rows, less the means of the targets; or, if not
        `fitted`, the negative errors of that fit.
    operand : ndarray or CSR matrix
    left : ndarray of shape (m, p)
        One minus the leverages.
    fitted : bool
    """

    rows: slice | NDArray[np.intp]
    linear: LinearMap
    operand: Any
    left: NDArray[np.float64]
    fitted: bool


class DualLeaveOneOutDecisions(Decisions):
    """Decision value of each row from a fit to all the others, from axes of a dual system.

    With ``C = (Z Z^T + alpha I)^-1`` on the centred right-hand sides, the error of a left-out row is
    ``(C y)_i / C_ii``. Blocks hold the rows' coordinates in the axes. A row without weight has the
    coordinates that give its fitted value.

    Parameters
    ----------
    leverages : BandLeverages
        Gives ``C_ii`` for p penalties.
    solutions : ndarray of shape (r, p, t)
        ``C y`` in the axes.
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
        leverages: BandLeverages,
        solutions: NDArray[np.float64],
        target_means: NDArray[np.float64],
        targets: slice,
        n_classes: int,
    ) -> None:
        self.shape = solutions.shape[1:]
        self.leverages = leverages
        self.weights = solutions.reshape(len(solutions), -1)
        self.target_means = target_means
        self.targets = targets
        self.n_classes = n_classes

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        values: NDArray[Any] = (block.X @ self.weights).reshape(-1, *self.shape)
        own = self.leverages.of(block.X)
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

    Parameters
    ----------
    matrix : ndarray of shape (v, d)
    means : ndarray of shape (d,)
        Of sparse rows.
    dtypes : set of dtype
    """

    def __init__(
        self, matrix: NDArray[np.float64], means: NDArray[np.float64], dtypes: set[np.dtype[Any]]
    ) -> None:
        self.maps = {
            dtype: LinearMap(np.ascontiguousarray(matrix, dtype), np.zeros(len(matrix), dtype))
            for dtype in dtypes
        }
        self.of_sparse = LinearMap(self.maps[np.dtype(np.float64)].coefs, -(matrix @ means))

    def of(self, rows: Any, dtype: np.dtype[Any]) -> tuple[LinearMap, Any]:
        """The map for such rows, and the rows for the map."""
        if isinstance(rows, np.ndarray):
            return self.maps[dtype], rows.astype(dtype, copy=False)
        return self.of_sparse, rows

    def __call__(self, rows: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        linear, rows = self.of(rows, dtype)
        return linear.all_values(rows)[0].astype(dtype, copy=False)
