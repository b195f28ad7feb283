"""Solutions for many penalties, from statistics alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.exceptions import IllConditioned, IllConditionedWarning, warn_caller
from parallel_ridge.numerics import (
    BAND_PAYS,
    FACTOR_PAYS,
    REFINE_LIMIT,
)
from parallel_ridge.solvers._band import BandedForm
from parallel_ridge.solvers._normal_equations import NormalEquations
from parallel_ridge.solvers._problem import Problem, Solution
from parallel_ridge.solvers._refinement import exact_residual, refine
from parallel_ridge.statistics import SufficientStatistics


def solve_penalties(
    system: NormalEquations,
    alphas: Sequence[float],
    solver: str = "auto",
    limit: Callable[[float], float] | None = None,
    rescue: Callable[[float, IllConditioned], Solution] | None = None,
) -> tuple[list[Solution], str]:
    """Solve a system for each of several penalties; return the solutions and the solver used.

    One banded form serves many penalties. Few penalties get a Cholesky factorisation each, and so do
    small ones, for which the form is not accurate enough. If these are many, the singular values of
    one Cholesky factor serve all.

    Parameters
    ----------
    limit : callable, default=None
        ``limit(alpha)``: the largest condition number allowed; the system's `limit` if None.
    rescue : callable, default=None
        ``rescue(alpha, error)``: a solution for a penalty for which no solver is accurate enough.

    Raises
    ------
    IllConditioned
        If no solver is accurate enough for one of the penalties, and there is no rescue.
    """
    if solver != "eigen" and len(alphas) <= BAND_PAYS:
        return _by_cholesky(system, alphas, limit, rescue), "cholesky"
    limits = [(limit or system.limit)(alpha) for alpha in alphas]
    if solver == "eigen":
        return _by_spectrum(system, alphas, limits), "eigen"
    least = min(limits)
    bounds = [system.condition_bound(alpha) for alpha in alphas]
    if sum(bound > least for bound in bounds) > FACTOR_PAYS and max(bounds) <= least**2:
        with suppress(IllConditioned):
            return system.spectrum_of_factor(min(alphas), least).solutions(alphas), "eigen"
    form = system.banded()
    rotated = [_in_band(form, alpha, most) for alpha, most in zip(alphas, limits, strict=True)]
    found = iter(form.rotated_back([one for one in rotated if one is not None]))
    # A Cholesky is the more accurate of the two, because it allows scaling.
    small = [alpha for alpha, one in zip(alphas, rotated, strict=True) if one is None]
    others = iter(_by_cholesky(system, small, limit, rescue))
    return [next(others if one is None else found) for one in rotated], "banded"


def _in_band(form: BandedForm, alpha: float, limit: float) -> NDArray[np.float64] | None:
    """Solution in the basis of the form, or None if it may not be accurate."""
    with suppress(IllConditioned):
        factor = form.factor(alpha)
        if factor.condition <= limit:
            return factor.solve(form.rotated)
    return None


def _by_cholesky(
    system: NormalEquations,
    alphas: Sequence[float],
    limit: Callable[[float], float] | None,
    rescue: Callable[[float, IllConditioned], Solution] | None,
) -> list[Solution]:
    """Solve for each penalty by a Cholesky factorisation."""

    def solution(alpha: float) -> Solution:
        factor = system.factorise(alpha, False, (limit or system.limit)(alpha))
        coef = factor.solve(system.rhs)
        if limit is None and not system.accurate(factor, coef):
            raise IllConditioned(factor.condition, factor.lost)
        return factor.solution(coef)

    found = []
    for alpha in alphas:
        try:
            found.append(solution(alpha))
            continue
        except IllConditioned as error:
            if rescue is None:
                raise
            failure = error.with_traceback(None)  # frees the factor
        found.append(rescue(alpha, failure))
    return found


def _by_spectrum(
    system: NormalEquations, alphas: Sequence[float], limits: Sequence[float]
) -> list[Solution]:
    spectrum = system.spectrum()
    for alpha, most in zip(alphas, limits, strict=True):
        if spectrum.condition(alpha) > most:
            raise IllConditioned(spectrum.condition(alpha), system.lost(alpha))
    return spectrum.solutions(alphas)


def solve_path(
    statistics: SufficientStatistics,
    alphas: Sequence[float],
    problem: Problem,
    solver: str = "auto",
) -> tuple[list[Solution], str]:
    """Solve for each of several penalties, from statistics alone.

    Returns
    -------
    solutions : list of Solution
    solver : {"cholesky", "banded", "eigen"}
        The solver of most penalties. If none is accurate, an `IllConditionedWarning` says so.
    """
    system = NormalEquations(statistics, problem)

    def refined(alpha: float, error: IllConditioned) -> Solution:
        if not statistics.exact or error.condition > REFINE_LIMIT:
            raise error
        factor = system.factorise(alpha, False, REFINE_LIMIT)
        residual = exact_residual(statistics, factor)
        if residual is None:
            raise error
        return refine(factor, factor.solve(system.rhs), residual)

    try:
        return solve_penalties(system, alphas, solver, rescue=refined)
    except IllConditioned as error:
        what = str(error)
    warn_caller(
        f"The system is ill-conditioned ({what}): its solution has fewer than 8 digits. An "
        "eigendecomposition left out the directions that were lost to rounding. Raise alpha, or "
        "fit on the rows with solver='svd'.",
        IllConditionedWarning,
    )
    return system.spectrum(overwrite=True).solutions(alphas), "eigen"
