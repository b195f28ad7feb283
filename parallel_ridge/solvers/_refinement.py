"""Iterative refinement of a solution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.numerics import REFINE_LIMIT
from parallel_ridge.solvers._cholesky import CholeskyFactor
from parallel_ridge.solvers._normal_equations import NormalEquations
from parallel_ridge.solvers._problem import Problem, Solution, n_targets
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.threads import blas_of_solve


def refine(
    factor: CholeskyFactor,
    coef: NDArray[np.float64],
    residual: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    mapping: Callable[..., Any] = map,
    accuracy: float = 1e-8,
    rounding: NDArray[np.float64] | None = None,
) -> Solution:
    """Refine a solution iteratively, so that its error no longer grows with the condition number.

    Parameters
    ----------
    factor : CholeskyFactor
    coef : ndarray of shape (t, d)
        The solution of the factor.
    residual : callable
        ``residual(coef)``: the right-hand side minus the system times the coefficients, shape
        (t, d), from the rows or from exact sums.
    mapping : callable
        `map`, or a backend's method of that name for solves that all processes share.
    accuracy : float, default=1e-8
        Relative size of the last step, which bounds the remaining error.
    rounding : ndarray of shape (d,), default=None
        Estimated rounding error of a residual, which no step corrects; not checked if None.

    Raises
    ------
    IllConditioned
        If steps do not shrink, or if rounding of the residuals alone causes larger ones.

    References
    ----------
    Bjorck (1987), Stability analysis of the method of seminormal equations for linear least squares
    problems, doi:10.1016/0024-3795(87)90101-7; Higham (2002), Accuracy and Stability of Numerical
    Algorithms, 2nd ed., chapter 12.
    """
    before = 1.0
    while True:
        (step,) = mapping(factor.solve, [residual(coef)])
        coef = coef + step
        # Relative to the longest, because one target may be pure rounding error.
        length = np.linalg.norm(coef, axis=1).max()
        size = float(np.linalg.norm(step, axis=1).max() / length) if length > 0.0 else 0.0
        if size <= accuracy:
            break
        if not size < before / 4:
            raise IllConditioned(factor.condition, factor.lost)
        before = size
    if rounding is not None:
        signs = np.where(np.random.default_rng(0).random((2, len(rounding))) < 0.5, -1.0, 1.0)
        (noise,) = mapping(factor.solve, [signs * rounding])
        if np.linalg.norm(noise, axis=1).max() > accuracy * np.linalg.norm(coef, axis=1).max():
            raise IllConditioned(factor.condition, factor.lost)
    return factor.solution(coef)


def exact_residual(
    statistics: SufficientStatistics, factor: CholeskyFactor
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Residuals of the normal equations from integer sums, almost free of rounding.

    Coefficients are cut into pieces of so few digits that their products with integers, and the
    sums of these products, are exact in float64; the sums are added in extended precision. None if
    the integer sums are too large for useful pieces, or if this machine has no extended precision.

    References
    ----------
    Ozaki, Ogita, Oishi and Rump (2012), Error-free transformations of matrix multiplication by using
    fast routines of matrix multiplication and its applications, doi:10.1007/s11075-011-9478-1.
    """
    n, problem = statistics.n_samples, factor.problem
    shift = np.zeros(statistics.n_features)
    if problem.fit_intercept:
        shift = np.rint(statistics.shift + statistics.feature_sums / n)
    moved = statistics.reshift(shift, floats=True)
    sums = moved.feature_sums
    largest = max(int(moved.gram.diagonal().max()), int(np.abs(sums).max()), n)
    digits = 53 - largest.bit_length() - (len(sums) + 1).bit_length()
    if digits < 4 or np.finfo(np.longdouble).nmant <= 52:
        return None
    gram = moved.gram
    targets = n_targets(statistics.n_classes, statistics.multilabel)
    rhs = (2 * moved.class_sums[targets] - sums).astype(np.longdouble)
    rhs_mean = (2 * moved.class_counts[targets] - n).astype(np.longdouble)

    def residual(coef: NDArray[np.float64]) -> NDArray[np.float64]:
        left = rhs - factor.penalty * coef.astype(np.longdouble)
        left_mean = rhs_mean.copy()
        intercept = np.zeros(len(coef))
        if problem.fit_intercept:
            intercept = (2 * moved.class_counts[targets] - n - coef @ sums) / n
        rest = np.column_stack([coef, intercept])
        unit = np.exp2(np.ceil(np.log2(np.abs(rest).max(axis=1, keepdims=True) + 1e-300)))
        for _ in range(-(-64 // digits)):
            unit = unit * 2.0**-digits
            piece = np.rint(rest / unit) * unit
            rest -= piece
            left -= blas.dsymm(1.0, gram.T, piece[:, :-1].T, lower=1).T
            left -= piece[:, -1:] * sums
            left_mean -= piece[:, :-1] @ sums + piece[:, -1] * n
        if problem.fit_intercept:
            left -= left_mean[:, None] / n * sums
        return left.astype(np.float64)

    return residual


def solve_refined(
    statistics: SufficientStatistics, alpha: float, problem: Problem, overwrite: bool = False
) -> tuple[Solution, CholeskyFactor | None]:
    """Solve by a Cholesky factorisation; refine if necessary and if the sums are exact.

    Parameters
    ----------
    overwrite : bool, default=False
        Whether the statistics may be destroyed. Exact ones are kept, because refinement needs them.

    Returns
    -------
    solution : Solution
    factor : CholeskyFactor, or None
        Given if the solution has too few digits and needs `refine` with residuals from the rows.

    Raises
    ------
    IllConditioned
        If refinement would not help either.
    """
    with blas_of_solve(statistics.n_features):
        system = NormalEquations(statistics, problem, overwrite and not statistics.exact)
        factor = system.factorise(alpha, True, REFINE_LIMIT)
        coef = factor.solve(system.rhs)
        if system.accurate(factor, coef):
            return factor.solution(coef), None
        if factor.lost > 0.1:  # refinement could not correct anything
            raise IllConditioned(factor.condition, factor.lost)
        residual = exact_residual(statistics, factor) if statistics.exact else None
        if residual is None:
            return factor.solution(coef), factor
        return refine(factor, coef, residual), None
