"""Scores of squared errors, from rows or from statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from parallel_ridge.reductions import Decisions, SquaredErrorReduction
from parallel_ridge.solvers import n_targets
from parallel_ridge.sources import Target
from parallel_ridge.statistics import SufficientStatistics


@dataclass(frozen=True)
class ErrorScores:
    """Scores of decision values against the targets -1 and 1, for each penalty.

    Attributes
    ----------
    name : {None, "neg_mean_squared_error", "neg_root_mean_squared_error", "r2"}
        None is the mean over rows regardless of their weights, as in scikit-learn's leave-one-out.
    target : Target
    """

    name: str | None
    target: Target

    @property
    def targets(self) -> slice:
        """The classes that are targets."""
        return n_targets(len(self.target.classes), self.target.multilabel)

    def reduction(self, decisions: Decisions) -> SquaredErrorReduction:
        """The reduction of rows to sums of squared errors."""
        return SquaredErrorReduction(decisions, len(self.target.classes), self.targets)

    def of_left_out(
        self, errors: NDArray[np.float64], n_rows: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores from the sums over left-out rows, and their standard deviations over rows."""
        sums = errors[:-1]
        # Named scores are weighted averages, as in scikit-learn; its default averages over rows.
        size = float(n_rows) if self.name is None else float(errors[-1, -1])
        scores = self._scores(sums[:, :-1], size, _total_squares(errors[-1]))
        if self.name not in (None, "neg_mean_squared_error"):
            return scores, np.full(len(scores), np.nan)
        means = sums[:, :-1].mean(axis=1) / n_rows
        with np.errstate(over="ignore", invalid="ignore"):
            variances = np.maximum(sums[:, -1] / n_rows - means**2, 0.0)
        variances[~np.isfinite(sums[:, -1])] = np.nan
        return scores, np.sqrt(variances) * (n_rows / size)

    def of_rows(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores from the sums over a test set."""
        return self._scores(errors[:-1, :-1], float(errors[-1, -1]), _total_squares(errors[-1]))

    def of_statistics(
        self,
        test: SufficientStatistics,
        coefs: NDArray[np.float64],
        intercepts: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Scores of a test set from its statistics alone.

        Parameters
        ----------
        coefs : ndarray of shape (p, t, d)
        intercepts : ndarray of shape (p, t)
        """
        # About the means of the test set, so that nothing cancels.
        shift = test.shift + test.feature_sums / test.n_samples
        test = test.reshift(np.rint(shift) if test.exact else shift, floats=True)
        targets = self.targets
        n = test.weight_sum
        gram = test.gram
        sums = test.feature_sums.astype(np.float64)
        cross = 2.0 * test.class_sums[targets].astype(np.float64) - sums
        coded = 2.0 * test.class_weights[targets] - n
        offset = intercepts + coefs @ test.shift
        products = blas.dsymm(1.0, gram.T, coefs.reshape(-1, gram.shape[0]).T, lower=1).T
        errors = (
            (coefs * products.reshape(coefs.shape)).sum(axis=2)
            + 2.0 * offset * (coefs @ sums)
            + n * offset * offset
            - 2.0 * ((coefs * cross).sum(axis=2) + offset * coded)
            + n
        )
        return self._scores(np.maximum(errors, 0.0), n, n - coded * (coded / n))

    def _scores(
        self, errors: NDArray[np.float64], size: float, totals: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Scores of sums of squared errors, shape (p, t)."""
        if self.name == "neg_root_mean_squared_error":
            return -np.sqrt(errors / size).mean(axis=1)
        if self.name != "r2":
            return -errors.mean(axis=1) / size
        constant = totals <= 1e-12 * size  # rounding only: the score is 1 without error, else 0
        ratio = errors / np.where(constant, 1.0, totals)
        exact = errors <= 1e-12 * size
        scores: NDArray[np.float64] = np.where(constant, exact, 1.0 - ratio).mean(axis=1)
        return scores


def _total_squares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of squares of the targets about their means, from the last row of the errors."""
    n = sums[-1]
    totals: NDArray[np.float64] = n - sums[:-1] * (sums[:-1] / n)
    return totals
