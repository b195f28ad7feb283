"""Forms of a system that give the solutions for many penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from parallel_ridge.kernels import _lapack
from parallel_ridge.numerics import EPSILON, FLOAT32_RANGE, TRIDIAGONAL_PAYS
from parallel_ridge.reductions import Leverages
from parallel_ridge.solvers._problem import Problem, Solution, with_intercept

if TYPE_CHECKING:
    from parallel_ridge.solvers._normal_equations import NormalEquations


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

    def leverages(self, alphas: Sequence[float], n_rows: int) -> Leverages:
        """What leave-one-out needs, for a fit to ``n_rows`` rows of positive weight."""
        fitted = self.inverse(alphas)
        squares = self.values - self.base
        real = squares > len(squares) * EPSILON * squares.max(initial=0.0)
        if real.sum() + self.problem.fit_intercept < n_rows:
            return Leverages(fitted, None, self._rounding(squares, fitted, n_rows))
        penalties = [self.problem.penalty(alpha, self.weight_sum) for alpha in alphas]
        left_out = np.array(penalties)[:, None] * fitted
        return Leverages(
            fitted, np.divide(left_out, squares, out=np.zeros_like(fitted), where=real), np.inf
        )

    def _rounding(
        self, squares: NDArray[np.float64], fitted: NDArray[np.float64], n_rows: int
    ) -> float:
        """Estimated error of leverages in float32; infinite if it cannot hold their factors."""
        largest = fitted.max(axis=0, initial=0.0)
        sizes = [np.abs(part).max(initial=0.0) for part in (self.squares, self.axes, largest)]
        if max(sizes) > FLOAT32_RANGE:
            return np.inf
        # Each product rounds by 2^-24, independently. Axes without variance contribute only
        # second-order error.
        lost = 2.0**-48 * (self.squares @ self.axes**2) / n_rows
        first = (np.maximum(squares, 0.0) * largest**2 / n_rows) @ lost
        return float(2.0 * first**0.5 + largest @ lost)

    def solutions(self, alphas: Sequence[float]) -> list[Solution]:
        """Solutions for each penalty; of least norm if there are many."""
        filtered = self.inverse(alphas)[:, None] * self.rotated
        p, t, m = filtered.shape
        coefs = (filtered.reshape(p * t, m) @ self.axes.T).reshape(p, t, len(self.axes))
        return [
            with_intercept(coef, self.means, self.target_means, self.problem.fit_intercept)
            for coef in coefs
        ]

    def condition(self, alpha: float) -> float:
        """Condition number, for this penalty, that governs the error of jointly computed axes."""
        if not len(self.values):
            return 1.0
        penalty = self.problem.penalty(alpha, self.weight_sum) - self.base
        smallest = self.values.min() + penalty
        return float((self.values.max() + penalty) / smallest) if smallest > 0.0 else np.inf


@dataclass(frozen=True)
class Tridiagonal:
    """A system in a basis where it is tridiagonal, so that each further penalty costs ``t d``.

    Attributes
    ----------
    system : NormalEquations
    root : ndarray of shape (m,)
        Roots of the penalties of its columns, the units of the basis.
    rotation : ndarray of shape (m, m)
    factors : ndarray of shape (m,)
        Reflections that make the basis.
    diagonal, off_diagonal : ndarray of shape (m,)
        The form without its penalty; the last element of ``off_diagonal`` is unused.
    rotated : ndarray of shape (m, t)
        The right-hand sides in the basis.
    smallest, largest : float
        Eigenvalues.

    References
    ----------
    Elden (1977), Algorithms for the regularization of ill-conditioned least squares problems,
    doi:10.1007/BF01932285, for a bidiagonal form of the rows.
    """

    system: NormalEquations
    root: NDArray[np.float64]
    rotation: NDArray[np.float64]
    factors: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    off_diagonal: NDArray[np.float64]
    rotated: NDArray[np.float64]
    smallest: float
    largest: float

    def condition(self, alpha: float) -> float:
        """Condition number for this penalty; infinite if the smallest value may be rounding."""
        penalty = self.system.penalty(alpha)
        smallest = self.smallest - len(self.diagonal) * EPSILON * self.largest + penalty
        return (self.largest + penalty) / smallest if smallest > 0.0 else np.inf

    def solutions(self, alphas: Sequence[float]) -> list[Solution]:
        """Solutions for penalties with finite condition numbers."""
        system, (m, t) = self.system, self.rotated.shape
        columns = np.empty((m, len(alphas) * t), order="F")
        for i, alpha in enumerate(alphas):
            band = np.stack([self.diagonal + system.penalty(alpha), self.off_diagonal])
            columns[:, i * t : (i + 1) * t] = scipy.linalg.solveh_banded(
                band, self.rotated, lower=True, overwrite_ab=True, check_finite=False
            )
        _lapack.rotate(self.rotation, self.factors, columns, True)
        if system.problem.standardize:
            columns /= self.root[:, None]
        coefs = np.zeros((len(alphas), t, len(system.varies)))
        coefs[:, :, system.varies] = columns.T.reshape(len(alphas), t, m)
        return [
            with_intercept(
                coef, system.means, system.target_means, bool(system.problem.fit_intercept)
            )
            for coef in coefs
        ]


def tridiagonal_pays(n_features: int) -> float:
    """Number of penalties beyond which one tridiagonal form beats a Cholesky each."""
    if n_features < 2:  # SciPy's banded solver needs at least two equations
        return np.inf
    sizes, pays = np.log(list(TRIDIAGONAL_PAYS)), list(TRIDIAGONAL_PAYS.values())
    return float(np.interp(np.log(n_features), sizes, pays))
