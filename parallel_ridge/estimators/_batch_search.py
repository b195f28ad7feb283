"""Batches of rows whose penalty is chosen from the sums of folds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if

from parallel_ridge.backends import Backend, OpenMPBackend, get_backend
from parallel_ridge.estimators._base import fitted_weights
from parallel_ridge.estimators._batches import BatchClassifier
from parallel_ridge.estimators._stream import Folds, Seen, Solve, Stream
from parallel_ridge.estimators._twins import adds_whole
from parallel_ridge.exceptions import warn_caller
from parallel_ridge.model_selection import ERROR_SCORES, Dealer, Scores, search_folds
from parallel_ridge.reductions import StatisticsReduction, fold_statistics
from parallel_ridge.solvers import Problem, solve_path
from parallel_ridge.sources import Source
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.threads import blas_threads

# Folds of a stream for cv=None: scikit-learn's default elsewhere.
STREAM_FOLDS = 5


def _scores_from_sums(estimator: BatchSearch) -> bool:
    """Whether the sums of folds suffice for a search; `available_if` shows the message if not."""
    cv, scoring = estimator.cv, estimator.scoring
    if not (cv is None or isinstance(cv, Integral)):
        what = f"deals rows to folds itself, and cv={cv!r} does not say to how many: pass a number"
    elif not (scoring is None or (isinstance(scoring, str) and scoring in ERROR_SCORES)):
        what = f"has no rows to score, and scoring={scoring!r} needs them: choose of {ERROR_SCORES}"
    elif estimator.probability or estimator.store_cv_results:
        what = "has no rows to predict, so probability and store_cv_results must be False"
    else:
        return True
    raise AttributeError(f"partial_fit keeps the sums of each fold. It {what}.")


class BatchSearch(BatchClassifier):
    """A search over penalties that can be fed batch by batch."""

    cv: Any
    scoring: Any
    probability: bool
    store_cv_results: bool
    _answers = (
        *BatchClassifier._answers, "alpha_", "best_index_", "best_score_", "cv_results_", "n_splits_",
    )  # fmt: skip

    @abstractmethod
    def _check_alphas(self) -> list[float]:
        """Check all options; the penalties."""

    @available_if(_scores_from_sums)
    @adds_whole
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Add rows to those seen before; the penalty is chosen when somebody asks, from all of them.

        Rows are dealt to folds, whose sums grow: the sums give the squared errors of each fold under the
        solution of the others, for every penalty, so no row is looked at twice. The answer is that of
        :meth:`fit` with these folds and ``scoring="neg_mean_squared_error"`` (or the one that was
        chosen), whatever the batches are. There are ``cv`` folds, or 5 if ``cv`` is None.

        Each run of ``cv`` consecutive rows goes to all folds, in an order that a hash of their positions
        draws (:func:`parallel_ridge.model_selection.deal`), so no order of the rows biases the scores.
        Rows that resemble their neighbours (frames of a video, windows of a series) need ``groups``: a
        group goes to one fold. Groups are dealt in the order in which they turn up.

        The search takes the options of the last call, and may warn. After a :meth:`fit` it starts anew,
        with a warning. Not available for scores other than squared errors, for splitters, or with
        ``probability`` or ``store_cv_results``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            More rows.
        y : array-like of shape (n,) or (n, k)
            Their labels.
        classes : array-like of shape (k,), default=None
            All labels there will ever be; then others are refused. If None in the first call,
            labels that turn up later become classes.
        sample_weight : array-like of shape (n,), default=None
            Weights, not negative. Scores are weighted with them, and with those of the classes.
        groups : array-like of shape (n,), default=None
            Groups of rows, each of which stays in one fold; in all batches or in none. Rows of a
            DataFrame in Spark are dealt by a hash of this column, or of the features.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As :meth:`fit`; also for ``class_weight="balanced"``, which later rows would change, for
            another number of folds than before, and if the rows of the first batch are all in one fold.
            The estimator, statistics included, stays as it was before the call.

        Notes
        -----
        A stream holds the sums of K folds and memory for those of a batch: 2 K d x d matrices. A batch
        costs what its rows cost, and the addition of the matrices of the folds that it has rows of. The
        search costs K + 1 factorisations per penalty, or per search if there are many penalties.
        """
        for name in ("probability_scale_", "loo_decision_"):
            self.__dict__.pop(name, None)
        starts_anew = (
            "The earlier fit kept no statistics of folds, so partial_fit starts anew from these rows "
            "alone. Pass the rows of that fit to partial_fit, too, if they should count."
        )
        self._add(X, y, classes, sample_weight, starts_anew, groups)
        return self

    def _n_folds(self) -> int:
        return STREAM_FOLDS if self.cv is None else int(self.cv)

    def _adds_in_turn(self) -> bool:
        return True  # rows are dealt by their position in the stream

    def _stream_so_far(self) -> Stream | None:
        return vars(self).get("_stream")

    def _check_batch(self, classes: Any, seen: Seen | None) -> Any:
        self._check_alphas()
        dealer: Dealer | None = vars(self).get("_dealer")
        if dealer is not None and dealer.n_folds != self._n_folds():
            raise ValueError(
                f"cv={self.cv!r} is {self._n_folds()} folds, and earlier batches were dealt to "
                f"{dealer.n_folds}: the number of folds of a stream cannot change."
            )
        return super()._check_batch(classes, seen)

    def _dealt(self, groups: Any) -> dict[str, Any]:
        return {"cv": self._n_folds(), "groups": groups}

    def _fold_batch(
        self, backend: Backend, reduction: StatisticsReduction, source: Source, groups: Any
    ) -> Sequence[SufficientStatistics]:
        dealer: Dealer = vars(self).get("_dealer", Dealer(self._n_folds()))
        groups = source.for_splitter(None, None, groups)[2] if source.collectable else groups
        folds, self._dealer = dealer.deal(backend, source, groups)
        dealt = source.grouped(folds, range(dealer.n_folds))
        batch: Sequence[SufficientStatistics]
        batch, _ = fold_statistics(backend.reduce, reduction, dealt, dealer.n_folds)
        return batch

    def _solve(self) -> Solve:
        backend = get_backend(self.backend, self.n_jobs)
        return partial(_searched, self._check_alphas(), self.scoring, self._problem(), backend)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold the attributes that were yet to be searched for, and the stream."""
        state = dict(super().__getstate__())
        stream = state.pop("_stream", None)
        if isinstance(stream, Stream):
            return {**stream.solution(), **state, "_stream": stream.copy()}
        return state if stream is None else {**stream.answers(), **state}


def _searched(
    alphas: list[float], scoring: str | None, problem: Problem, backend: Backend, folds: Folds
) -> dict[str, Any]:
    """Fitted attributes from the statistics of folds, by name; asks no other process."""
    threads = OpenMPBackend(backend.solve_threads())
    with blas_threads(backend.solve_threads()):
        scores = search_folds(threads, folds, alphas, problem, scoring)
        found = chosen(scores)
        total = SufficientStatistics.sum(folds)
        (solution,), solver = solve_path(total, [found["alpha_"]], problem)
    warn_of_an_end(alphas, found["alpha_"])
    found |= {"classes_": total.classes, "solver_": solver, "n_splits_": len(scores.values)}
    return found | fitted_weights(
        solution, total.n_classes, total.dtype, total.multilabel, problem.fit_intercept
    )


def chosen(scores: Scores) -> dict[str, Any]:
    """Fitted attributes of the choice between penalties, by name."""
    best, results = scores.best, scores.results()
    return {
        "best_index_": best,
        "alpha_": scores.alphas[best],
        "cv_results_": results,
        "best_score_": float(results["mean_test_score"][best]),
    }


def warn_of_an_end(alphas: Sequence[float], best: float) -> None:
    """Warn if the best penalty is the first or the last."""
    ends = {min(alphas): ("smallest", "smaller"), max(alphas): ("largest", "larger")}
    if len(ends) > 1 and best in ends:
        end, further = ends[best]
        warn_caller(
            f"The best alpha, {best:g}, is the {end} of those tried: a {further} one "
            "may be better. Extend alphas.",
            UserWarning,
        )
