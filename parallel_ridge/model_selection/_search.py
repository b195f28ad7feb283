"""Searches over penalties and splits, from the statistics of groups of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.backends import Backend, OpenMPBackend
from parallel_ridge.exceptions import IllConditioned, IllConditionedWarning, warn_caller
from parallel_ridge.folding import WideRows, block_weights, fold_path
from parallel_ridge.model_selection._dual import dual_paths
from parallel_ridge.model_selection._errors import ErrorScores
from parallel_ridge.model_selection._leave_one_out import leave_one_out
from parallel_ridge.model_selection._results import Make, Scores, Search
from parallel_ridge.model_selection._scoring import Scoring, fit_scale, locating
from parallel_ridge.model_selection._splits import Splits, summands
from parallel_ridge.reductions import (
    AccuracyReduction,
    Columns,
    Confusion,
    ConfusionReduction,
    DecisionReduction,
    Decisions,
    GroupedReduction,
    HeldOut,
    PathDecisions,
    RowsReduction,
    StatisticsOptions,
    StatisticsReduction,
    coefficient_dtype,
    fold_statistics,
)
from parallel_ridge.solvers import (
    NormalEquations,
    Problem,
    Solution,
    row_coordinates,
    solve_penalties,
)
from parallel_ridge.sources import Source, Target
from parallel_ridge.statistics import SufficientStatistics

# Most held-out decision values to keep at a time.
HELD_VALUES = 2**23
# Decision value of a class that a training set lacks: below all others, and safe for scorers.
ABSENT_MARGIN = -1e9

Balance = Callable[[Source], Source]


@dataclass
class Path:
    """Solutions of one split for each penalty, and the time they took.

    Attributes
    ----------
    coefs : ndarray of shape (p, t, d)
        Of the dtype of decision values; of float64 for scores of squared errors.
    intercepts : ndarray of shape (p, t)
    absent : ndarray of int
        Classes without a training row.
    scored : Source
        All rows in the coordinates of the coefficients, with the sample weights for scores.
    seconds : float
    test : SufficientStatistics, or None
        Statistics of the test set, if scores are computed from them; None if training was
        ill-conditioned, because large coefficients would cancel.
    """

    coefs: NDArray[Any]
    intercepts: NDArray[Any]
    absent: NDArray[np.intp]
    scored: Source
    seconds: float
    test: SufficientStatistics | None


@dataclass
class PenaltySearch:
    """Searches over penalties on the rows of one source.

    Attributes
    ----------
    backend : Backend
    statistics : callable
        ``statistics(source, n_groups)``: sufficient statistics of some of the rows, or a list of the
        statistics of their groups if ``n_groups`` is given.
    source : Source
        All rows, with the sample weights for fits.
    scored : Source
        All rows, with the sample weights for scores.
    target : Target
    alphas : list of float
    problem : Problem
    scoring : Scoring
    progress : callable
        Shows the progress of an iterable of steps.
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
        """Search by the error of each row under the solution of all the others."""
        return leave_one_out(self)

    def over_splits(self, splits: Splits, balance: Balance | None = None) -> Search:
        """Search by scores of test sets.

        Parameters
        ----------
        splits : Splits
        balance : callable, default=None
            ``balance(source)``: a training set with class weights, if these depend on the training set.
        """
        if self.source.weighted or self.scored.weighted:
            self._check_weights(splits, balance)
        total = rows = None
        if self.wide:
            rows = WideRows.of(self.backend, self.source)
            paths = dual_paths(self, rows, splits, balance)
            if paths is None:  # what a small penalty makes visible is lost in products
                rows.products = None
                paths = self._paths_by_qr(rows, splits, balance)
        else:
            paths, total = self._paths(splits, balance)

        def decisions_of(path: Path, some: Sequence[int]) -> Decisions:
            coefs, intercepts = path.coefs, path.intercepts
            lacking = len(path.absent) and not self.target.multilabel
            if lacking or len(some) < len(coefs):
                coefs, intercepts = coefs[some], intercepts[some]
            if not lacking:
                pass
            elif intercepts.shape[1] > 1:
                intercepts[:, path.absent] = ABSENT_MARGIN
                coefs[:, path.absent] = 0.0
            else:  # one class is left, and every row gets it
                intercepts[:], coefs[:] = 1.0 - 2.0 * path.absent, 0.0
            dtype = coefficient_dtype(path.scored.dtype)  # products of float32 rows are float64
            return PathDecisions(
                coefs.astype(dtype, copy=False), intercepts.astype(dtype, copy=False)
            )

        def fold(some: Sequence[int], make: Make) -> list[Any]:
            # Interpolating many penalties takes about 20 ms per path.
            threads = OpenMPBackend(self.backend.solve_threads())
            reductions = threads.map(lambda path: make(decisions_of(path, some)), paths)
            scored, tested = paths[0].scored, splits.tested
            if tested is not None and all(path.scored is scored for path in paths):
                groups = scored.grouped(splits.group, tested)
                return self.backend.reduce(GroupedReduction(reductions), groups)
            steps = list(zip(paths, reductions, strict=True))
            return [
                self.backend.reduce(reduction, splits.testing(path.scored, i))
                for i, (path, reduction) in enumerate(self.progress(steps, "test sets"))
            ]

        shape = (len(splits), len(self.alphas))
        start = time.perf_counter()
        scales = None
        if self.scoring.kind == "errors":
            scores = self._errors_of(paths, splits)
        else:
            scores, scales = self.scores_of(fold, self.scored.weighted)
        score_seconds = np.full(shape, (time.perf_counter() - start) / scores.size)
        fit_seconds = np.array([[path.seconds] * len(self.alphas) for path in paths])
        found = Scores(self.alphas, scores, fit_seconds / len(self.alphas), score_seconds)
        return Search(self, fold, found, scales, total, rows)

    # ------------------------------------------------------------------------------------ weights

    @property
    def wide(self) -> bool:
        """Whether there are fewer rows than features, and one process can collect the rows."""
        return self.source.n_rows < self.source.n_features and self.source.collectable

    def _with_rows(self, X: NDArray[Any]) -> PenaltySearch:
        source = self.source.with_rows(X)
        scored = source if self.scored is self.source else self.scored.with_rows(X)
        return replace(self, source=source, scored=scored)

    def training(self, splits: Splits, i: int, balance: Balance | None) -> Source:
        """A training set, with the sample weights for its fit."""
        if balance is None:
            return splits.training(self.source, i)
        return balance(splits.training(self.scored, i))

    def training_weights(
        self, splits: Splits, balance: Balance | None
    ) -> list[NDArray[np.float64]]:
        """Weights of all rows in a fit to each training set; a row that is not in it has none."""
        bare = self._with_rows(np.empty((self.source.n_rows, 0)))  # labels and weights suffice
        training = [bare.training(splits, i, balance) for i in range(len(splits))]
        return [
            block_weights(self.backend.reduce(RowsReduction(), rows.with_others_weightless()))
            for rows in training
        ]

    def _paths(
        self, splits: Splits, balance: Balance | None, first: int = 0
    ) -> tuple[list[Path], SufficientStatistics | None]:
        """Solutions of each split, and the statistics of all rows if they need no extra pass.

        Messages number the splits from ``first``.
        """
        start = time.perf_counter()
        total = parts = None
        if balance is None and splits.rows is None:
            grouped = self.source.grouped(splits.group, range(splits.n_groups))
            parts = self.statistics(grouped, splits.n_groups)
            total = SufficientStatistics.sum(parts)
            items = summands(parts, splits.train)
            if not self.source.collectable:  # solves run far away: one sum is less to send
                items = [[SufficientStatistics.sum(some)] for some in items]
        else:
            items = [
                [self.statistics(self.training(splits, i, balance))]
                for i in self.progress(range(len(splits)), "training sets")
            ]
        shared = (time.perf_counter() - start) / len(splits)
        dtype = np.dtype(np.float64) if self.scoring.kind == "errors" else self.dtype
        solve = partial(_solve_path, problem=self.problem, alphas=self.alphas, dtype=dtype)

        paths = []
        for i, (path, seconds, counts) in enumerate(self.backend.map(solve, items)):
            test = None
            if isinstance(path, str):
                self.warn_ill_conditioned(f"split {first + i}", path)
                training = self.training(splits, i, balance)
                solutions = fold_path(
                    self.backend, training, self.target, self.problem, self.alphas
                )
                path = _stacked([solution for solution, _ in solutions], dtype)
            elif self.scoring.kind == "errors":
                test = self._test_statistics(splits, i, parts)
            paths.append(self.path(first + i, counts, *path, self.scored, seconds + shared, test))
        return paths, total

    def path(
        self,
        i: int,
        counts: NDArray[np.int64],
        coefs: NDArray[np.float64],
        intercepts: NDArray[np.float64],
        scored: Source,
        seconds: float,
        test: SufficientStatistics | None = None,
    ) -> Path:
        """The solutions of split ``i``, whose training set has ``counts`` rows of each class."""
        absent = np.flatnonzero(counts == 0)
        if len(absent) and not self.target.multilabel:
            warn_caller(
                f"The training set of split {i} has no row of class "
                f"{self.target.classes[absent].tolist()}: none of its test rows is predicted as "
                "that. Use fewer or stratified splits.",
                UserWarning,
            )
        return Path(coefs, intercepts, absent, scored, seconds, test)

    def _paths_by_qr(self, rows: WideRows, splits: Splits, balance: Balance | None) -> list[Path]:
        """Solutions of each split, with rows of n coordinates instead of d features."""
        if not self.problem.standardize:
            return self.in_row_coordinates(rows)._paths(splits, balance)[0]
        paths = []  # each training set scales the features anew
        for i, weights in enumerate(self.training_weights(splits, balance)):
            scaled = self.in_row_coordinates(replace(rows, weights=weights))
            paths += scaled._paths(splits.only(i), balance, i)[0]
        return paths

    def _test_statistics(
        self, splits: Splits, i: int, parts: Sequence[SufficientStatistics] | None
    ) -> SufficientStatistics:
        """Statistics of a test set; a sum over its groups if these have the sample weights for scores."""
        if parts is None or self.source is not self.scored:
            test: SufficientStatistics = self.statistics(splits.testing(self.scored, i))
            return test
        return SufficientStatistics.sum(parts[j] for j in splits.test[i])

    def _check_weights(self, splits: Splits, balance: Balance | None) -> None:
        for i in range(len(splits)):
            for name, rows in (
                ("training", self.training(splits, i, balance)),
                ("test", splits.testing(self.scored, i)),
            ):
                if not rows.weight_sum() > 0.0:
                    raise ValueError(
                        f"The sample weights of the {name} set of split {i} are all zero."
                    )

    def warn_ill_conditioned(self, where: str, what: str) -> None:
        """Warn about another pass over the rows."""
        warn_caller(
            f"The system of {where} is ill-conditioned for alpha={min(self.alphas):g} ({what}). It was "
            "solved from a QR of the rows, which takes another pass. Leave out the small alphas, or set "
            "standardize=True, to avoid that.",
            IllConditionedWarning,
        )

    def in_row_coordinates(self, rows: WideRows) -> PenaltySearch:
        """The same search for n < d, on rows of n coordinates instead of d features.

        A rotation changes neither distances nor penalties, so the scores are the same. The weights of
        ``rows`` scale the features.
        """

        def solve(columns: Columns) -> NDArray[np.float64]:
            return row_coordinates(columns)

        columns = rows.view(self.problem, self.backend.solve_threads())
        (coordinates,) = self.backend.map(solve, [columns])
        moved = self._with_rows(coordinates)
        reduction = StatisticsReduction.of(
            moved.source, self.target, StatisticsOptions(centre=self.problem.fit_intercept)
        )
        return replace(
            moved,
            statistics=lambda some, n_groups=0: fold_statistics(
                self.backend.reduce, reduction, some, n_groups
            )[0],
            problem=replace(self.problem, standardize=False),
        )

    # ------------------------------------------------------------------------------------- scores

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the coefficients."""
        return coefficient_dtype(self.source.dtype)

    @property
    def errors(self) -> ErrorScores:
        """Scores of squared errors."""
        return ErrorScores(self.scoring.name, self.target)

    def held_out(
        self, fold: Callable[[Sequence[int], Make], list[Any]], some: Sequence[int]
    ) -> list[HeldOut]:
        """Held-out decision values of each test set for some of the penalties."""
        return [HeldOut.join(parts) for parts in fold(some, DecisionReduction)]

    def fit_scales(self, held: Sequence[HeldOut]) -> list[float]:
        """The factor that turns held-out decision values into probabilities, for each penalty."""
        rows = HeldOut.join(held)
        targets = rows.labels.indicator(len(self.target.classes))[:, self.errors.targets]
        weights = np.ones(len(targets)) if rows.weights is None else rows.weights
        return [
            fit_scale(rows.values[:, j], targets, weights, self.target.multilabel)
            for j in range(rows.values.shape[1])
        ]

    def scores_of(
        self, fold: Callable[[Sequence[int], Make], list[Any]], weighted: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Scores of shape (test sets, p), and the factors of probabilities if the scores needed them."""
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
            # The scorer may be a user's function, so one process calls it for all.
            return self.backend.map(self._score_counts, [counts])[0], None
        t = len(range(len(self.target.classes))[self.errors.targets])
        size = max(1, HELD_VALUES // (self.source.n_rows * t))
        parts = []
        for first in self.progress(range(0, len(self.alphas), size), "scores"):
            some = range(first, min(first + size, len(self.alphas)))
            score = partial(self._score_values, some)
            parts += self.backend.map(score, [self.held_out(fold, some)])
        scores, scales = (np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))
        return scores, scales if self.scoring.needs_scale else None

    def _score_counts(self, counts: Sequence[Confusion]) -> NDArray[np.float64]:
        """Scores from the confusion counts of each test set, for each penalty."""
        scores = np.empty((len(counts), len(self.alphas)))
        for i, j in np.ndindex(scores.shape):
            with locating(f"in scoring alpha={self.alphas[j]:g} on split {i}"):
                scores[i, j] = self.scoring.of_counts(counts[i].of_penalty(j), self.target)
        return scores

    def _score_values(
        self, some: Sequence[int], held: Sequence[HeldOut]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores from the decision values of each test set for some penalties, and their factors."""
        scales = self.fit_scales(held) if self.scoring.needs_scale else []
        scores = np.empty((len(held), len(some)))
        for j, number in enumerate(some):
            for i, rows in enumerate(held):
                with locating(f"in scoring alpha={self.alphas[number]:g} on split {i}"):
                    scores[i, j] = self.scoring.of_values(
                        rows.values[:, j],
                        self.target.decode(rows.labels),
                        self.target,
                        rows.weights if self.scoring.weighted else None,
                        scales[j] if scales else None,
                    )
        return scores, np.array(scales)

    def _errors_of(self, paths: Sequence[Path], splits: Splits) -> NDArray[np.float64]:
        """Scores from squared errors on test sets; from statistics alone if these suffice."""
        errors = self.errors
        scores = np.empty((len(paths), len(self.alphas)))
        # Tasks get what they need, not the rows of the path.
        items = {
            i: (path.test, path.coefs, path.intercepts)
            for i, path in enumerate(paths)
            if path.test is not None
        }
        stable = list(items)
        found = self.backend.map(lambda item: errors.of_statistics(*item), items.values())
        scores[stable] = np.array(found).reshape(len(stable), len(self.alphas))
        for i, path in enumerate(paths):
            if path.test is None:
                reduction = errors.reduction(PathDecisions(path.coefs, path.intercepts))
                sums = self.backend.reduce(reduction, splits.testing(path.scored, i))
                scores[i] = errors.of_rows(sums)
        return scores


def _stacked(path: Sequence[Solution], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Coefficients, shape (p, t, d), and intercepts, shape (p, t)."""
    coefs = np.array([solution.coef for solution in path], dtype)
    return coefs, np.array([solution.intercept for solution in path], dtype)


def _solve_path(
    parts: Sequence[SufficientStatistics],
    problem: Problem,
    alphas: Sequence[float],
    dtype: np.dtype[Any],
) -> tuple[tuple[NDArray[Any], NDArray[Any]] | str, float, NDArray[np.int64]]:
    """Solve for a training set: the solutions or what is wrong, the seconds, and the class counts."""
    start = time.perf_counter()
    statistics = SufficientStatistics.sum(parts)
    counts = statistics.class_counts
    system = NormalEquations(statistics, problem, overwrite=len(parts) > 1)
    del statistics
    found: tuple[NDArray[Any], NDArray[Any]] | str
    try:
        path, _ = solve_penalties(system, alphas, limit=system.search_limit)
        found = _stacked(path, dtype)
    except IllConditioned as error:
        found = str(error)
    return found, time.perf_counter() - start, counts
