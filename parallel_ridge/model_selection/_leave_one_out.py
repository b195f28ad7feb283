"""Leave-one-out: the error of each row under the solution of all the others, in closed form."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.folding import WideRows, fold_spectrum
from parallel_ridge.model_selection._dual import dual_leave_one_out
from parallel_ridge.model_selection._results import Make, Scores, Search
from parallel_ridge.reductions import Decisions, LeaveOneOutDecisions
from parallel_ridge.solvers import NormalEquations, Spectrum
from parallel_ridge.sources import Source
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.threads import blas_of_solve

if TYPE_CHECKING:
    from parallel_ridge.model_selection._search import PenaltySearch


def leave_one_out(searcher: PenaltySearch) -> Search:
    """Search by the error of each row under the solution of all the others."""
    source = searcher.source
    # Fits interpolate so few rows: their errors, which the penalty alone makes, keep their digits in
    # the dual system.
    few = source.n_rows <= source.n_features + searcher.problem.fit_intercept
    if not searcher.wide and not (few and source.collectable):
        return _from_statistics(searcher)
    start = time.perf_counter()
    rows = WideRows.of(searcher.backend, source)
    found = dual_leave_one_out(searcher, rows)
    if found is None:  # what a small penalty makes visible is lost in products
        return replace(_from_statistics(searcher.in_row_coordinates(rows)), total=None)
    decisions, coordinates = found
    source = source.with_rows(coordinates)
    seconds = time.perf_counter() - start
    return replace(_search(searcher, decisions, source, seconds), rows=rows)


def _from_statistics(searcher: PenaltySearch) -> Search:
    start = time.perf_counter()
    total = searcher.statistics(searcher.source)
    spectrum = _spectrum(searcher, total)
    intercept = searcher.problem.fit_intercept

    def decisions(some: Sequence[int]) -> Decisions:
        alphas = [searcher.alphas[j] for j in some]
        return LeaveOneOutDecisions(
            spectrum.axes,
            spectrum.means,
            spectrum.leverages(alphas, searcher.source.positive_rows()),
            spectrum.rotated,
            spectrum.target_means if intercept else np.zeros(len(spectrum.target_means)),
            searcher.errors.targets,
            len(searcher.target.classes),
            1.0 / spectrum.weight_sum if intercept else 0.0,
            searcher.dtype,
            spectrum.means**2 * spectrum.weight_sum > spectrum.squares,
        )

    seconds = time.perf_counter() - start
    return replace(_search(searcher, decisions, searcher.source, seconds), total=total)


def _search(
    searcher: PenaltySearch,
    decisions: Callable[[Sequence[int]], Decisions],
    source: Source,
    seconds: float,
) -> Search:
    """Search with the decision values of left-out rows, for some penalties at a time."""

    def fold(some: Sequence[int], make: Make) -> list[Any]:
        return [searcher.backend.reduce(make(decisions(some)), source)]

    start = time.perf_counter()
    scales = None
    if searcher.scoring.kind == "errors":
        (errors,) = fold(range(len(searcher.alphas)), searcher.errors.reduction)
        scores, deviations = searcher.errors.of_left_out(errors, searcher.source.n_rows)
    else:
        scores, scales = searcher.scores_of(fold, searcher.source.weighted)
        deviations = np.full(len(searcher.alphas), np.nan)
        if searcher.scoring.name == "accuracy":  # scores of single rows are 0 or 1
            deviations = np.sqrt(scores[0] * (1.0 - scores[0]))
    shape = (1, len(searcher.alphas))
    score_seconds = np.full(shape, (time.perf_counter() - start) / len(searcher.alphas))
    fit_seconds = np.full(shape, seconds / len(searcher.alphas))
    found = Scores(searcher.alphas, scores.reshape(shape), fit_seconds, score_seconds, deviations)
    return Search(searcher, fold, found, scales, None)


def _spectrum(searcher: PenaltySearch, statistics: SufficientStatistics) -> Spectrum:
    smallest = min(searcher.alphas)

    def solve(statistics: SufficientStatistics) -> Spectrum:
        with blas_of_solve(statistics.n_features):
            system = NormalEquations(statistics, searcher.problem)
            if system.condition_bound(smallest) <= system.search_limit(smallest):
                return system.spectrum(overwrite=True)
            return system.spectrum_of_factor(smallest)

    try:
        return searcher.backend.map(solve, [statistics])[0]
    except IllConditioned as error:
        what = str(error)
    searcher.warn_ill_conditioned("leave-one-out", what)
    return fold_spectrum(searcher.backend, searcher.source, searcher.target, searcher.problem)
