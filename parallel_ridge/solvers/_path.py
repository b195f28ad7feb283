"""Solutions for many penalties, from statistics alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.exceptions import IllConditioned, IllConditionedWarning, warn_caller
from parallel_ridge.numerics import (
    FACTOR_PAYS,
    FLOAT32_FACTOR,
    NEARBY_ACCURACY,
    REFINE_LIMIT,
)
from parallel_ridge.solvers._cholesky import CholeskyFactor
from parallel_ridge.solvers._nearby import affordable_steps, solve_nearby
from parallel_ridge.solvers._normal_equations import NormalEquations
from parallel_ridge.solvers._problem import Problem, Solution
from parallel_ridge.solvers._refinement import exact_residual, refine
from parallel_ridge.solvers._spectrum import tridiagonal_pays
from parallel_ridge.statistics import SufficientStatistics


def solve_penalties(
    system: NormalEquations,
    alphas: Sequence[float],
    solver: str = "auto",
    limit: Callable[[float], float] | None = None,
    rescue: Callable[[float, IllConditioned], Solution] | None = None,
) -> tuple[list[Solution], str]:
    """Solve a system for each of several penalties; return the solutions and the solver used.

    One tridiagonal form serves many penalties. Few penalties get Cholesky factorisations, of which one
    may serve several (see `solve_nearby`), and so do small ones, for which the form is not accurate
    enough. If these are many, the singular values of one Cholesky factor serve all.

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
    if solver != "eigen" and len(alphas) <= tridiagonal_pays(len(system.gram)):
        return _by_cholesky(system, alphas, limit, rescue), "cholesky"
    limits = [(limit or system.limit)(alpha) for alpha in alphas]
    if solver == "eigen":
        return _by_spectrum(system, alphas, limits), "eigen"
    least = min(limits)
    bounds = [system.condition_bound(alpha) for alpha in alphas]
    if sum(bound > least for bound in bounds) > FACTOR_PAYS and max(bounds) <= least**2:
        with suppress(IllConditioned):
            return system.spectrum_of_factor(min(alphas), least).solutions(alphas), "eigen"
    form = system.tridiagonal()
    fits = [form.condition(alpha) <= most for alpha, most in zip(alphas, limits, strict=True)]
    found = iter(form.solutions([alpha for alpha, good in zip(alphas, fits, strict=True) if good]))
    # A Cholesky is the more accurate of the two, because it allows scaling.
    small = [alpha for alpha, good in zip(alphas, fits, strict=True) if not good]
    others = iter(_by_cholesky(system, small, limit, rescue))
    return [next(found if good else others) for good in fits], "tridiagonal"


def _by_cholesky(
    system: NormalEquations,
    alphas: Sequence[float],
    limit: Callable[[float], float] | None,
    rescue: Callable[[float, IllConditioned], Solution] | None,
) -> list[Solution]:
    """Solve for each penalty by a Cholesky factorisation, or from that of a smaller penalty.

    Penalties ascend, so a factor's condition number bounds those of all systems it is used for. In
    searches factors are float32 while that suffices for conjugate gradients to converge quickly.
    """
    steps = affordable_steps(len(system.gram), len(system.rhs))
    accuracy = NEARBY_ACCURACY["path" if limit is None else "search"]
    found: dict[float, Solution] = {}
    factor: CholeskyFactor | None = None
    own = 0.0  # the factor's penalty
    too_far = np.inf  # ratio of penalties at which steps did not suffice

    def accurate(factor: CholeskyFactor, coef: NDArray[np.float64], alpha: float) -> bool:
        if limit is not None:
            return factor.condition <= limit(alpha)
        return system.accurate(replace(factor, lost=max(factor.lost, system.lost(alpha))), coef)

    def nearby(factor: CholeskyFactor, alpha: float) -> NDArray[np.float64] | None:
        coef = solve_nearby(system, factor, alpha, steps, accuracy)
        return coef if coef is not None and accurate(factor, coef, alpha) else None

    def factorised(alpha: float) -> tuple[CholeskyFactor, NDArray[np.float64]]:
        factor = system.factorise(alpha, False, (limit or system.limit)(alpha))
        coef = factor.solve(system.rhs)
        if not accurate(factor, coef, alpha):
            raise IllConditioned(factor.condition, factor.lost)
        return factor, coef

    single = steps > 0 and limit is not None
    for alpha in sorted(alphas):
        coef = None
        if factor is not None and steps and (own == 0.0 or alpha < too_far * own):
            coef = nearby(factor, alpha)
            if coef is None and own > 0.0:
                too_far = min(too_far, alpha / own)
        if coef is None and single:
            factor, own = None, alpha  # frees its memory
            with suppress(IllConditioned):
                factor = system.factorise(alpha, False, FLOAT32_FACTOR, np.float32)
                coef = nearby(factor, alpha)
        if coef is None:
            factor, own = None, alpha
            try:
                factor, coef = factorised(alpha)
            except IllConditioned as error:
                if rescue is None:
                    raise
                failure = error.with_traceback(None)  # frees the factor, too
            if factor is None or coef is None:
                assert rescue is not None
                found[alpha] = rescue(alpha, failure)
                continue
            single = steps > 0 and limit is not None and factor.condition <= FLOAT32_FACTOR
        assert factor is not None
        found[alpha] = factor.solution(coef)
    return [found[alpha] for alpha in alphas]


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
    solver : {"cholesky", "tridiagonal", "eigen"}
        The last solver used. If none is accurate, an `IllConditionedWarning` says so.
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
