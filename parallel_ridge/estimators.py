"""The face that scikit-learn sees: validation, labels, fitted attributes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from parallel_ridge import solvers
from parallel_ridge.backends import Backend, get_backend
from parallel_ridge.backends.openmp import blas_threads
from parallel_ridge.reductions import (
    SAMPLE_ROWS,
    MomentsReduction,
    NormalProductReduction,
    QRReduction,
    RowsReduction,
    StatisticsReduction,
    choose_shift,
    coefficient_dtype,
    raise_not_finite,
)
from parallel_ridge.solvers import (
    IllConditioned,
    IllConditionedWarning,
    Problem,
    Weights,
    warn_caller,
)
from parallel_ridge.sources import (
    ArraySource,
    Block,
    Labels,
    Source,
    Target,
    check_weights,
    encode_labels,
    take_rows,
)
from parallel_ridge.statistics import SufficientStatistics

STATISTICS_SOLVERS = ("auto", "cholesky", "eigen")
ROW_SOLVERS = ("svd", "dual", "cg")
SOLVERS = STATISTICS_SOLVERS + ROW_SOLVERS
# Beyond this many rows and features a d x d or n x n matrix takes more than 3 GiB, and its
# factorisation minutes; conjugate gradients need neither.
LARGEST_SYSTEM = 20_000
# Rows a thread converts and multiplies at a time (in its cache), and rows it takes from the pile.
PREDICT_ROWS = 256
PART_ROWS = 4096


def _statistics_suffice(estimator: ParallelRidgeClassifier) -> bool:
    """Whether the solver can do without rows; `available_if` shows the message if not."""
    if estimator.solver in ROW_SOLVERS:
        raise AttributeError(
            f"partial_fit keeps statistics, and solver={estimator.solver!r} needs rows; choose one "
            f"of {STATISTICS_SOLVERS}."
        )
    return True


class ParallelRidgeClassifier(ClassifierMixin, BaseEstimator):
    """Ridge classifier whose fit is one parallel pass over the rows and a small solve.

    Minimises ``sum_i w_i (y_i - <x_i, w> - b)^2 + alpha ||w||^2`` for each class, with targets coded
    +1 and -1, and predicts the class with the largest decision value. Gives the answers of
    :class:`sklearn.linear_model.RidgeClassifier`, and takes its place.

    Parameters
    ----------
    alpha : float, default=1.0
        Penalty, not negative; in units of squared features.
    fit_intercept : bool, default=True
        Whether to fit ``b``, unpenalised.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied on ``sample_weight``, as in scikit-learn.
    standardize : bool, default=False
        Penalise the weights of features scaled to unit variance: the same as a
        :class:`~sklearn.preprocessing.StandardScaler` before it (with the samples' weights, and
        ``with_mean=fit_intercept``), with ``coef_`` on the original scale and no extra pass.
    objective : {"sum", "mean"}, default="sum"
        ``"mean"`` divides the loss by the sum of weights, so that ``alpha`` is the lambda of
        ``X^T X + N lambda I``. ``"sum"`` is scikit-learn's.
    solver : {"auto", "cholesky", "eigen", "svd", "dual", "cg"}, default="auto"
        - ``"cholesky"`` and ``"eigen"`` factorise the d x d system of the sufficient statistics.
        - ``"dual"`` the n x n system of the rows, for fewer rows than features.
        - ``"svd"`` never squares the condition number; it needs a QR of the rows, some ten times
          the work.
        - ``"cg"`` iterates, a pass over the rows each time, and needs no such matrix.
        - ``"auto"`` takes ``"dual"`` where n < d, else ``"cholesky"``; ``"cg"`` where both exceed
          20,000 (for sparse rows: where d does). If a factorisation would lose more than 8 digits,
          it warns and takes ``"svd"``. ``solver_`` names the one that was used.
    backend : str or Backend, default="auto"
        Where the pass over the rows runs: ``"openmp"`` (``"auto"``) or a registered name, or a
        configuration object.
    n_jobs : int, default=None
        Threads; None is all cores that this process may use, -1 all cores.
    store_statistics : bool, default=False
        Keep ``statistics_``, d x d numbers, for :meth:`coef_path` and further :meth:`partial_fit`.
    verbose : int, default=0
        If positive, print the time of each step.

    Attributes
    ----------
    coef_ : ndarray of shape (d,) for two classes, or (k, d)
        Weights; of the second class if there are two. float32 for float32 features, else float64.
    intercept_ : ndarray of shape (1,) or (k,), or 0.0 without intercept
    classes_ : ndarray of shape (k,)
        Labels in ascending order; ``arange(k)`` for multilabel targets.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (d,) of str
        Only if X had column names that are all strings.
    n_iter_ : ndarray of shape (k,) of int, or None
        Iterations, of ``solver="cg"``.
    solver_ : str
        The solver that was used.
    statistics_ : SufficientStatistics
        Only with ``store_statistics=True`` and after :meth:`partial_fit`.

    Notes
    -----
    A fit of n rows and d features costs ``n d^2 / 2`` multiplications on all cores and ``d^3 / 3``
    for the solve (``n^2 d`` if n < d), and ``O(d^2)`` memory beyond the data, which is neither
    copied nor converted whole. Integer rows are summed exactly.

    References
    ----------
    Hoerl and Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems,
    doi:10.1080/00401706.1970.10488634. Clements, Cusworth and Maasakkers (2017), Parallelized image
    recognition in Spark and MPI.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from parallel_ridge import ParallelRidgeClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ParallelRidgeClassifier(alpha=1.0).fit(X[:1000], y[:1000])
    >>> model.score(X[1000:], y[1000:]) > 0.85
    True
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        standardize: bool = False,
        objective: str = "sum",
        solver: str = "auto",
        backend: str | Backend = "auto",
        n_jobs: int | None = None,
        store_statistics: bool = False,
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.standardize = standardize
        self.objective = objective
        self.solver = solver
        self.backend = backend
        self.n_jobs = n_jobs
        self.store_statistics = store_statistics
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to rows and their labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows. Arrays of float32, float64, integers or booleans are used as they are.
        y : array-like of shape (n,), or indicator matrix of shape (n, k) for multilabel targets
            Labels of any kind that sorts.
        sample_weight : array-like of shape (n,), default=None
            Weights, not negative. An integer weight is that many copies of the row.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input or options; the message holds the offending value and where it stands.
            The estimator stays as it was before the call.
        """
        with _unchanged_on_error(self):
            backend = self._check_options()
            _forget_fit(self)
            source, target = self._read(X, y, sample_weight, reset=True)
            if len(target.classes) < 2 and not target.multilabel:
                raise ValueError(
                    f"y has one class only, {target.classes.tolist()[0]!r}; a classifier needs "
                    "at least 2 classes."
                )
            if not source.weight_sum() > 0.0:
                raise ValueError("All sample weights are zero: there is nothing to fit.")
            self.classes_ = target.classes
            start = time.perf_counter()
            with blas_threads(backend.solve_threads()):
                weights, self.solver_ = self._solve(backend, source, target)
            self._say(f"{source.n_rows} rows solved by {self.solver_}", start)
            self._set_weights(weights, coefficient_dtype(source.dtype), target.multilabel)
        return self

    @available_if(_statistics_suffice)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Add rows to those seen before, exactly: any batches give the fit to all of their rows.

        After a :meth:`fit` that kept no statistics it starts anew, with a warning. Not available
        for solvers that need the rows.

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
            Weights, not negative.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As :meth:`fit`; also for ``class_weight="balanced"``, which later rows would change.
            The estimator, statistics included, stays as it was before the call.
        """
        with _unchanged_on_error(self):
            backend = self._check_options()
            if isinstance(self.class_weight, str):
                raise ValueError(
                    "class_weight='balanced' is not supported in partial_fit: later rows change the "
                    "balance. Pass the weights of the classes as a dict, or sample_weight."
                )
            before = getattr(self, "statistics_", None)
            if before is None and hasattr(self, "coef_"):
                warn_caller(
                    "The earlier fit kept no statistics, so partial_fit starts anew from these rows "
                    "alone: to go on from a fit, set store_statistics=True before it.",
                    UserWarning,
                )
            declared = getattr(self, "_declared_classes", None)
            if classes is not None:
                given = np.unique(np.asarray(classes))
                known = declared if before is None else self.classes_
                if known is not None and not np.array_equal(given, known):
                    raise ValueError(
                        f"classes={given.tolist()} differ from those of earlier calls, "
                        f"{known.tolist()}."
                    )
                declared = given
            source, target = self._read(
                X, y, sample_weight, reset=before is None, classes=declared, batch=True
            )
            reduction = StatisticsReduction.of(
                source,
                target,
                shift=None if before is None or before.exact else before.shift,
                centre=self.fit_intercept,
                feature_names=getattr(self, "feature_names_in_", None),
            )
            statistics = backend.fold(reduction, source)
            self._declared_classes = declared
            self._fit_statistics(
                backend, statistics if before is None else before + statistics, keep=True
            )
        return self

    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit to sufficient statistics, with no rows.

        Parameters
        ----------
        statistics : SufficientStatistics
            From :meth:`SufficientStatistics.from_data` or another estimator's ``statistics_``, or
            sums and differences of such; left unchanged.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``class_weight`` is set (weights are part of the statistics), or if the solver needs
            rows.
        """
        with _unchanged_on_error(self):
            backend = self._check_options()
            if not isinstance(statistics, SufficientStatistics):
                raise TypeError(
                    f"statistics must be SufficientStatistics; got {type(statistics).__name__}."
                )
            if self.class_weight is not None:
                raise ValueError(
                    f"class_weight={self.class_weight!r} has no effect on statistics: weights go into "
                    "their sums. Pass sample_weight to SufficientStatistics.from_data."
                )
            if self.solver not in STATISTICS_SOLVERS:
                raise ValueError(
                    f"solver={self.solver!r} needs rows; with statistics choose one of "
                    f"{STATISTICS_SOLVERS}."
                )
            _forget_fit(self)
            self.n_features_in_ = statistics.n_features
            if statistics.feature_names is not None:
                self.feature_names_in_ = statistics.feature_names
            self._fit_statistics(backend, statistics, keep=self.store_statistics)
        return self

    def coef_path(self, alphas: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weights for many penalties, with no new pass over the rows.

        Parameters
        ----------
        alphas : array-like of shape (m,)
            Penalties, not negative.

        Returns
        -------
        coefs : ndarray of shape (m, d) for two classes, or (m, k, d)
        intercepts : ndarray of shape (m, 1) or (m, k)

        Raises
        ------
        AttributeError
            If the fit kept no statistics.
        """
        check_is_fitted(self)
        if not hasattr(self, "statistics_"):
            raise AttributeError(
                "coef_path needs the sufficient statistics, and this fit kept none: set "
                "store_statistics=True before fit."
            )
        penalties = [_check_alpha(alpha) for alpha in np.atleast_1d(np.asarray(alphas))]
        if not penalties:
            raise ValueError("alphas is empty.")
        backend = get_backend(self.backend, self.n_jobs)
        with blas_threads(backend.solve_threads()):
            path, _ = solvers.solve_path(
                self.statistics_.select_classes(self.classes_), penalties, self._problem()
            )
        coefs = np.array([weights.coef for weights in path], dtype=self.coef_.dtype)
        intercepts = np.array([weights.intercept for weights in path], dtype=self.coef_.dtype)
        return coefs[:, 0] if self.coef_.ndim == 1 else coefs, intercepts

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Decision values of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows; converted in blocks, never whole.

        Returns
        -------
        ndarray of shape (n,) for two classes, or (n, k)
            Positive where the (second) class is the more likely.
        """
        return self._by_rows(X, lambda values: values)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Classes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)

        Returns
        -------
        ndarray of shape (n,), or (n, k) of 0 and 1 for multilabel targets
        """
        check_is_fitted(self)
        if self._multilabel:
            return self._by_rows(X, lambda values: (values > 0).astype(int))
        if self.coef_.ndim == 1:
            return self.classes_[self._by_rows(X, lambda values: (values > 0).astype(np.intp))]
        return self.classes_[self._by_rows(X, lambda values: values.argmax(axis=1))]

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: sparse rows and multilabel targets are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    def _problem(self) -> Problem:
        return Problem(bool(self.fit_intercept), bool(self.standardize), self.objective == "mean")

    def _check_options(self) -> Backend:
        _check_alpha(self.alpha)
        for name, choices in (("objective", ("sum", "mean")), ("solver", SOLVERS)):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name}={value!r} is not known; choose one of {choices}.")
        for name in ("fit_intercept", "standardize", "store_statistics"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"{name} must be True or False; got {value!r}.")
        weight = self.class_weight
        known = weight is None or isinstance(weight, dict | list)
        if not known and not (isinstance(weight, str) and weight == "balanced"):
            raise ValueError(f"class_weight must be a dict, 'balanced' or None; got {weight!r}.")
        jobs = self.n_jobs
        if jobs is not None and (not isinstance(jobs, Integral) or jobs == 0):
            raise ValueError(f"n_jobs must be None or an integer other than 0; got {jobs!r}.")
        return get_backend(self.backend, self.n_jobs)

    def _read(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        reset: bool,
        classes: Any = None,
        batch: bool = False,
    ) -> tuple[Source, Target]:
        """Source of validated rows; that they are finite is left to the pass."""
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            accept_sparse="csr",
            multi_output=True,
            ensure_all_finite=False,
        )
        labels, target = encode_labels(y, classes)
        weights = check_weights(sample_weight, X.shape[0])
        if self.class_weight is not None:
            class_weight = self.class_weight
            if batch and isinstance(class_weight, dict) and not target.multilabel:
                # A batch may lack some of the classes, which scikit-learn would refuse.
                found = set(target.classes[np.unique(labels.codes)].tolist())
                class_weight = {c: w for c, w in class_weight.items() if c in found}
            by_class = compute_sample_weight(class_weight, y)
            weights = check_weights(
                by_class if weights is None else weights * by_class, len(labels)
            )
        return ArraySource(X, labels, weights), target

    def _solve(self, backend: Backend, source: Source, target: Target) -> tuple[Weights, str]:
        """Fold what the solver needs, and solve; the stable solver takes over where needed."""
        solver = self.solver
        n, d = source.n_rows, source.n_features
        if solver == "auto":
            if min(n, d) > LARGEST_SYSTEM or (source.sparse and d > LARGEST_SYSTEM):
                solver = "cg"
            else:
                solver = "dual" if n < d and not self.store_statistics else "cholesky"
        if self.store_statistics and solver not in STATISTICS_SOLVERS:
            raise ValueError(
                f"solver={solver!r} makes no statistics; with store_statistics=True choose one of "
                f"{STATISTICS_SOLVERS}."
            )
        if solver in STATISTICS_SOLVERS:
            attempt: Callable[..., Weights] = self._solve_primal
        else:
            attempt = getattr(self, f"_solve_{solver}")
        try:
            return attempt(backend, source, target, solver), solver
        except IllConditioned as error:
            condition = error.condition
        # Out here, so that the failed system is freed before the other pass.
        warn_caller(
            f"The system is ill-conditioned (condition number {condition:.1e}): solver {solver!r} "
            "would lose more than 8 digits. It was solved by 'svd', which takes another pass. Raise "
            "alpha, or set standardize=True, to avoid that.",
            IllConditionedWarning,
        )
        return self._solve_svd(backend, source, target, "svd"), "svd"

    def _solve_primal(
        self, backend: Backend, source: Source, target: Target, solver: str
    ) -> Weights:
        start = time.perf_counter()
        reduction = StatisticsReduction.of(
            source,
            target,
            centre=self.fit_intercept,
            feature_names=getattr(self, "feature_names_in_", None),
        )
        statistics = backend.fold(reduction, source)
        self._say(f"folded {source.n_rows} rows of {source.n_features} features", start)
        start = time.perf_counter()
        if self.store_statistics:
            self.statistics_ = statistics
        system = solvers.NormalEquations(
            statistics, self._problem(), overwrite=not self.store_statistics
        )
        del statistics
        if solver == "eigen":
            eigen = system.eigen(overwrite=True)
            condition = system.eigen_condition(eigen, self.alpha)
            if condition > solvers.CONDITION_LIMIT:
                raise IllConditioned(condition)
            weights = system.solve_eigen(eigen, self.alpha)
        else:
            weights = system.solve_cholesky(self.alpha, overwrite=True)
        self._say(f"solved {source.n_features} equations", start)
        return weights

    def _solve_svd(self, backend: Backend, source: Source, target: Target, solver: str) -> Weights:
        shift = np.zeros(source.n_features)
        if self.fit_intercept:  # sparse rows too: blocks of them are made dense
            shift = choose_shift(source.sample(SAMPLE_ROWS))
        reduction = QRReduction(len(target.classes), shift, bool(self.fit_intercept))
        triangle = backend.fold(reduction, source)
        targets = solvers.n_targets(len(target.classes), target.multilabel)
        columns = source.n_features + 1
        triangle.R = np.hstack([triangle.R[:, :columns], triangle.R[:, columns:][:, targets]])
        return solvers.solve_svd(triangle, shift, self.alpha, source.weight_sum(), self._problem())

    def _solve_dual(self, backend: Backend, source: Source, target: Target, solver: str) -> Weights:
        rows = backend.fold(RowsReduction(), source)
        return solvers.solve_dual(
            rows, len(target.classes), target.multilabel, self.alpha, self._problem()
        )

    def _solve_cg(self, backend: Backend, source: Source, target: Target, solver: str) -> Weights:
        shift = np.zeros(source.n_features)
        if not source.sparse:
            shift = choose_shift(source.sample(SAMPLE_ROWS))
        moments = backend.fold(MomentsReduction(len(target.classes), shift), source)

        def product(V: NDArray[Any], mean: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
            value: NDArray[Any] = backend.fold(NormalProductReduction(V, mean, scale), source)
            return value

        return solvers.solve_conjugate_gradients(
            moments, shift, product, target.multilabel, self.alpha, self._problem()
        )

    def _fit_statistics(
        self, backend: Backend, statistics: SufficientStatistics, keep: bool
    ) -> None:
        if statistics.n_classes < 2 and not statistics.multilabel:
            raise ValueError(
                f"The rows have one class only, {statistics.classes.tolist()}; a classifier needs at "
                "least 2 classes. In partial_fit, pass classes in the first call."
            )
        if not statistics.weight_sum > 0:
            raise ValueError("The statistics hold no rows with a positive weight.")
        with blas_threads(backend.solve_threads()):
            (weights,), self.solver_ = solvers.solve_path(
                statistics, [self.alpha], self._problem(), self.solver
            )
        self.classes_ = statistics.classes
        if keep:
            self.statistics_ = statistics
        self._set_weights(weights, statistics.dtype, statistics.multilabel)

    def _set_weights(self, weights: Weights, dtype: np.dtype[Any], multilabel: bool) -> None:
        coef = weights.coef.astype(dtype)
        binary = len(self.classes_) == 2 and not multilabel
        self.coef_ = coef[0] if binary else coef
        self.intercept_ = weights.intercept.astype(dtype) if self.fit_intercept else 0.0
        self.n_iter_ = weights.n_iter
        self._multilabel = multilabel

    def _by_rows(self, X: Any, answer: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        """`answer` to the decision values of each block of rows, in order."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", ensure_all_finite=False)
        coef = np.atleast_2d(self.coef_).T

        def of_part(start: int) -> NDArray[Any]:
            part = take_rows(X, slice(start, min(start + PART_ROWS, X.shape[0])))
            dtype = np.result_type(coef, np.float32 if part.dtype == np.float16 else part.dtype)
            values = np.empty((part.shape[0], coef.shape[1]), dtype)
            buffer = None
            if isinstance(part, np.ndarray) and part.dtype != dtype:
                buffer = np.empty((PREDICT_ROWS, part.shape[1]), dtype)
            for first in range(0, len(values), PREDICT_ROWS):
                rows = slice(first, min(first + PREDICT_ROWS, len(values)))
                block = take_rows(part, rows)
                if buffer is not None:
                    block = buffer[: len(block)]
                    np.copyto(block, part[rows])
                values[rows] = block @ coef
            values += self.intercept_
            if not np.isfinite(values).all():  # as is each row that is not
                raise_not_finite(Block(start, part, Labels(np.empty(0, np.int32)), None))
            return answer(values[:, 0] if self.coef_.ndim == 1 else values)

        backend = get_backend(self.backend, self.n_jobs)
        return np.concatenate(backend.map(of_part, range(0, X.shape[0], PART_ROWS)))

    def _say(self, what: str, start: float) -> None:
        if self.verbose:
            print(f"[{type(self).__name__}] {what} in {time.perf_counter() - start:.3f} s")


@contextmanager
def _unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Put all attributes back if the body raises, KeyboardInterrupt included.

    Fitted attributes are replaced, never changed in place, so their references are enough.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _forget_fit(estimator: BaseEstimator) -> None:
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)
    vars(estimator).pop("_declared_classes", None)


def _check_alpha(alpha: Any) -> float:
    number = isinstance(alpha, Real) and not isinstance(alpha, bool)
    if not number or not 0 <= float(alpha) < np.inf:
        raise ValueError(f"alpha must be a number, finite and not negative; got {alpha!r}.")
    return float(alpha)
