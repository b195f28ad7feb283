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
from parallel_ridge.backends.openmp import OpenMPBackend
from parallel_ridge.model_selection._scoring import Scoring, fit_scale, where
from parallel_ridge.model_selection._splits import Splits, terms
from parallel_ridge.numerics import EPSILON
from parallel_ridge.reductions import (
    AccuracyReduction,
    Confusion,
    ConfusionReduction,
    DecisionReduction,
    Decisions,
    GroupedReduction,
    HeldOut,
    LeaveOneOutDecisions,
    PathDecisions,
    Reduction,
    RowsReduction,
    SquaredErrorReduction,
    StatisticsReduction,
    coefficient_dtype,
    fold_statistics,
)
from parallel_ridge.solvers import (
    IllConditioned,
    NormalEquations,
    Problem,
    Spectrum,
    Weights,
    blas_of_solve,
    n_targets,
    warn_caller,
)
from parallel_ridge.sources import Block, Source, Target
from parallel_ridge.statistics import SufficientStatistics

# Decision values of all held-out rows that are kept at a time, in numbers.
HELD_VALUES = 2**23
# Decision value of a class that a training set lacks: below all others, and harmless to scorers.
NEVER = -1e9

Balance = Callable[[Source], Source]
Make = Callable[[Decisions], Reduction[Any, Any]]


@dataclass
class Path:
    """Weights of one split for each penalty, and how long they took.

    Attributes
    ----------
    coefs : ndarray of shape (p, t, d)
    intercepts : ndarray of shape (p, t)
    absent : ndarray of int
        Classes without a training row.
    scored : Source
        All rows in the coordinates of the weights, with the weights of scores.
    seconds : float
    test : SufficientStatistics, or None
        Of the test set, for scores that come from them. Not where training was ill-conditioned: the
        huge weights of such a path would cancel in them.
    """

    coefs: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    absent: NDArray[np.intp]
    scored: Source
    seconds: float
    test: SufficientStatistics | None


