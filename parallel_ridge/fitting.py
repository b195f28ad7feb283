"""Fits: what each solver folds and solves, and which one takes over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.backends import Backend
from parallel_ridge.exceptions import IllConditioned, IllConditionedWarning, warn_caller
from parallel_ridge.folding import WideRows, fold_moments, fold_path
from parallel_ridge.numerics import (
    CG_STEPS,
    EPSILON,
    LARGE_SYSTEM,
    LARGEST_SYSTEM,
    REFINED,
)
from parallel_ridge.reductions import (
    NormalProductReduction,
    RowProducts,
    StatisticsOptions,
    StatisticsReduction,
    coefficient_dtype,
    fold_statistics,
)
from parallel_ridge.solvers import (
    CholeskyFactor,
    DualSystem,
    NormalEquations,
    Problem,
    Solution,
    n_targets,
    refine,
    solve_conjugate_gradients,
    solve_dual,
    solve_refined,
)
from parallel_ridge.sources import Source, Target
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.threads import blas_of_solve


@dataclass
class Job:
    """A fit to some rows: everything that a solver may need.

    Attributes
    ----------
    backend : Backend
    source : Source
    target : Target
    problem : Problem
    options : StatisticsOptions
        How statistics are formed.
    fold : callable
        ``fold(reduction, source)``: the backend's `reduce`, or one with a cache on disk.
    keep : bool
        Whether the statistics are wanted after the fit.
    statistics : SufficientStatistics, or None
        Statistics of the rows: given, or left here by a solver if ``keep`` is set.
    rows : WideRows, or None
        The rows and their products, if a search has formed them.
    say : callable
        ``say(what, start)``: report a step that began at ``start``.
    """

    backend: Backend
    source: Source
    target: Target
    problem: Problem
    options: StatisticsOptions
    fold: Callable[[Any, Source], Any]
    keep: bool
    say: Callable[[str, float], None]
    statistics: SufficientStatistics | None = None
    rows: WideRows | None = None

    @property
    def accuracy(self) -> float:
        """Largest relative error of the coefficients of a refined solution."""
        return REFINED[str(coefficient_dtype(self.source.dtype))]

    def form_statistics(
        self, reduction: StatisticsReduction, source: Source, n_groups: int = 0
    ) -> Any:
        """Statistics of a source, or a list of its groups' if their number is given."""
        start = time.perf_counter()
        statistics, _ = fold_statistics(self.fold, reduction, source, n_groups)
        self.say(f"folded {source.n_rows} rows of {source.n_features} features", start)
        return statistics


def solve(job: Job, alpha: float, solver: str) -> tuple[Solution, str]:
    """Solve a job by a solver of `SOLVERS`, or by ``"svd"`` if that solver would lose digits.

    Returns
    -------
    solution : Solution
    solver : str
        Name of the solver used.
    """
    if solver == "auto":
        solver = suitable_solver(job)
    entry = SOLVERS[solver]
    if job.keep and entry.needs != "statistics":
        raise ValueError(
            f"solver={solver!r} makes no statistics; with store_statistics=True choose one of "
            f"{STATISTICS_SOLVERS}."
        )
    if entry.needs != "statistics":
        job.statistics = None  # a search's statistics, which this solver does not need
    if entry.needs != "passes":
        check_memory_for(job.source, entry.needs)
    try:
        return entry.solve(job, alpha), solver
    except IllConditioned as error:
        if entry.falls_back is None:
            raise
        what = str(error)
    # Outside of the except block, so that the failed system is freed before the next pass.
    if not job.keep:
        job.statistics = None
    solution, error_left = _from_rows(job, alpha)
    even = f", and even so may be off by {error_left:.0e} of its size" if error_left else ""
    warn_caller(
        f"The system is ill-conditioned ({what}): solver {solver!r} would lose more than 8 digits. "
        f"It was solved by 'svd', which takes another pass{even}. Raise alpha, or set "
        "standardize=True, to avoid that.",
        IllConditionedWarning,
    )
    return solution, "svd"


