"""A Cholesky factor of the scaled system, and its error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.kernels import _lapack
from parallel_ridge.numerics import ACCURACY, SOLVE_ROUNDING
from parallel_ridge.solvers._problem import Problem, Solution, with_intercept

# Columns per panel of a Cholesky factorisation; Ctrl-C is heard between panels.
CHOLESKY_PANEL = 256
Factorise = Callable[[NDArray[np.float64], float], float | None]
_factorise: ContextVar[Factorise | None] = ContextVar("factorise", default=None)


@contextmanager
def factorising(by: Factorise) -> Iterator[None]:
    """Let something else than this process's LAPACK factorise systems in this thread.

    Parameters
    ----------
    by : callable
        ``by(system, norm)`` overwrites a C-ordered upper triangle by its Cholesky factor U, and returns
        the reciprocal of the estimated condition number in the 1-norm, given the norm of the system: 0 if
        it is not positive definite. None leaves the system to LAPACK.
    """
    token = _factorise.set(by)
    try:
        yield
    finally:
        _factorise.reset(token)


@dataclass(frozen=True)
class CholeskyFactor:
    """Lower factor of ``scale (G + alpha P) scale``, which has a unit diagonal.

    Attributes
    ----------
    lower : ndarray of shape (m, m)
        Factor for the columns that vary; only the lower triangle is meaningful.
    scale : ndarray of shape (m,)
    condition : float
        Estimated condition number of the scaled system.
    lost : float
        Relative rounding error of the sums.
    varies : ndarray of shape (d,), bool
        Columns with variance; the coefficients of others are zero.
    squares : ndarray of shape (d,)
        Sums of squares of the columns.
    penalty, means : ndarray of shape (d,)
        ``penalty`` is the diagonal of ``alpha P``.
    offset : ndarray of shape (d,)
        Sum of ``w (x - means)``, which is not zero because the means are rounded.
    target_means : ndarray of shape (t,)
    problem : Problem
    """

    lower: NDArray[np.float64]
    scale: NDArray[np.float64]
    condition: float
    lost: float
    varies: NDArray[np.bool_]
    squares: NDArray[np.float64]
    penalty: NDArray[np.float64]
    means: NDArray[np.float64]
    offset: NDArray[np.float64]
    target_means: NDArray[np.float64]
    problem: Problem

    def solve(self, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients for right-hand sides, both of shape (t, d)."""
        coef = np.zeros_like(rhs)
        scale = self.scale[:, None]
        columns = np.asfortranarray(rhs[:, self.varies].T * scale)
        _lapack.solve(self.lower, columns)
        coef[:, self.varies] = (scale * columns).T
        return coef

    def error(self, coef: NDArray[np.float64]) -> float:
        """Estimated relative error of the solution, given the rounding of the system.

        The condition number bounds the error of the scaled coefficients. Columns of very different
        sizes need the second, sampled estimate.
        """
        length = float(np.linalg.norm(coef, axis=1).max(initial=0.0))
        if not length > 0.0:
            return 0.0
        size = float(np.linalg.norm(coef[:, self.varies] / self.scale, axis=1).max())
        bound = self.condition * (SOLVE_ROUNDING + self.lost) * size * self.scale.max() / length
        if bound < ACCURACY["float64"]:  # in any direction
            return bound
        noise = np.random.default_rng(0).standard_normal((2, len(self.scale)))
        noise *= (SOLVE_ROUNDING + self.lost) * size / len(self.scale) ** 0.5
        rhs = np.zeros((2, len(self.varies)))
        rhs[:, self.varies] = noise / self.scale
        return float(np.linalg.norm(self.solve(rhs), axis=1).max()) / length

    def solution(self, coef: NDArray[np.float64]) -> Solution:
        """Coefficients with their intercepts."""
        return with_intercept(coef, self.means, self.target_means, self.problem.fit_intercept)


def cholesky(
    system: NDArray[np.float64], norm: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.float64], float]:
    """Factorise a C-ordered upper triangle in place; return the lower factor and its condition."""
    factor = system.T
    if not len(factor):
        return factor, 1.0
    by, size = _factorise.get(), float(norm.max(initial=0.0))
    reciprocal = None if by is None else by(system, size)
    if reciprocal is None:
        if _lapack.cholesky(factor, CHOLESKY_PANEL) > 0:
            raise IllConditioned(np.inf)
        reciprocal, _ = lapack.dpocon(factor, size, uplo="L")
    if reciprocal * limit < 1.0:
        raise IllConditioned(1.0 / reciprocal if reciprocal else np.inf)
    return factor, 1.0 / reciprocal
