"""Leave-one-out: the error of each row under the solution of all the others, in closed form."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.folding import WideRows, fold_spectrum
from parallel_ridge.model_selection._dual import dual_leave_one_out
from parallel_ridge.model_selection._results import Make, Scores, Search
from parallel_ridge.numerics import BAND_ROWS
from parallel_ridge.reductions import Decisions, LeaveOneOutDecisions, Leverages
from parallel_ridge.solvers import (
    BandedForm,
    BandFactor,
    NormalEquations,
    Spectrum,
    band_leverages,
)
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
    axes = _axes(searcher, total)
    intercept = searcher.problem.fit_intercept

    def decisions(some: Sequence[int]) -> Decisions:
        leverages, coefs = axes.of(some)
        return LeaveOneOutDecisions(
            axes.axes,
            axes.means,
            leverages,
            coefs,
            axes.target_means if intercept else np.zeros(len(axes.target_means)),
            searcher.errors.targets,
            len(searcher.target.classes),
            1.0 / axes.weight_sum if intercept else 0.0,
            searcher.dtype,
            axes.means**2 * axes.weight_sum > axes.squares,
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


@dataclass(frozen=True)
class _Axes:
    """Axes of the penalised systems, and what `LeaveOneOutDecisions` needs in them.

    Attributes
    ----------
    axes : ndarray of shape (d, m)
    of : callable
        ``of(some)``: leverages and coefficients for the penalties at some positions.
    means, target_means, squares, weight_sum : as those of `Spectrum`
    """

    axes: NDArray[np.float64]
    of: Callable[[Sequence[int]], tuple[Leverages, NDArray[np.float64]]]
    means: NDArray[np.float64]
    target_means: NDArray[np.float64]
    squares: NDArray[np.float64]
    weight_sum: float


def _axes(searcher: PenaltySearch, statistics: SufficientStatistics) -> _Axes:
    """Axes that suit the penalties: those of a banded form, unless there are too many rows."""
    smallest, rows = min(searcher.alphas), searcher.source.positive_rows()

    def solve(statistics: SufficientStatistics) -> _Axes:
        d = statistics.n_features
        with blas_of_solve(d):
            system = NormalEquations(statistics, searcher.problem)
            limit = system.search_limit(smallest)
            if system.condition_bound(smallest) > limit and system.condition(smallest) > limit:
                return _of_spectrum(system.spectrum_of_factor(smallest), searcher.alphas, rows)
            # Rows that a fit can interpolate keep their digits in principal axes only.
            if d + 1 < rows and rows * len(searcher.alphas) < BAND_ROWS * d * d:
                return _of_band(system.banded(overwrite=True), searcher.alphas)
            return _of_spectrum(system.spectrum(overwrite=True), searcher.alphas, rows)

    try:
        return searcher.backend.map(solve, [statistics])[0]
    except IllConditioned as error:
        what = str(error)
    searcher.warn_ill_conditioned("leave-one-out", what)
    spectrum = fold_spectrum(searcher.backend, searcher.source, searcher.target, searcher.problem)
    return _of_spectrum(spectrum, searcher.alphas, rows)


def _of_band(form: BandedForm, alphas: Sequence[float]) -> _Axes:
    factors = [form.factor(alpha) for alpha in alphas]
    found = form.rotated_back([factor.solve(form.rotated) for factor in factors])
    of = partial(_fits_of_factors, factors, np.array([one.coef for one in found]))
    system = form.system
    return _Axes(
        form.axes(), of, system.means, system.target_means, system.squares, system.weight_sum
    )


def _of_spectrum(spectrum: Spectrum, alphas: Sequence[float], n_rows: int) -> _Axes:
    return _Axes(
        spectrum.axes,
        partial(_fits_of_spectrum, spectrum, alphas, n_rows),
        spectrum.means,
        spectrum.target_means,
        spectrum.squares,
        spectrum.weight_sum,
    )


# Functions of the module, because processes exchange what refers to them.


def _fits_of_factors(
    factors: Sequence[BandFactor], coefs: NDArray[np.float64], some: Sequence[int]
) -> tuple[Leverages, NDArray[np.float64]]:
    return band_leverages([factors[j] for j in some]), coefs[some]


def _fits_of_spectrum(
    spectrum: Spectrum, alphas: Sequence[float], n_rows: int, some: Sequence[int]
) -> tuple[Leverages, NDArray[np.float64]]:
    chosen = [alphas[j] for j in some]
    return spectrum.leverages(chosen, n_rows), spectrum.coefs(chosen)
