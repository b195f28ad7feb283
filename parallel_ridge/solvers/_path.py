"""Solutions for many penalties, from statistics alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parallel_ridge.exceptions import IllConditioned, IllConditionedWarning, warn_caller
from parallel_ridge.numerics import REFINE_LIMIT
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
    """Weights for each of several penalties, and the solver that gave them.

    One tridiagonal form serves many penalties; small ones, for which it is not accurate enough,
    get a Cholesky each, as do few penalties.

    Parameters
    ----------
    limit : callable, default=None
        ``limit(alpha)``: the largest condition number; `limit` of the system when None.
    rescue : callable, default=None
        ``rescue(alpha, error)``: weights for a penalty for which none is accurate enough.

    Raises
    ------
    IllConditioned
        If none is accurate enough for one of them, and there is no rescue.
    """
    limits = [(limit or system.limit)(alpha) for alpha in alphas]
    if solver == "eigen":
        return _by_spectrum(system, alphas, limits), "eigen"

    def by_cholesky(alpha: float, most: float) -> Solution:
        try:
            return system.solve_cholesky(alpha, limit=None if limit is None else most)
        except IllConditioned as error:
            if rescue is None:
                raise
            return rescue(alpha, error)

    if len(alphas) <= tridiagonal_pays(len(system.gram)):
        return [by_cholesky(*pair) for pair in zip(alphas, limits, strict=True)], "cholesky"
    form = system.tridiagonal()
    fits = [form.condition(alpha) <= most for alpha, most in zip(alphas, limits, strict=True)]
    found = iter(form.weights([alpha for alpha, good in zip(alphas, fits, strict=True) if good]))
    path = [
        # The scaling that Cholesky allows makes it the more accurate of the two.
        next(found) if good else by_cholesky(alpha, most)
        for alpha, good, most in zip(alphas, fits, limits, strict=True)
    ]
    return path, "tridiagonal"


def _by_spectrum(
    system: NormalEquations, alphas: Sequence[float], limits: Sequence[float]
) -> list[Solution]:
    spectrum = system.spectrum()
    for alpha, most in zip(alphas, limits, strict=True):
        if spectrum.condition(alpha) > most:
            raise IllConditioned(spectrum.condition(alpha), system.lost(alpha))
    return spectrum.weights(alphas)


def solve_path(
    statistics: SufficientStatistics,
    alphas: Sequence[float],
    problem: Problem,
    solver: str = "auto",
) -> tuple[list[Solution], str]:
    """Weights for each of several penalties, from statistics alone.

    Returns
    -------
    weights : list of Weights
    solver : {"cholesky", "tridiagonal", "eigen"}
        The one that was used; not the first, if two were. Where none is accurate, there is an
        `IllConditionedWarning`.
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
        "eigendecomposition left out the directions that rounding has swallowed. Raise alpha, or fit "
        "on the rows with solver='svd'.",
        IllConditionedWarning,
    )
    return system.spectrum(overwrite=True).weights(alphas), "eigen"
