"""What a search has found, and its `cv_results_`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from parallel_ridge.folding import WideRows
from parallel_ridge.numerics import EPSILON
from parallel_ridge.reductions import Decisions, HeldOut, Reduction
from parallel_ridge.statistics import SufficientStatistics

if TYPE_CHECKING:
    from parallel_ridge.model_selection._search import PenaltySearch

Make = Callable[[Decisions], Reduction[Any, Any]]


@dataclass
class Scores:
    """Scores of each penalty.

    Attributes
    ----------
    alphas : list of float
    values : ndarray of shape (splits, p)
        A single row for leave-one-out.
    fit_seconds, score_seconds : ndarray of shape (splits, p)
    deviations : ndarray of shape (p,), or None
        Standard deviations of the scores of single rows, for leave-one-out.
    """

    alphas: list[float]
    values: NDArray[np.float64]
    fit_seconds: NDArray[np.float64]
    score_seconds: NDArray[np.float64]
    deviations: NDArray[np.float64] | None = None

    @property
    def best(self) -> int:
        """Position of the penalty with the best mean score; of the largest penalty if scores tie.

        Raises
        ------
        ValueError
            If all scores are NaN.
        """
        means = self.values.mean(axis=0)
        if np.isnan(means).all():
            raise ValueError(f"The score is NaN for every alpha of {self.alphas}.")
        tied = np.flatnonzero(means >= _tie_bound(means))
        return int(tied[np.argmax(np.asarray(self.alphas)[tied])])

    def results(self) -> dict[str, Any]:
        """The scores in the format of ``GridSearchCV.cv_results_``."""
        results: dict[str, Any] = {}
        for name, seconds in (("fit", self.fit_seconds), ("score", self.score_seconds)):
            results[f"mean_{name}_time"] = seconds.mean(axis=0)
            results[f"std_{name}_time"] = seconds.std(axis=0)
        results["param_alpha"] = np.ma.MaskedArray(self.alphas, mask=False, dtype=np.float64)
        results["params"] = [{"alpha": alpha} for alpha in self.alphas]
        means = self.values.mean(axis=0)
        if self.deviations is None:
            for i, scores in enumerate(self.values):
                results[f"split{i}_test_score"] = scores
        results["mean_test_score"] = means
        results["std_test_score"] = (
            self.values.std(axis=0) if self.deviations is None else self.deviations
        )
        ranked = np.where(np.isnan(means), -np.inf, np.minimum(means, _tie_bound(means)))
        results["rank_test_score"] = scipy.stats.rankdata(-ranked, method="min").astype(np.int32)
        return results


@dataclass
class Search:
    """What a search over rows has found.

    Attributes
    ----------
    searcher : PenaltySearch
        The search that found it.
    fold : callable
        ``fold(penalties, make)``: the values of the reductions that ``make`` builds from `Decisions`,
        one per test set (one for all rows in leave-one-out).
    scores : Scores
    scales : ndarray of shape (p,), or None
        Factors that turn decision values into probabilities, if the scores needed them.
    total : SufficientStatistics, or None
        Statistics of all rows, if available.
    rows : WideRows, or None
        All rows and their products, with fewer rows than features.
    """

    searcher: PenaltySearch
    fold: Callable[[Sequence[int], Make], list[Any]]
    scores: Scores
    scales: NDArray[np.float64] | None
    total: SufficientStatistics | None
    rows: WideRows | None = None

    def held_out(self, j: int) -> NDArray[Any]:
        """Held-out decision values of one penalty, shape (n, t)."""
        held = self.searcher.held_out(self.fold, [j])
        return HeldOut.join(held).values[:, 0]

    def scale(self, j: int) -> float:
        """The factor that turns the decision values of one penalty into probabilities."""
        if self.scales is not None:
            return float(self.scales[j])
        held = self.searcher.held_out(self.fold, [j])
        return self.searcher.backend.map(self.searcher.fit_scales, [held])[0][0]


def _tie_bound(means: NDArray[np.float64]) -> float:
    """The best mean less the rounding of a sum: scores above this tie."""
    best = float(np.nanmax(means)) if not np.isnan(means).all() else -np.inf
    return best - 8 * EPSILON * abs(best) if np.isfinite(best) else best
