"""Penalties times splits, from the statistics of groups of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from scipy.linalg import blas

from parallel_ridge import solvers
from parallel_ridge.backends import Backend
from parallel_ridge.model_selection._scoring import Scoring, fit_scale, where
from parallel_ridge.model_selection._splits import Split, alike, terms
from parallel_ridge.reductions import (
    ConfusionReduction,
    DecisionReduction,
    Decisions,
    LeaveOneOutDecisions,
    PathDecisions,
    RowsReduction,
    SquaredErrorReduction,
    StatisticsReduction,
    coefficient_dtype,
)
from parallel_ridge.solvers import (
    IllConditioned,
    NormalEquations,
    Problem,
    Spectrum,
    Weights,
    n_targets,
    warn_caller,
)
from parallel_ridge.sources import ArraySource, Target
from parallel_ridge.statistics import SufficientStatistics, as_float

# Decision values of all held-out rows that are kept at a time, in numbers.
HELD_VALUES = 2**23
# Decision value of a class that a training set lacks: below all others, and harmless to scorers.
NEVER = -1e9

Balance = Callable[[Split], NDArray[np.float64] | None]
Part = tuple[Decisions, ArraySource]  # rows, and what gives their held-out decision values


@dataclass
class Path:
    """Weights of one split for each penalty, and how long they took.

    Attributes
    ----------
    coefs : ndarray of shape (p, t, d)
    intercepts : ndarray of shape (p, t)
    absent : ndarray of int
        Classes without a training row.
    source : ArraySource
        The rows in the coordinates of the weights.
    seconds : float
    test : SufficientStatistics, or None
        Of the test set, for scores that come from them. Not where training was ill-conditioned: the
        huge weights of such a path would cancel in them.
    """

    coefs: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    absent: NDArray[np.intp]
    source: ArraySource
    seconds: float
    test: SufficientStatistics | None


@dataclass
class Search:
    """What a search has found.

    Attributes
    ----------
    searcher : Searcher
        Which made it.
    parts_of : callable
        ``parts_of(penalties)``: held-out rows and what gives their decision values.
    scores : ndarray of shape (splits, p)
        A single row for leave-one-out.
    fit_seconds, score_seconds : ndarray of shape (splits, p)
    deviations : ndarray of shape (p,), or None
        Standard deviations of the scores of single rows, for leave-one-out.
    scales : ndarray of shape (p,), or None
        Factors of the decision values that make probabilities, where scores needed them.
    total : SufficientStatistics, or None
        Of all rows, where they were had.
    """

    searcher: Searcher
    parts_of: Callable[[Sequence[int]], list[Part]]
    scores: NDArray[np.float64]
    fit_seconds: NDArray[np.float64]
    score_seconds: NDArray[np.float64]
    deviations: NDArray[np.float64] | None
    scales: NDArray[np.float64] | None
    total: SufficientStatistics | None

    @property
    def alphas(self) -> list[float]:
        """The penalties."""
        return self.searcher.alphas

    def held_out(self, j: int) -> NDArray[Any]:
        """Held-out decision values of one penalty, shape (n, t)."""
        values = self.searcher.held_out(self.parts_of([j]))
        return np.concatenate(values)[:, 0]

    def scale(self, j: int) -> float:
        """The factor of the decision values of one penalty that makes probabilities."""
        if self.scales is not None:
            return float(self.scales[j])
        parts = self.parts_of([j])
        return self.searcher.fit_scales(parts, self.searcher.held_out(parts))[0]

    @property
    def best(self) -> int:
        """Position of the penalty with the best mean score; of equals, of the largest.

        Raises
        ------
        ValueError
            If all scores are NaN.
        """
        means = self.scores.mean(axis=0)
        if np.isnan(means).all():
            raise ValueError(f"The score is NaN for every alpha of {self.alphas}.")
        tied = np.flatnonzero(means >= _tie_bound(means))
        return int(tied[np.argmax(np.asarray(self.alphas)[tied])])

    def results(self) -> dict[str, Any]:
        """In the format of ``GridSearchCV.cv_results_``."""
        results: dict[str, Any] = {}
        for name, seconds in (("fit", self.fit_seconds), ("score", self.score_seconds)):
            results[f"mean_{name}_time"] = seconds.mean(axis=0)
            results[f"std_{name}_time"] = seconds.std(axis=0)
        results["param_alpha"] = np.ma.MaskedArray(self.alphas, mask=False, dtype=np.float64)
        results["params"] = [{"alpha": alpha} for alpha in self.alphas]
        means = self.scores.mean(axis=0)
        if self.deviations is None:
            for i, scores in enumerate(self.scores):
                results[f"split{i}_test_score"] = scores
        results["mean_test_score"] = means
        results["std_test_score"] = (
            self.scores.std(axis=0) if self.deviations is None else self.deviations
        )
        ranked = np.where(np.isnan(means), -np.inf, np.minimum(means, _tie_bound(means)))
        results["rank_test_score"] = scipy.stats.rankdata(-ranked, method="min").astype(np.int32)
        return results


@dataclass
class Searcher:
    """Searches over penalties on the rows of one source.

    Attributes
    ----------
    backend : Backend
    statistics : callable
        ``statistics(source)``: sufficient statistics of some of the rows.
    source : ArraySource
        All rows, with the weights that fits use.
    score_weights : ndarray of shape (n,), or None
        Weights that test rows have in scores.
    target : Target
    alphas : list of float
    problem : Problem
    scoring : Scoring
    y : array
        The labels as they were given.
    progress : callable
        Wraps an iterable of steps.
    """

    backend: Backend
    statistics: Callable[[ArraySource], SufficientStatistics]
    source: ArraySource
    score_weights: NDArray[np.float64] | None
    target: Target
    alphas: list[float]
    problem: Problem
    scoring: Scoring
    y: Any
    progress: Callable[[Sequence[Any], str], Iterable[Any]]

    def leave_one_out(self) -> Search:
        """Search by the error of each row under the weights of all the others."""
        if self.source.n_rows < self.source.n_features:
            return replace(self._in_row_coordinates().leave_one_out(), total=None)
        start = time.perf_counter()
        total = self.statistics(self.source)
        spectrum = self._spectrum(total)
        fit_seconds = (time.perf_counter() - start) / len(self.alphas)

        def parts_of(some: Sequence[int]) -> list[Part]:
            intercept = self.problem.fit_intercept
            weights = self.source.weights
            n_rows = self.source.n_rows if weights is None else int(np.count_nonzero(weights))
            decisions = LeaveOneOutDecisions(
                spectrum.axes,
                spectrum.means,
                spectrum.leverages([self.alphas[j] for j in some], n_rows),
                spectrum.rotated,
                spectrum.target_means if intercept else np.zeros(len(spectrum.target_means)),
                self._targets,
                len(self.target.classes),
                1.0 / spectrum.weight_sum if intercept else 0.0,
                self._dtype,
            )
            return [(decisions, self.source)]

        start = time.perf_counter()
        scales = None
        if self.scoring.kind == "errors":
            scores, deviations = self._left_out_errors(*parts_of(range(len(self.alphas)))[0])
        else:
            scores, scales = self._scores(parts_of)
            deviations = np.full(len(self.alphas), np.nan)
            if self.scoring.name == "accuracy":  # the mean of a score of 0 or 1 for each row
                deviations = np.sqrt(scores[0] * (1.0 - scores[0]))
        shape = (1, len(self.alphas))
        score_seconds = np.full(shape, (time.perf_counter() - start) / len(self.alphas))
        return Search(
            self,
            parts_of,
            scores.reshape(shape),
            np.full(shape, fit_seconds),
            score_seconds,
            deviations,
            scales,
            total,
        )

    def over_splits(self, splits: Sequence[Split], balance: Balance | None = None) -> Search:
        """Search by the scores of test sets.

        Parameters
        ----------
        splits : sequence of Split
        balance : callable, default=None
            ``balance(split)``: weights of rows, where they depend on the training set.
        """
        for i, split in enumerate(splits):
            self._check_weights(i, split, balance)
        total = None
        if self.source.n_rows >= self.source.n_features:
            paths, total = self._paths(splits, balance)
        elif self.problem.standardize:  # features are scaled by each training set anew
            paths = [
                path
                for i, split in enumerate(splits)
                for path in self._in_row_coordinates(split, balance)._paths([split], balance, i)[0]
            ]
        else:
            paths, _ = self._in_row_coordinates()._paths(splits, balance)

        def parts_of(some: Sequence[int]) -> list[Part]:
            parts: list[Part] = []
            for path, split in zip(paths, splits, strict=True):
                coefs, intercepts = path.coefs[some].copy(), path.intercepts[some].copy()
                if self.target.multilabel or not len(path.absent):
                    pass
                elif intercepts.shape[1] > 1:
                    intercepts[:, path.absent] = NEVER
                    coefs[:, path.absent] = 0.0
                else:  # one class is left, which all rows are predicted as
                    intercepts[:], coefs[:] = 1.0 - 2.0 * path.absent, 0.0
                decisions = PathDecisions(coefs.astype(self._dtype), intercepts.astype(self._dtype))
                parts.append((decisions, path.source.take(split.test, self.score_weights)))
            return parts

        shape = (len(splits), len(self.alphas))
        start = time.perf_counter()
        scales = None
        if self.scoring.kind == "errors":
            pairs = zip(paths, splits, strict=True)
            scores = np.array([self._errors_of(path, split) for path, split in pairs])
        else:
            scores, scales = self._scores(parts_of)
        score_seconds = np.full(shape, (time.perf_counter() - start) / scores.size)
        fit_seconds = np.array([[path.seconds] * len(self.alphas) for path in paths])
        return Search(
            self,
            parts_of,
            scores,
            fit_seconds / len(self.alphas),
            score_seconds,
            None,
            scales,
            total,
        )

    # ------------------------------------------------------------------------------------ weights

    def _paths(
        self, splits: Sequence[Split], balance: Balance | None, first: int = 0
    ) -> tuple[list[Path], SufficientStatistics | None]:
        """Weights of each split, and the statistics of all rows if they come for nothing.

        Messages number the splits from ``first``.
        """
        start = time.perf_counter()
        n, d = self.source.n_rows, self.source.n_features
        # Groups are worth their Gram matrices while these take no more memory than the rows do.
        group = alike(splits, n, 64 + 4 * n // d) if balance is None else None

        def training(split: Split) -> ArraySource:
            weights = balance(split) if balance else self.source.weights
            return self.source.take(split.train, weights)

        total = None
        if group is None:
            items = [[self.statistics(training(s))] for s in self.progress(splits, "training sets")]
        else:
            order = np.argsort(group, kind="stable")
            pieces = np.split(order, np.cumsum(np.bincount(group))[:-1])
            parts = [
                self.statistics(self.source.take(rows, self.source.weights))
                for rows in self.progress(pieces, "groups of rows")
            ]
            total = SufficientStatistics.sum(parts)
            items = terms(parts, [np.unique(group[split.train]).tolist() for split in splits])
        shared = (time.perf_counter() - start) / len(splits)
        solve = partial(_solve_path, problem=self.problem, alphas=self.alphas)

        paths = []
        found = self.backend.map(solve, items)
        outcomes = zip(splits, found, strict=True)
        for i, (split, (path, seconds, counts)) in enumerate(outcomes, start=first):
            stable = not isinstance(path, float)
            if isinstance(path, float):
                self._warn_ill_conditioned(f"split {i}", path)
                spectrum = solvers.fold_spectrum(
                    self.backend.fold, training(split), self.target, self.problem
                )
                path = spectrum.weights(self.alphas)
            absent = np.flatnonzero(counts == 0)
            if len(absent) and not self.target.multilabel:
                warn_caller(
                    f"The training set of split {i} has no row of class "
                    f"{self.target.classes[absent].tolist()}: none of its test rows is predicted as "
                    "that. Use fewer or stratified splits.",
                    UserWarning,
                )
            test = None
            if self.scoring.kind == "errors" and stable:
                if group is None or self.source.weights is not self.score_weights:
                    test = self.statistics(self.source.take(split.test, self.score_weights))
                else:
                    groups = np.unique(group[split.test]).tolist()
                    test = SufficientStatistics.sum(parts[j] for j in groups)
            coefs = np.array([weights.coef for weights in path])
            intercepts = np.array([weights.intercept for weights in path])
            paths.append(Path(coefs, intercepts, absent, self.source, seconds + shared, test))
        return paths, total

    def _check_weights(self, i: int, split: Split, balance: Balance | None) -> None:
        weights = balance(split) if balance else self.source.weights
        for name, rows, some in (
            ("training", split.train, weights),
            ("test", split.test, self.score_weights),
        ):
            if some is not None and not some[rows].any():
                raise ValueError(f"The sample weights of the {name} set of split {i} are all zero.")

    def _spectrum(self, statistics: SufficientStatistics) -> Spectrum:
        system = NormalEquations(statistics, self.problem)
        smallest = min(self.alphas)
        if system.condition_bound(smallest) <= system.search_limit:
            return system.spectrum(overwrite=True)
        try:
            return system.spectrum_of_factor(smallest)
        except IllConditioned as error:
            condition = error.condition
        del system
        self._warn_ill_conditioned("leave-one-out", condition)
        return solvers.fold_spectrum(self.backend.fold, self.source, self.target, self.problem)

    def _warn_ill_conditioned(self, what: str, condition: float) -> None:
        warn_caller(
            f"The system of {what} is ill-conditioned for alpha={min(self.alphas):g} (condition "
            f"number {condition:.1e}). It was solved from a QR of the rows, which takes another pass. "
            "Leave out the small alphas, or set standardize=True, to avoid that.",
            solvers.IllConditionedWarning,
        )

    def _in_row_coordinates(
        self, split: Split | None = None, balance: Balance | None = None
    ) -> Searcher:
        """The same search where n < d, on rows of n coordinates instead of d features.

        A rotation changes neither distances nor penalties, so scores are the same. Given a split,
        its training set decides how features are scaled.
        """
        weights = self.source.weights
        if split is not None:
            chosen = np.bincount(split.train, minlength=self.source.n_rows).astype(np.float64)
            weights = balance(split) if balance else weights
            weights = chosen if weights is None else weights * chosen
        penalty = self.problem.penalty(
            min(self.alphas), 1.0 if weights is None else float(weights[weights > 0].min())
        )
        rows = solvers.row_coordinates(
            self.backend.fold(RowsReduction(), self.source), weights, self.problem, penalty
        )
        source = ArraySource(rows, self.source.labels, self.source.weights)
        reduction = StatisticsReduction.of(source, self.target, centre=self.problem.fit_intercept)
        return replace(
            self,
            source=source,
            statistics=lambda some: self.backend.fold(reduction, some),
            problem=replace(self.problem, standardize=False),
        )

    # ------------------------------------------------------------------------------------- scores

    @property
    def _dtype(self) -> np.dtype[Any]:
        return coefficient_dtype(self.source.dtype)

    @property
    def _targets(self) -> slice:
        return n_targets(len(self.target.classes), self.target.multilabel)

    def held_out(self, parts: Sequence[Part]) -> list[NDArray[Any]]:
        """Held-out decision values of each part, shape (m, p, t)."""
        return [
            np.concatenate(self.backend.fold(DecisionReduction(decisions), source))
            for decisions, source in parts
        ]

    def fit_scales(self, parts: Sequence[Part], held: Sequence[NDArray[Any]]) -> list[float]:
        """The factor of held-out decision values that makes probabilities, for each penalty."""
        values, labels, weights = np.concatenate(held), [], []
        for _, source in parts:
            labels.append(source.row_labels().indicator(len(self.target.classes)))
            row_weights = source.row_weights()
            weights.append(np.ones(source.n_rows) if row_weights is None else row_weights)
        targets = np.concatenate(labels)[:, self._targets]
        return [
            fit_scale(values[:, j], targets, np.concatenate(weights), self.target.multilabel)
            for j in range(values.shape[1])
        ]

    def _scores(
        self, parts_of: Callable[[Sequence[int]], list[Part]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Scores of shape (parts, p), and the factors of probabilities if they needed them."""
        if self.scoring.kind == "labels":
            k = len(self.target.classes)
            parts = parts_of(range(len(self.alphas)))
            scores = np.empty((len(parts), len(self.alphas)))
            for i, (decisions, source) in enumerate(self.progress(parts, "scores")):
                weighted = source.weighted and self.scoring.weighted
                counts = self.backend.fold(ConfusionReduction(decisions, k, weighted), source)
                for j, alpha in enumerate(self.alphas):
                    with where(f"in scoring alpha={alpha:g} on split {i}"):
                        scores[i, j] = self.scoring.of_counts(counts[j], self.target)
            return scores, None
        t = len(range(len(self.target.classes))[self._targets])
        size = max(1, HELD_VALUES // (self.source.n_rows * t))
        starts = range(0, len(self.alphas), size)
        columns, scales = [], []
        for first in self.progress(starts, "scores"):
            some = range(first, min(first + size, len(self.alphas)))
            parts = parts_of(some)
            held = self.held_out(parts)
            if self.scoring.needs_scale:
                scales += self.fit_scales(parts, held)
            for j, number in enumerate(some):
                column = []
                for i, ((_, source), values) in enumerate(zip(parts, held, strict=True)):
                    y = self.y if source.rows is None else self.y[source.rows]
                    with where(f"in scoring alpha={self.alphas[number]:g} on split {i}"):
                        column.append(
                            self.scoring.of_values(
                                values[:, j],
                                y,
                                self.target,
                                source.row_weights() if self.scoring.weighted else None,
                                scales[number] if scales else None,
                            )
                        )
                columns.append(column)
        return np.array(columns).T, np.array(scales) if scales else None

    def _left_out_errors(
        self, decisions: Decisions, source: ArraySource
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of squared errors for each penalty, and their deviations over rows."""
        sums = self._squared_errors(decisions, source)
        n, weights = source.n_rows, source.row_weights()
        # Named scores are averages by weight, as scikit-learn's; its own default is one over rows.
        size = float(n) if weights is None or self.scoring.name is None else float(weights.sum())
        scores = self._error_scores(sums[:, :-1], size, self._total_squares(source))
        if self.scoring.name not in (None, "neg_mean_squared_error"):
            return scores, np.full(len(scores), np.nan)
        means = sums[:, :-1].mean(axis=1) / n
        variances = np.maximum(sums[:, -1] / n - means**2, 0.0)
        return scores, np.sqrt(variances) * (n / size)

    def _errors_of(self, path: Path, split: Split) -> NDArray[np.float64]:
        """Scores of squared errors on a test set, from its statistics alone if they suffice."""
        test, coefs, intercepts = path.test, path.coefs, path.intercepts
        if test is None:
            source = path.source.take(split.test, self.score_weights)
            sums = self._squared_errors(PathDecisions(coefs, intercepts), source)
            totals = self._total_squares(source)
            return self._error_scores(sums[:, :-1], source.weight_sum(), totals)
        # About its means, so that nothing cancels.
        shift = test.shift + test.feature_sums / test.n_samples
        test = test.reshift(np.rint(shift) if test.exact else shift)
        targets = self._targets
        n = test.weight_sum
        gram = as_float(test.gram)
        sums = test.feature_sums.astype(np.float64)
        cross = 2.0 * test.class_sums[targets].astype(np.float64) - sums
        coded = 2.0 * test.class_weights[targets] - n
        offset = intercepts + coefs @ test.shift
        products = blas.dsymm(1.0, gram.T, coefs.reshape(-1, gram.shape[0]).T, lower=1).T
        errors = (
            (coefs * products.reshape(coefs.shape)).sum(axis=2)
            + 2.0 * offset * (coefs @ sums)
            + n * offset**2
            - 2.0 * ((coefs * cross).sum(axis=2) + offset * coded)
            + n
        )
        return self._error_scores(np.maximum(errors, 0.0), n, n - coded**2 / n)

    def _squared_errors(self, decisions: Decisions, source: ArraySource) -> NDArray[np.float64]:
        k = len(self.target.classes)
        return self.backend.fold(SquaredErrorReduction(decisions, k, self._targets), source)

    def _total_squares(self, source: ArraySource) -> NDArray[np.float64]:
        """Sums of squares of the targets about their means."""
        labels = source.row_labels().indicator(len(self.target.classes))[:, self._targets]
        weights = source.row_weights()
        sums = labels.sum(axis=0) if weights is None else weights @ labels
        n = source.weight_sum()
        totals: NDArray[np.float64] = n - sums**2 / n
        return totals

    def _error_scores(
        self, errors: NDArray[np.float64], size: float, totals: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Scores of sums of squared errors, shape (p, t)."""
        if self.scoring.name == "neg_root_mean_squared_error":
            return -np.sqrt(errors / size).mean(axis=1)
        if self.scoring.name != "r2":
            return -errors.mean(axis=1) / size
        constant = totals <= 1e-12 * size  # rounding: without error 1, else 0
        ratio = errors / np.where(constant, 1.0, totals)
        exact = errors <= 1e-12 * size
        scores: NDArray[np.float64] = np.where(constant, exact, 1.0 - ratio).mean(axis=1)
        return scores


def _tie_bound(means: NDArray[np.float64]) -> float:
    """The best mean, less what the order of a sum may change in it: a bound for ties."""
    best = float(np.nanmax(means)) if not np.isnan(means).all() else -np.inf
    return best - 8 * solvers.EPSILON * abs(best) if np.isfinite(best) else best


def _solve_path(
    parts: Sequence[SufficientStatistics], problem: Problem, alphas: Sequence[float]
) -> tuple[list[Weights] | float, float, NDArray[np.int64]]:
    """Weights of a training set (a condition number if too large), seconds, and class counts."""
    start = time.perf_counter()
    statistics = SufficientStatistics.sum(parts)
    counts = statistics.class_counts
    system = NormalEquations(statistics, problem, overwrite=len(parts) > 1)
    del statistics
    found: list[Weights] | float
    try:
        found, _ = system.path(alphas, limit=system.search_limit)
    except IllConditioned as error:
        found = error.condition
    return found, time.perf_counter() - start, counts
