"""Principal axes of a system, which give the solution for any penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.numerics import EPSILON, FLOAT32_RANGE
from parallel_ridge.reductions import AxisLeverages
from parallel_ridge.solvers._problem import Problem, Solution, with_intercept


@dataclass(frozen=True)
class Spectrum:
    """Principal axes of a penalised system, which give the solution for any penalty.

    In the coordinates ``a = (x - means) @ axes`` the sum of squares and the penalty are both
    diagonal.

    Attributes
    ----------
    values : ndarray of shape (m,)
        Sums of squares along each axis, plus ``base``; just ``base`` if they are rounding.
    base : float
        Penalty included in ``values``.
    axes : ndarray of shape (d, m)
        Rows of constant columns are zero.
    rotated : ndarray of shape (t, m)
        The right-hand sides in the axes.
    means, target_means : ndarray of shape (d,), (t,)
    squares : ndarray of shape (d,)
        Sum of squares of each column about ``means``.
    weight_sum : float
    problem : Problem
    noise : float
        Eigenvalues up to this are noise: dropped unless the penalty outweighs them.
    """

    values: NDArray[np.float64]
    base: float
    axes: NDArray[np.float64]
    rotated: NDArray[np.float64]
    means: NDArray[np.float64]
    target_means: NDArray[np.float64]
    squares: NDArray[np.float64]
    weight_sum: float
    problem: Problem
    noise: float = 0.0

    def inverse(self, alphas: Sequence[float]) -> NDArray[np.float64]:
        """One over sum of squares plus penalty, shape (len(alphas), m); 0 for axes with neither."""
        penalties = np.array([self.problem.penalty(alpha, self.weight_sum) for alpha in alphas])
        divisor = self.values + (penalties - self.base)[:, None]
        real = (divisor > 0.0) & ((penalties > self.noise)[:, None] | (self.values > self.noise))
        return np.divide(1.0, divisor, out=np.zeros_like(divisor), where=real)

    def leverages(self, alphas: Sequence[float], n_rows: int) -> AxisLeverages:
        """What leave-one-out needs, for a fit to ``n_rows`` rows of positive weight."""
        fitted = self.inverse(alphas)
        squares = self.values - self.base
        real = squares > len(squares) * EPSILON * squares.max(initial=0.0)
        if real.sum() + self.problem.fit_intercept < n_rows:
            return AxisLeverages(fitted, self._rounding(squares, fitted, n_rows))
        penalties = [self.problem.penalty(alpha, self.weight_sum) for alpha in alphas]
        left_out = np.array(penalties)[:, None] * fitted
        left_out = np.divide(left_out, squares, out=np.zeros_like(fitted), where=real)
        return AxisLeverages(
            fitted, np.inf, left_out, (left_out[:, None] * self.rotated).reshape(-1, len(squares))
        )

    def _rounding(
        self, squares: NDArray[np.float64], fitted: NDArray[np.float64], n_rows: int
    ) -> float:
        """Estimated error of leverages in float32; infinite if it cannot hold their factors."""
        largest = fitted.max(axis=0, initial=0.0)
        sizes = [np.abs(part).max(initial=0.0) for part in (self.squares, self.axes, largest)]
        if max(sizes) > FLOAT32_RANGE or sizes[-1] < 1.0 / FLOAT32_RANGE:
            return np.inf
        # Each product rounds by 2^-24, independently. Axes without variance contribute only
        # second-order error.
        lost = 2.0**-48 * (self.squares @ self.axes**2) / n_rows
        first = (np.maximum(squares, 0.0) * largest**2 / n_rows) @ lost
        return float(2.0 * first**0.5 + largest @ lost)

    def solutions(self, alphas: Sequence[float]) -> list[Solution]:
        """Solutions for each penalty; of least norm if there are many."""
        return [
            with_intercept(coef, self.means, self.target_means, self.problem.fit_intercept)
            for coef in self.coefs(alphas)
        ]

    def coefs(self, alphas: Sequence[float]) -> NDArray[np.float64]:
        """Coefficients of the solutions, shape (len(alphas), t, d)."""
        filtered = self.inverse(alphas)[:, None] * self.rotated
        p, t, m = filtered.shape
        return (filtered.reshape(p * t, m) @ self.axes.T).reshape(p, t, len(self.axes))

    def condition(self, alpha: float) -> float:
        """Condition number, for this penalty, that governs the error of jointly computed axes."""
        if not len(self.values):
            return 1.0
        penalty = self.problem.penalty(alpha, self.weight_sum) - self.base
        smallest = self.values.min() + penalty
        return float((self.values.max() + penalty) / smallest) if smallest > 0.0 else np.inf
