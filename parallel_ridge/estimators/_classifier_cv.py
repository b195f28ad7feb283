"""Many penalties: a search that costs one pass, and probabilities."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from parallel_ridge.backends import Backend, get_backend
from parallel_ridge.estimators._array_api import fits_in_namespace
from parallel_ridge.estimators._batch_search import BatchSearch, chosen, warn_of_an_end
from parallel_ridge.estimators._checks import check_alphas, check_flag, class_weights
from parallel_ridge.estimators._stream import answers_from_stream
from parallel_ridge.estimators._twins import fits_whole, forget_fit, reads_whole
from parallel_ridge.exceptions import warn_caller
from parallel_ridge.fitting import solve
from parallel_ridge.model_selection import (
    PenaltySearch,
    Scoring,
    Search,
    Splits,
    log_probabilities,
    probabilities,
)
from parallel_ridge.numerics import LARGEST_SYSTEM
from parallel_ridge.progress import progress
from parallel_ridge.reductions import StatisticsReduction, coefficient_dtype
from parallel_ridge.sources import Source, Target
from parallel_ridge.threads import blas_threads


def _has_probabilities(estimator: ParallelRidgeClassifierCV) -> bool:
    if not estimator.probability or (
        hasattr(estimator, "coef_") and not hasattr(estimator, "probability_scale_")
    ):
        raise AttributeError("predict_proba needs probability=True, set before fit.")
    return True


@answers_from_stream
class ParallelRidgeClassifierCV(BatchSearch):
    """Ridge classifier that chooses its penalty by cross-validation, from one pass over the rows.

    Gives the scores of a grid search over :class:`ParallelRidgeClassifier`, without fitting one: the
    statistics of a training set are sums of those of the folds, and all penalties share one
    factorisation. Leave-one-out has a closed form.

    Parameters
    ----------
    alphas : array-like of shape (p,) or float, default=(0.1, 1.0, 10.0)
        Penalties to try, not negative; positive for leave-one-out.
    cv : int, splitter, iterable or None, default=None
        None is leave-one-out. Else what scikit-learn takes: a number of (stratified) folds, a
        splitter, or an iterable of (train, test) positions, which may overlap and leave rows out.
        For rows in Spark a number of folds, which go by a hash of each row's features or of the
        column ``groups``; or the name of a column that holds each row's fold. For
        :meth:`partial_fit` a number of folds, or None for 5.
    scoring : str, callable or None, default=None
        The score to maximise.

        - None: negative squared error of the decision values for leave-one-out and
          :meth:`partial_fit`, else accuracy; as in :class:`sklearn.linear_model.RidgeClassifierCV`.
        - ``"neg_mean_squared_error"``, ``"neg_root_mean_squared_error"`` and ``"r2"`` judge the
          decision values against the targets +1 and -1 (not labels against labels).
        - Any other scorer of scikit-learn: of labels, of decision values, or, with
          ``probability=True``, of probabilities.
        - A callable ``scorer(estimator, X, y)`` gets a stand-in for the estimator, whose ``predict``,
          ``decision_function`` and ``predict_proba`` take the ``X`` it is given: held-out decision
          values, not features.

        Test sets are scored with ``sample_weight``, as by
        :class:`~sklearn.model_selection.GridSearchCV` since scikit-learn 1.9; leave-one-out also
        with the weights of classes, as by its ``RidgeClassifierCV``.
    fit_intercept : bool, default=True
        Whether to fit an intercept, unpenalised.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes; "balanced" by each training set (by all rows for leave-one-out),
        which then takes one pass per set.
    standardize : bool, default=False
        Penalise the weights of features scaled to unit variance (of each training set; for
        leave-one-out, of all rows).
    objective : {"sum", "mean"}, default="sum"
        ``"mean"`` divides the loss by the sum of weights of the training set (for leave-one-out, of
        all rows).
    backend : str or Backend, default="auto"
        Where passes over the rows run.
    n_jobs : int, default=None
        Threads; None is all cores that this process may use, -1 all cores.
    memory : str, path or joblib.Memory, default=None
        Where to keep statistics on disk, by content. None keeps none.
    store_statistics : bool, default=False
        Keep ``statistics_``, d x d numbers, for :meth:`coef_path`.
    verbose : int, default=0
        If positive, print the time of each step, and show progress of long ones (with tqdm).
    store_cv_results : bool, default=False
        Keep ``loo_decision_``; for leave-one-out only.
    probability : bool, default=False
        Whether to find the factor that :meth:`predict_proba` needs: one more scoring pass.
    prequential : bool, default=False
        Whether :meth:`partial_fit` scores each batch by the fit to all batches before it, which takes
        a search per batch.

    Attributes
    ----------
    alpha_ : float
        The penalty with the best mean score; of equally good ones, the largest.
    best_score_ : float
        Its mean score.
    best_index_ : int
        Its position in ``alphas``.
    cv_results_ : dict of ndarrays
        As of :class:`~sklearn.model_selection.GridSearchCV`: ``param_alpha``, ``params``,
        ``mean_test_score``, ``std_test_score``, ``rank_test_score``, ``split{i}_test_score`` and times
        in seconds. Leave-one-out has no columns for its splits, and its deviation is over rows (NaN
        for scores that are not means over rows).
    n_splits_ : int
        Splits; rows, for leave-one-out; folds with rows, after :meth:`partial_fit`.
    loo_decision_ : ndarray of shape (n,) or (n, k)
        Leave-one-out decision values for ``alpha_``, with ``store_cv_results=True``.
    probability_scale_ : float
        The factor of decision values in :meth:`predict_proba`, with ``probability=True``.
    coef_ : ndarray of shape (d,) for two classes, or (k, d)
        Weights of a fit to all rows with ``alpha_``.
    intercept_ : ndarray of shape (1,) or (k,), or 0.0 without intercept
    classes_ : ndarray of shape (k,)
        Labels in ascending order; ``arange(k)`` for multilabel targets.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (d,) of str
        Only if X had column names that are all strings.
    feature_columns_ : tuple of str
        Columns of features, if X was a table or a Spark DataFrame.
    n_iter_ : ndarray of shape (k,) of int, or None
    solver_ : str
        The solver that fitted ``coef_``.
    statistics_ : SufficientStatistics
        With ``store_statistics=True`` and after :meth:`partial_fit`.
    prequential_score_ : float
        Only with ``prequential=True`` and after :meth:`partial_fit`: accuracy, over all batches but the
        first, of predictions that were made before the batch was added; NaN while there is one batch.
    prequential_n_samples_ : int
        The number of rows that it covers.

    Notes
    -----
    K folds cost one pass for the statistics, K factorisations (``9 d^3`` multiplications if there are
    many penalties), and one pass for the scores, ``n d k`` multiplications a penalty. Splits that
    overlap so that rows form many groups cost a pass each. Leave-one-out costs ``n d^2`` more, for
    the leverages. Memory beyond the data is that of K + 1 d x d matrices, and some four more a
    thread. Where n < d, everything is done on rows of n coordinates.

    References
    ----------
    Golub, Heath and Wahba (1979), Generalized cross-validation as a method for choosing a good ridge
    parameter, doi:10.1080/00401706.1979.10489751. Rifkin and Lippert (2007), Notes on regularized
    least squares, MIT-CSAIL-TR-2007-025.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from parallel_ridge import ParallelRidgeClassifierCV
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ParallelRidgeClassifierCV(np.logspace(-2, 6, 9), cv=5).fit(X, y)
    >>> print(f"{model.alpha_:g}")
    10000
    """

    alpha_: float
    best_score_: float
    best_index_: int
    cv_results_: dict[str, Any]
    n_splits_: int
    loo_decision_: NDArray[Any]
    probability_scale_: float

    def __init__(
        self,
        alphas: ArrayLike = (0.1, 1.0, 10.0),
        *,
        cv: Any = None,
        scoring: Any = None,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        standardize: bool = False,
        objective: str = "sum",
        backend: str | Backend = "auto",
        n_jobs: int | None = None,
        memory: Any = None,
        store_statistics: bool = False,
        verbose: int = 0,
        store_cv_results: bool = False,
        probability: bool = False,
        prequential: bool = False,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.standardize = standardize
        self.objective = objective
        self.backend = backend
        self.n_jobs = n_jobs
        self.memory = memory
        self.store_statistics = store_statistics
        self.verbose = verbose
        self.store_cv_results = store_cv_results
        self.probability = probability
        self.prequential = prequential

    @fits_whole
    @fits_in_namespace
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Choose the penalty, and fit with it to all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or Spark DataFrame or RDD
            Rows. Arrays of float32, float64, integers or booleans are used as they are. Of a DataFrame,
            ``y``, ``sample_weight`` and ``groups`` are names of columns.
            Paths, tables, datasets, arrays on disk and batches are read block by block (see the page
            "Bigger than memory"); their columns may be named too, and ``cv`` may name a column of folds.
        y : array-like of shape (n,), or indicator matrix of shape (n, k) for multilabel targets
            Labels of any kind that sorts.
        sample_weight : array-like of shape (n,), default=None
            Weights, not negative.
        groups : array-like of shape (n,), default=None
            Groups of rows, for splitters that keep them together.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input or options, an empty training or test set, or a score that is NaN for
            every penalty. The estimator stays as it was before the call. An error of the scorer
            goes through, with the penalty and the split added to its message.
        """
        backend = get_backend(self.backend, self.n_jobs, X)
        alphas = backend.gather(self._check_alphas)[0]
        forget_fit(self)
        # Leverages close to 1 show what float32 products have lost.
        double = self.cv is None
        source, target = self._read_to_fit(
            backend,
            X,
            y,
            sample_weight,
            statistics=self._options(double=double) if self.class_weight is None else None,
            cv=self.cv,
            groups=groups,
        )
        scoring = self._scoring(source, target)
        self.classes_ = target.classes
        weighted = self._reweighted(source, target, self.class_weight)
        _check_size(source)
        balanced = isinstance(self.class_weight, str)
        options = self._options(double=double, weighted=source.weighted or balanced)
        job = self._job(backend, weighted, target, options)
        searcher = PenaltySearch(
            backend=backend,
            statistics=partial(
                job.form_statistics, StatisticsReduction.of(weighted, target, options)
            ),
            source=weighted,
            scored=source,
            target=target,
            alphas=alphas,
            problem=self._problem(),
            scoring=scoring,
            progress=self._progress,
        )
        with blas_threads(backend.solve_threads()):
            search = self._search(searcher, X, y, groups)
            self._keep(search)
            start = time.perf_counter()
            job.options, job.statistics, job.rows = self._options(), search.total, search.rows
            solution, self.solver_ = solve(job, self.alpha_, "auto")
        if job.statistics is not None:
            self.statistics_ = job.statistics
        self._say(f"fitted alpha={self.alpha_:g} by {self.solver_}", start)
        self._set_weights(solution, coefficient_dtype(source.dtype), target.multilabel)
        warn_of_an_end(alphas, self.alpha_)
        return self

    @available_if(_has_probabilities)
    @reads_whole
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of the classes of rows.

        Decision values, times the one factor that minimised the log-loss of held-out rows, through
        a softmax (prevalidated ridge regression: Dempster, Webb and Schmidt, 2024,
        arXiv:2401.15610).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)

        Returns
        -------
        ndarray of shape (n, k)
            Rows sum to 1; for multilabel targets, each column is the probability of its label.
        """
        return self._answer(X, "predict_proba", "probability")

    @available_if(_has_probabilities)
    @reads_whole
    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logarithms of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)

        Returns
        -------
        ndarray of shape (n, k)
        """
        return self._answer(X, "predict_log_proba", "log_probability")

    def _predict_proba(self, X: Any) -> NDArray[np.float64]:
        values = self._decision_function(X)
        return probabilities(values, self.probability_scale_, self._multilabel)

    def _predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        values = self._decision_function(X)
        return log_probabilities(values, self.probability_scale_, self._multilabel)

    def _check_options(self) -> None:
        for name in ("store_cv_results", "probability"):
            check_flag(name, getattr(self, name))
        if self.store_cv_results and self.cv is not None:
            raise ValueError(
                f"store_cv_results=True keeps leave-one-out decision values, and cv={self.cv!r}: set "
                "cv=None."
            )
        if isinstance(self.cv, Integral) and self.cv < 2:
            raise ValueError(f"cv={self.cv!r} is too few folds; at least 2 are needed.")
        super()._check_options()

    def _check_alphas(self) -> list[float]:
        """Check all options; the penalties."""
        self._check_options()
        alphas = check_alphas(self.alphas)
        if not alphas:
            raise ValueError("alphas is empty: there is nothing to choose from.")
        if self.cv is None and min(alphas) == 0.0:
            raise ValueError(
                f"alphas={self.alphas!r}: leave-one-out needs positive ones; set cv to try alpha=0."
            )
        return alphas

    def _scoring(self, source: Source, target: Target) -> Scoring:
        scoring = Scoring.of(
            self.scoring,
            self,
            leave_one_out=self.cv is None,
            multilabel=target.multilabel,
            probability=self.probability,
        )
        if source.weighted and not scoring.weighted:
            warn_caller(
                f"scoring={scoring.name} takes no sample_weight: all rows count alike in it.",
                UserWarning,
            )
        return scoring

    def _progress(self, items: Sequence[Any], what: str) -> Iterable[Any]:
        return progress(items, what, show=bool(self.verbose))

    def _search(self, searcher: PenaltySearch, X: Any, y: Any, groups: Any) -> Search:
        start = time.perf_counter()
        if self.cv is None:
            search = searcher.leave_one_out()
            self.n_splits_ = searcher.source.n_rows
        else:

            def balance(training: Source) -> Source:
                table = class_weights(self.class_weight, searcher.target, training)
                return training.reweighted(table)

            splits = Splits.of(searcher.backend, searcher.source, self.cv, X, y, groups)
            balanced = isinstance(self.class_weight, str)
            search = searcher.over_splits(splits, balance if balanced else None)
            self.n_splits_ = len(splits)
        self._say(f"scored {len(searcher.alphas)} penalties", start)
        return search

    def _keep(self, search: Search) -> None:
        self.__dict__.update(chosen(search.scores))
        best = self.best_index_
        if self.probability:
            self.probability_scale_ = search.scale(best)
        if self.store_cv_results:
            values = search.held_out(best)
            self.loo_decision_ = values[:, 0] if values.shape[1] == 1 else values


def _check_size(source: Source) -> None:
    """Raise if the matrices of a search would be too large."""
    most = source.n_features if not source.collectable else min(source.n_rows, source.n_features)
    if most > LARGEST_SYSTEM:
        raise ValueError(
            f"A search needs matrices of {source.n_features} x {source.n_features} numbers, "
            f"or of {source.n_rows} x {source.n_rows}, and at most {LARGEST_SYSTEM} are "
            "supported. Reduce the features, or search with GridSearchCV over "
            "ParallelRidgeClassifier(solver='cg')."
        )