def check_memory_for(source: Source, needs: str) -> None:
    """Raise if this machine has too little memory for the matrix of a system.

    Parameters
    ----------
    needs : {"statistics", "rows"}
        The d x d system of statistics, or the n x n system of rows.

    Raises
    ------
    MemoryError
        With both sizes, and the solver that needs neither matrix.
    """
    n, d = source.n_rows, source.n_features
    order = d if needs == "statistics" else n
    if 8 * order**2 > machine_memory():
        d_size, n_size = (8 * size**2 / 2**30 for size in (d, n))
        raise MemoryError(
            f"The {order} x {order} system does not fit into this machine's memory of "
            f"{machine_memory() / 2**30:.0f} GiB: the system of {d} features takes {d_size:.1f} GiB, "
            f"that of {n} rows (solver='dual') {n_size:.1f} GiB. solver='cg' needs neither."
        )


def machine_memory() -> float:
    """Bytes of memory of this machine; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def suitable_solver(job: Job) -> str:
    """The solver that ``"auto"`` chooses for a job."""
    source = job.source
    n, d = source.n_rows, source.n_features
    large = source.sparse and min(n, d) > LARGE_SYSTEM
    dual = not job.keep and source.collectable
    return cheapest_solver(n, d, source.stored() if large else n * d, dual)


def cheapest_solver(n_rows: int, n_features: int, n_values: int, dual: bool) -> str:
    """The solver of the smaller of the two systems, unless it is too large or costs more.

    A system of order m costs m^3 / 3 multiplications. A step of conjugate gradients costs four per
    value of the rows, at a tenth of the speed if these are sparse; a small penalty needs `CG_STEPS`
    steps.

    Parameters
    ----------
    n_values : int
        Number of stored values: fewer than n d for sparse rows.
    dual : bool
        Whether the n x n system may be used; it needs all rows in one process and keeps no statistics.
    """
    primal = n_features <= LARGEST_SYSTEM and (n_rows >= n_features or not dual)
    order = n_features if primal else n_rows
    if not primal and not (dual and n_rows <= LARGEST_SYSTEM):
        return "cg"
    sparse = n_values < n_rows * n_features
    if sparse and order > LARGE_SYSTEM and 40 * CG_STEPS * n_values < order**3 / 3:
        return "cg"
    return "cholesky" if primal else "dual"


def _by_statistics(job: Job, alpha: float, solver: str, double: bool = False) -> Solution:
    """Solve from statistics, formed here unless given; with more passes if necessary."""
    options = replace(job.options, double=True) if double else job.options

    def reduction() -> StatisticsReduction:
        return StatisticsReduction.of(job.source, job.target, options)

    statistics = job.statistics
    if statistics is None or double:
        statistics = job.form_statistics(reduction(), job.source)
    job.statistics = statistics if job.keep else None
    means, exact = statistics.means, statistics.exact
    try:
        start = time.perf_counter()
        solve = partial(
            _solve_system, alpha=alpha, solver=solver, problem=job.problem, overwrite=not job.keep
        )
        ((solution, factor),) = job.backend.map(solve, [statistics])
        job.say(f"solved {job.source.n_features} equations", start)
        return solution if factor is None else _refine(job, factor, solution)
    except IllConditioned:
        if exact or reduction().work_dtype != np.float32:
            raise
    del statistics
    # float64 products of float32 rows are exact.
    job.options = replace(job.options, shift=means)
    return _by_statistics(job, alpha, solver, double=True)


def _solve_system(
    statistics: SufficientStatistics, alpha: float, solver: str, problem: Problem, overwrite: bool
) -> tuple[Solution, CholeskyFactor | None]:
    if solver == "cholesky":
        return solve_refined(statistics, alpha, problem, overwrite)
    system = NormalEquations(statistics, problem, overwrite=overwrite)
    spectrum = system.spectrum(overwrite=True)
    if spectrum.condition(alpha) > system.limit(alpha):
        raise IllConditioned(spectrum.condition(alpha), system.lost(alpha))
    return spectrum.solutions([alpha])[0], None


def _refine(job: Job, factor: CholeskyFactor, solution: Solution) -> Solution:
    """Correct a solution by passes over the rows."""
    source, target = job.source, job.target
    start = time.perf_counter()
    k = len(target.classes)
    ones = np.ones(source.n_features)
    target_means = (
        factor.target_means if job.problem.fit_intercept else np.zeros(len(solution.coef))
    )
    # In standard deviations, or less where the penalty outweighs a column.
    distances = np.zeros(source.n_features)
    distances[factor.varies] = factor.scale
    distances *= np.abs(factor.means) * source.weight_sum() ** 0.5
    centred = bool((distances > 10.0).any())

    offset = factor.offset / source.weight_sum()

    def residual(coef: NDArray[np.float64]) -> NDArray[np.float64]:
        targets = n_targets(k, target.multilabel)
        reduction = NormalProductReduction(
            coef.T,
            factor.means,
            ones,
            centred,
            target_means,
            k,
            targets,
            distances > 1.0,
            offset,
        )
        left: NDArray[np.float64] = job.backend.reduce(reduction, source).T
        return left - factor.penalty * coef

    rounding = EPSILON * (factor.squares * source.weight_sum()) ** 0.5
    solution = refine(factor, solution.coef, residual, job.backend.map, job.accuracy, rounding)
    job.say("refined the solution", start)
    return solution


def _from_rows(job: Job, alpha: float) -> tuple[Solution, float]:
    """Solve from the rows themselves; return the solution, and its error if that is too large, else 0."""
    ((solution, error),) = fold_path(job.backend, job.source, job.target, job.problem, [alpha])
    return solution, 0.0 if error <= job.accuracy else min(error, 1.0)


def _by_cholesky(job: Job, alpha: float) -> Solution:
    return _by_statistics(job, alpha, "cholesky")


def _by_eigen(job: Job, alpha: float) -> Solution:
    return _by_statistics(job, alpha, "eigen")


def _by_svd(job: Job, alpha: float) -> Solution:
    solution, error = _from_rows(job, alpha)
    if error:
        warn_caller(
            "The rows do not determine the solution: rounding in them may change it by "
            f"{error:.0e} of its size, whatever the solver (directions of the rows that are nothing "
            "but rounding were left out). Raise alpha, or remove collinear columns.",
            IllConditionedWarning,
        )
    return solution


def _by_dual(job: Job, alpha: float) -> Solution:
    backend, problem, target = job.backend, job.problem, job.target
    rows = job.rows or WideRows.of(backend, job.source)
    Y = rows.labels.indicator(len(target.classes))
    Y = Y[:, n_targets(len(target.classes), target.multilabel)]
    columns = rows.view(problem, backend.solve_threads())

    def use(products: RowProducts) -> Solution:
        def solve(weights: NDArray[np.float64]) -> Solution:
            with blas_of_solve(len(weights)):
                return solve_dual(DualSystem(products, weights, Y, problem), columns, alpha)

        return backend.map(solve, [rows.weights])[0]

    start = time.perf_counter()
    solution = rows.with_enough_digits(backend, problem, use)
    job.say(f"solved {job.source.n_rows} equations, one per row,", start)
    return solution


def _by_cg(job: Job, alpha: float) -> Solution:
    moments, shift = fold_moments(job.backend, job.source, len(job.target.classes))
    full = shift != 0.0

    def product(V: NDArray[Any], mean: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
        offset = None
        if job.problem.fit_intercept:
            offset = moments.feature_sums / moments.weight_sum - (mean - shift)
        reduction = NormalProductReduction(V, mean, scale, full=full, offset=offset)
        value: NDArray[Any] = job.backend.reduce(reduction, job.source)
        return value

    return solve_conjugate_gradients(
        moments, shift, product, job.target.multilabel, alpha, job.problem
    )


@dataclass(frozen=True)
class Solver:
    """How one solver works.

    Attributes
    ----------
    solve : callable
        ``solve(job, alpha)``: a `Solution`; raises `IllConditioned` if it would lose digits.
    needs : {"statistics", "rows", "passes"}
        Sufficient statistics, all rows in one process, or only passes over the rows.
    passes : str
        Number of passes over the rows, for readers of the table.
    falls_back : str or None
        The solver that takes over, with an `IllConditionedWarning`; None if it warns by itself.
    """

    solve: Callable[[Job, float], Solution]
    needs: str
    passes: str
    falls_back: str | None = None


SOLVERS = {
    "cholesky": Solver(_by_cholesky, "statistics", "1, and a few to refine", falls_back="svd"),
    "eigen": Solver(_by_eigen, "statistics", "1", falls_back="svd"),
    "svd": Solver(_by_svd, "passes", "1 or 2"),
    "dual": Solver(_by_dual, "rows", "1", falls_back="svd"),
    "cg": Solver(_by_cg, "passes", "1, and 1 per step"),
}
STATISTICS_SOLVERS = (
    "auto",
    *(name for name, solver in SOLVERS.items() if solver.needs == "statistics"),
)
ROW_SOLVERS = tuple(name for name, solver in SOLVERS.items() if solver.needs != "statistics")
