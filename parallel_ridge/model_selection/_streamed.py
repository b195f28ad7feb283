"""Searches from the statistics of folds alone, without a look at any row."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.backends import Backend
from parallel_ridge.exceptions import IllConditioned, IllConditionedWarning, warn_caller
from parallel_ridge.model_selection._errors import ErrorScores
from parallel_ridge.model_selection._results import Scores
from parallel_ridge.model_selection._splits import summands
from parallel_ridge.solvers import NormalEquations, Problem, Solution, solve_penalties
from parallel_ridge.sources import Target, union_of_labels
from parallel_ridge.statistics import SufficientStatistics


def search_folds(
    backend: Backend,
    folds: Sequence[SufficientStatistics],
    alphas: list[float],
    problem: Problem,
    scoring: str | None,
) -> Scores:
    """Score each fold by its squared errors under the solutions of the other folds.

    The sum of squared errors of rows ``X`` with targets ``Y`` is
    ``tr(W^T X^T X W) - 2 tr(W^T X^T Y) + tr(Y^T Y)``, so the statistics of a fold give its scores.

    Parameters
    ----------
    backend : Backend
        Spreads the folds over its workers.
    folds : sequence of SufficientStatistics
        At least two with a positive weight; others are left out.
    alphas : list of float
    problem : Problem
    scoring : {None, "neg_mean_squared_error", "neg_root_mean_squared_error", "r2"}

    Returns
    -------
    Scores
        NaN where the system of the other folds is too ill-conditioned to score a penalty; a warning
        says so.
    """
    classes = union_of_labels(*(fold.classes for fold in folds))
    used = [fold.select_classes(classes) for fold in folds if fold.weight_sum > 0.0]
    errors = ErrorScores(scoring, Target(classes, used[0].multilabel))
    others = [[j for j in range(len(used)) if j != i] for i in range(len(used))]
    items = zip(summands(used, others), used, strict=True)

    def score(
        item: tuple[Sequence[SufficientStatistics], SufficientStatistics],
    ) -> tuple[NDArray[np.float64], dict[float, str], float, float]:
        return _scores_of(*item, alphas, problem, errors)

    found = backend.map(score, items)
    lost = {
        alpha: f"outside of fold {i} is ill-conditioned ({what})"
        for i, (_, alphas_lost, _, _) in enumerate(found)
        for alpha, what in alphas_lost.items()
    }
    if lost:
        warn_caller(
            f"alpha={', '.join(f'{alpha:g}' for alpha in sorted(lost))} cannot be scored from "
            f"statistics: the system of the rows {lost[min(lost)]}. The score is NaN, and the best of "
            "the other alphas is chosen. Leave out the small alphas, or set standardize=True, to avoid "
            "that.",
            IllConditionedWarning,
        )
    values, _, fit_seconds, score_seconds = zip(*found, strict=True)
    p = len(alphas)
    return Scores(
        alphas,
        np.array(values),
        np.repeat(np.array(fit_seconds)[:, None] / p, p, axis=1),
        np.repeat(np.array(score_seconds)[:, None] / p, p, axis=1),
    )


def _scores_of(
    training: Sequence[SufficientStatistics],
    test: SufficientStatistics,
    alphas: list[float],
    problem: Problem,
    errors: ErrorScores,
) -> tuple[NDArray[np.float64], dict[float, str], float, float]:
    """Scores of a fold, the penalties that have none and why, and seconds to fit and to score."""
    start = time.perf_counter()
    statistics = SufficientStatistics.sum(training)
    system = NormalEquations(statistics, problem, overwrite=len(training) > 1)
    shape = system.rhs.shape
    lost: dict[float, str] = {}

    def give_up(alpha: float, error: IllConditioned) -> Solution:
        lost[alpha] = str(error)
        return Solution(np.zeros(shape), np.zeros(shape[0]))

    path, _ = solve_penalties(system, alphas, limit=system.search_limit, rescue=give_up)
    coefs = np.array([solution.coef for solution in path])
    intercepts = np.array([solution.intercept for solution in path])
    solved = time.perf_counter()
    scores = errors.of_statistics(test, coefs, intercepts)
    scores[[alpha in lost for alpha in alphas]] = np.nan
    return scores, lost, solved - start, time.perf_counter() - solved