@dataclass
class Search:
    """What a search has found.

    Attributes
    ----------
    searcher : Searcher
        Which made it.
    fold : callable
        ``fold(penalties, make)``: value of each test set (of all rows, for leave-one-out), of the
        reduction that ``make`` makes from what gives their decision values.
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
    fold: Callable[[Sequence[int], Make], list[Any]]
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
        held = self.searcher.held_out(self.fold, [j])
        return HeldOut.join(held).values[:, 0]

    def scale(self, j: int) -> float:
        """The factor of the decision values of one penalty that makes probabilities."""
        if self.scales is not None:
            return float(self.scales[j])
        held = self.searcher.held_out(self.fold, [j])
        return self.searcher.backend.map(self.searcher.fit_scales, [held])[0][0]

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
        ``statistics(source, n_groups)``: sufficient statistics of some of the rows, or a list of those
        of their groups, if a number is given.
    source : Source
        All rows, with the weights that fits use.
    scored : Source
        All rows, with the weights that scores use.
    target : Target
    alphas : list of float
    problem : Problem
    scoring : Scoring
    progress : callable
        Wraps an iterable of steps.
    """

    backend: Backend
    statistics: Callable[..., Any]
    source: Source
    scored: Source
    target: Target
    alphas: list[float]
    problem: Problem
    scoring: Scoring
    progress: Callable[[Sequence[Any], str], Iterable[Any]]

    def leave_one_out(self) -> Search:
        """Search by the error of each row under the weights of all the others."""
        if self.source.n_rows < self.source.n_features and not self.source.stays:
            return replace(self._in_row_coordinates().leave_one_out(), total=None)
        start = time.perf_counter()
        total = self.statistics(self.source)
        spectrum = self._spectrum(total)
        fit_seconds = (time.perf_counter() - start) / len(self.alphas)

        def fold(some: Sequence[int], make: Make) -> list[Any]:
            intercept = self.problem.fit_intercept
            decisions = LeaveOneOutDecisions(
                spectrum.axes,
                spectrum.means,
                spectrum.leverages([self.alphas[j] for j in some], self.source.positive_rows()),
                spectrum.rotated,
                spectrum.target_means if intercept else np.zeros(len(spectrum.target_means)),
                self._targets,
                len(self.target.classes),
                1.0 / spectrum.weight_sum if intercept else 0.0,
                self._dtype,
                spectrum.means**2 * spectrum.weight_sum > spectrum.squares,
            )
            return [self.backend.fold(make(decisions), self.source)]

        start = time.perf_counter()
        scales = None
        if self.scoring.kind == "errors":
            (errors,) = fold(range(len(self.alphas)), self._squared_errors)
            scores, deviations = self._left_out_scores(errors)
        else:
            scores, scales = self._scores(fold, self.source.weighted)
            deviations = np.full(len(self.alphas), np.nan)
            if self.scoring.name == "accuracy":  # the mean of a score of 0 or 1 for each row
                deviations = np.sqrt(scores[0] * (1.0 - scores[0]))
        shape = (1, len(self.alphas))
        score_seconds = np.full(shape, (time.perf_counter() - start) / len(self.alphas))
        return Search(
            self,
            fold,
            scores.reshape(shape),
            np.full(shape, fit_seconds),
            score_seconds,
            deviations,
            scales,
            total,
        )

    def over_splits(self, splits: Splits, balance: Balance | None = None) -> Search:
        """Search by the scores of test sets.

        Parameters
        ----------
        splits : Splits
        balance : callable, default=None
            ``balance(source)``: a training set with the weights of its classes, where these depend on
            it.
        """
        if self.source.weighted or self.scored.weighted:
            self._check_weights(splits, balance)
        total = None
        if self.source.n_rows >= self.source.n_features or self.source.stays:
            paths, total = self._paths(splits, balance)
        elif self.problem.standardize:  # features are scaled by each training set anew
            paths = [
                path
                for i in range(len(splits))
                for path in self._in_row_coordinates(self._training(splits, i, balance))._paths(
                    splits.only(i), balance, i
                )[0]
            ]
        else:
            paths, _ = self._in_row_coordinates()._paths(splits, balance)

        def decisions_of(path: Path, some: Sequence[int]) -> Decisions:
            coefs, intercepts = path.coefs[some].copy(), path.intercepts[some].copy()
            if self.target.multilabel or not len(path.absent):
                pass
            elif intercepts.shape[1] > 1:
                intercepts[:, path.absent] = NEVER
                coefs[:, path.absent] = 0.0
            else:  # one class is left, which all rows are predicted as
                intercepts[:], coefs[:] = 1.0 - 2.0 * path.absent, 0.0
            return PathDecisions(coefs.astype(self._dtype), intercepts.astype(self._dtype))

        def fold(some: Sequence[int], make: Make) -> list[Any]:
            # Many penalties take some 20 ms a path to be combined from few.
            threads = OpenMPBackend(self.backend.solve_threads())
            reductions = threads.map(lambda path: make(decisions_of(path, some)), paths)
            scored, tested = paths[0].scored, splits.tested
            if tested is not None and all(path.scored is scored for path in paths):
                groups = scored.grouped(splits.group, tested)
                return self.backend.fold(GroupedReduction(reductions), groups)
            steps = list(zip(paths, reductions, strict=True))
            return [
                self.backend.fold(reduction, splits.testing(path.scored, i))
                for i, (path, reduction) in enumerate(self.progress(steps, "test sets"))
            ]

        shape = (len(splits), len(self.alphas))
        start = time.perf_counter()
        scales = None
        if self.scoring.kind == "errors":
            scores = self._errors_of(paths, splits)
        else:
            scores, scales = self._scores(fold, self.scored.weighted)
        score_seconds = np.full(shape, (time.perf_counter() - start) / scores.size)
        fit_seconds = np.array([[path.seconds] * len(self.alphas) for path in paths])
        return Search(
            self,
            fold,
            scores,
            fit_seconds / len(self.alphas),
            score_seconds,
            None,
            scales,
            total,
        )

    # ------------------------------------------------------------------------------------ weights

    def _training(self, splits: Splits, i: int, balance: Balance | None) -> Source:
        """A training set, with the weights that its fit uses."""
        if balance is None:
            return splits.training(self.source, i)
        return balance(splits.training(self.scored, i))

    def _paths(
        self, splits: Splits, balance: Balance | None, first: int = 0
    ) -> tuple[list[Path], SufficientStatistics | None]:
        """Weights of each split, and the statistics of all rows if they come for nothing.

        Messages number the splits from ``first``.
        """
        start = time.perf_counter()
        total = parts = None
        if balance is None and splits.rows is None:
            grouped = self.source.grouped(splits.group, range(splits.n_groups))
            parts = self.statistics(grouped, splits.n_groups)
            total = SufficientStatistics.sum(parts)
            items = terms(parts, splits.train)
            if self.source.stays:  # solves may run far away: one sum is less to send than its terms
                items = [[SufficientStatistics.sum(some)] for some in items]
        else:
            items = [
                [self.statistics(self._training(splits, i, balance))]
                for i in self.progress(range(len(splits)), "training sets")
            ]
        shared = (time.perf_counter() - start) / len(splits)
        solve = partial(_solve_path, problem=self.problem, alphas=self.alphas)

        paths = []
        for i, (path, seconds, counts) in enumerate(self.backend.map(solve, items)):
            stable = not isinstance(path, str)
            if isinstance(path, str):
                self._warn_ill_conditioned(f"split {first + i}", path)
                training = self._training(splits, i, balance)
                solutions = solvers.fold_path(
                    self.backend, training, self.target, self.problem, self.alphas
                )
                path = [weights for weights, _ in solutions]
            absent = np.flatnonzero(counts == 0)
            if len(absent) and not self.target.multilabel:
                warn_caller(
                    f"The training set of split {first + i} has no row of class "
                    f"{self.target.classes[absent].tolist()}: none of its test rows is predicted as "
                    "that. Use fewer or stratified splits.",
                    UserWarning,
                )
            test = None
            if self.scoring.kind == "errors" and stable:
                if parts is None or self.source is not self.scored:
                    test = self.statistics(splits.testing(self.scored, i))
                else:
                    test = SufficientStatistics.sum(parts[j] for j in splits.test[i])
            coefs = np.array([weights.coef for weights in path])
            intercepts = np.array([weights.intercept for weights in path])
            paths.append(Path(coefs, intercepts, absent, self.scored, seconds + shared, test))
        return paths, total

    def _check_weights(self, splits: Splits, balance: Balance | None) -> None:
        for i in range(len(splits)):
            for name, rows in (
                ("training", self._training(splits, i, balance)),
                ("test", splits.testing(self.scored, i)),
            ):
                if not rows.weight_sum() > 0.0:
                    raise ValueError(
                        f"The sample weights of the {name} set of split {i} are all zero."
                    )

    def _spectrum(self, statistics: SufficientStatistics) -> Spectrum:
        smallest = min(self.alphas)

        def solve(statistics: SufficientStatistics) -> Spectrum:
            with blas_of_solve(statistics.n_features):
                system = NormalEquations(statistics, self.problem)
                if system.condition_bound(smallest) <= system.search_limit(smallest):
                    return system.spectrum(overwrite=True)
                return system.spectrum_of_factor(smallest)

        try:
            return self.backend.map(solve, [statistics])[0]
        except IllConditioned as error:
            what = str(error)
        self._warn_ill_conditioned("leave-one-out", what)
        return solvers.fold_spectrum(self.backend, self.source, self.target, self.problem)

    def _warn_ill_conditioned(self, where: str, what: str) -> None:
        warn_caller(
            f"The system of {where} is ill-conditioned for alpha={min(self.alphas):g} ({what}). It was "
            "solved from a QR of the rows, which takes another pass. Leave out the small alphas, or set "
            "standardize=True, to avoid that.",
            solvers.IllConditionedWarning,
        )

    def _in_row_coordinates(self, scale: Source | None = None) -> Searcher:
        """The same search where n < d, on rows of n coordinates instead of d features.

        A rotation changes neither distances nor penalties, so scores are the same. Features are
        scaled by all rows, or by those that are given.
        """
        rows = self.source if scale is None else scale.among_all()
        blocks = self.backend.fold(RowsReduction(), rows)

        def solve(blocks: list[Block]) -> NDArray[np.float64]:
            weights = solvers.block_weights(blocks)
            penalty = self.problem.penalty(min(self.alphas), float(weights[weights > 0].min()))
            return solvers.row_coordinates(blocks, weights, self.problem, penalty)

        (coordinates,) = self.backend.map(solve, [blocks])
        source = self.source.with_rows(coordinates)
        reduction = StatisticsReduction.of(source, self.target, centre=self.problem.fit_intercept)
        return replace(
            self,
            source=source,
            scored=source if self.scored is self.source else self.scored.with_rows(coordinates),
            statistics=lambda some, n_groups=0: fold_statistics(
                self.backend.fold, reduction, some, n_groups
            )[0],
            problem=replace(self.problem, standardize=False),
        )

    # ------------------------------------------------------------------------------------- scores

    @property
    def _dtype(self) -> np.dtype[Any]:
        return coefficient_dtype(self.source.dtype)

    @property
    def _targets(self) -> slice:
        return n_targets(len(self.target.classes), self.target.multilabel)

    def held_out(
        self, fold: Callable[[Sequence[int], Make], list[Any]], some: Sequence[int]
    ) -> list[HeldOut]:
        """Held-out decision values of each test set, of some of the penalties."""
        return [HeldOut.join(parts) for parts in fold(some, DecisionReduction)]

    def fit_scales(self, held: Sequence[HeldOut]) -> list[float]:
        """The factor of held-out decision values that makes probabilities, for each penalty."""
        rows = HeldOut.join(held)
        targets = rows.labels.indicator(len(self.target.classes))[:, self._targets]
        weights = np.ones(len(targets)) if rows.weights is None else rows.weights
        return [
            fit_scale(rows.values[:, j], targets, weights, self.target.multilabel)
            for j in range(rows.values.shape[1])
        ]

    def _scores(
        self, fold: Callable[[Sequence[int], Make], list[Any]], weighted: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Scores of shape (test sets, p), and the factors of probabilities if they needed them."""
        weighted = weighted and self.scoring.weighted
        if self.scoring.kind == "accuracy":
            found = fold(
                range(len(self.alphas)), lambda decisions: AccuracyReduction(decisions, weighted)
            )
            return np.array([right[:-1] / right[-1] for right in found]), None
        if self.scoring.kind == "labels":
            k = len(self.target.classes)
            counts = fold(
                range(len(self.alphas)),
                lambda decisions: ConfusionReduction(decisions, k, weighted),
            )
            # A scorer is the user's own: one process calls it for all.
            return self.backend.map(self._score_counts, [counts])[0], None
        t = len(range(len(self.target.classes))[self._targets])
        size = max(1, HELD_VALUES // (self.source.n_rows * t))
        parts = []
        for first in self.progress(range(0, len(self.alphas), size), "scores"):
            some = range(first, min(first + size, len(self.alphas)))
            score = partial(self._score_values, some)
            parts += self.backend.map(score, [self.held_out(fold, some)])
        scores, scales = (np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))
        return scores, scales if self.scoring.needs_scale else None

    def _score_counts(self, counts: Sequence[Confusion]) -> NDArray[np.float64]:
        """Scores of confusion counts of each test set, for each penalty."""
        scores = np.empty((len(counts), len(self.alphas)))
        for i, j in np.ndindex(scores.shape):
            with where(f"in scoring alpha={self.alphas[j]:g} on split {i}"):
                scores[i, j] = self.scoring.of_counts(counts[i].of_penalty(j), self.target)
        return scores

    def _score_values(
        self, some: Sequence[int], held: Sequence[HeldOut]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of the decision values of each test set, for some penalties, and their factors."""
        scales = self.fit_scales(held) if self.scoring.needs_scale else []
        scores = np.empty((len(held), len(some)))
        for j, number in enumerate(some):
            for i, rows in enumerate(held):
                with where(f"in scoring alpha={self.alphas[number]:g} on split {i}"):
                    scores[i, j] = self.scoring.of_values(
                        rows.values[:, j],
                        self.target.decode(rows.labels),
                        self.target,
                        rows.weights if self.scoring.weighted else None,
                        scales[j] if scales else None,
                    )
        return scores, np.array(scales)

    def _left_out_scores(
        self, errors: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of squared errors for each penalty, and their deviations over rows."""
        n, sums = self.source.n_rows, errors[:-1]
        # Named scores are averages by weight, as scikit-learn's; its own default is one over rows.
        size = float(n) if self.scoring.name is None else float(errors[-1, -1])
        scores = self._error_scores(sums[:, :-1], size, _total_squares(errors[-1]))
        if self.scoring.name not in (None, "neg_mean_squared_error"):
            return scores, np.full(len(scores), np.nan)
        means = sums[:, :-1].mean(axis=1) / n
        with np.errstate(over="ignore", invalid="ignore"):
            variances = np.maximum(sums[:, -1] / n - means**2, 0.0)
        variances[~np.isfinite(sums[:, -1])] = np.nan
        return scores, np.sqrt(variances) * (n / size)

    def _errors_of(self, paths: Sequence[Path], splits: Splits) -> NDArray[np.float64]:
        """Scores of squared errors on test sets, from their statistics alone if they suffice."""
        scores = np.empty((len(paths), len(self.alphas)))
        stable = [i for i, path in enumerate(paths) if path.test is not None]
        found = self.backend.map(self._errors_of_statistics, [paths[i] for i in stable])
        scores[stable] = np.array(found).reshape(len(stable), len(self.alphas))
        for i, path in enumerate(paths):
            if path.test is None:
                reduction = self._squared_errors(PathDecisions(path.coefs, path.intercepts))
                errors = self.backend.fold(reduction, splits.testing(path.scored, i))
                scores[i] = self._error_scores(
                    errors[:-1, :-1], float(errors[-1, -1]), _total_squares(errors[-1])
                )
        return scores

    def _errors_of_statistics(self, path: Path) -> NDArray[np.float64]:
        test, coefs, intercepts = path.test, path.coefs, path.intercepts
        assert test is not None
        # About its means, so that nothing cancels.
        shift = test.shift + test.feature_sums / test.n_samples
        test = test.reshift(np.rint(shift) if test.exact else shift, floats=True)
        targets = self._targets
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
        return self._error_scores(np.maximum(errors, 0.0), n, n - coded * (coded / n))

    def _squared_errors(self, decisions: Decisions) -> SquaredErrorReduction:
        return SquaredErrorReduction(decisions, len(self.target.classes), self._targets)

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


def _total_squares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of squares of the targets about their means, from the last row of the errors."""
    n = sums[-1]
    totals: NDArray[np.float64] = n - sums[:-1] * (sums[:-1] / n)
    return totals


def _tie_bound(means: NDArray[np.float64]) -> float:
    """The best mean, less what the order of a sum may change in it: a bound for ties."""
    best = float(np.nanmax(means)) if not np.isnan(means).all() else -np.inf
    return best - 8 * EPSILON * abs(best) if np.isfinite(best) else best


def _solve_path(
    parts: Sequence[SufficientStatistics], problem: Problem, alphas: Sequence[float]
) -> tuple[list[Weights] | str, float, NDArray[np.int64]]:
    """Weights of a training set, or what is wrong with its system; seconds; and class counts."""
    start = time.perf_counter()
    statistics = SufficientStatistics.sum(parts)
    counts = statistics.class_counts
    system = NormalEquations(statistics, problem, overwrite=len(parts) > 1)
    del statistics
    found: list[Weights] | str
    try:
        found, _ = system.path(alphas, limit=system.search_limit)
    except IllConditioned as error:
        found = str(error)
    return found, time.perf_counter() - start, counts
