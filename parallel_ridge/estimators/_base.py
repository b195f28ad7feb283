"""What both estimators share: rows in, the solve for one penalty, predictions out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial, wraps
from numbers import Integral, Real
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, compute_class_weight
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from parallel_ridge import solvers
from parallel_ridge.backends import Backend, Plan, get_backend, public_call
from parallel_ridge.backends.openmp import OpenMPBackend, blas_threads
from parallel_ridge.caching import check_memory, fold_cached
from parallel_ridge.frames import is_spark
from parallel_ridge.labels import plain
from parallel_ridge.numerics import EPSILON, REFINED
from parallel_ridge.reductions import (
    NormalProductReduction,
    RowsReduction,
    StatisticsReduction,
    coefficient_dtype,
    fold_statistics,
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
    Block,
    Labels,
    Source,
    Target,
    as_csr,
    check_sparse,
    check_weights,
    described,
    take_rows,
)
from parallel_ridge.statistics import SufficientStatistics

STATISTICS_SOLVERS = ("auto", "cholesky", "eigen")
ROW_SOLVERS = ("svd", "dual", "cg")
# Beyond this many rows and features a d x d or n x n matrix takes more than 3 GiB, and its
# factorisation minutes; conjugate gradients need neither.
LARGEST_SYSTEM = 20_000
# Beyond this many a factorisation takes seconds: then the cost of steps of conjugate gradients, of which
# an ill-conditioned system needs some thousand, is counted.
LARGE_SYSTEM = 5_000
CG_STEPS = 1000
# Options that may differ between processes: they change no result.
OWN_OPTIONS = ("backend", "n_jobs", "memory", "verbose")
# Rows that a thread takes from the pile, and how many it converts and multiplies at a time: some
# hundred KB of numbers, within its own cache, and few rows, which OpenBLAS multiplies the faster if
# classes are few too.
PART_ROWS = 2048
PREDICT_ROWS = 64
PREDICT_VALUES = 2**16


E = TypeVar("E", bound=BaseEstimator)
A = ParamSpec("A")
R = TypeVar("R")


def _twin(estimator: E) -> E:
    """A copy that shares all attributes, as they are at one moment.

    Fits replace an estimator's attributes all at once, and never change one in place.
    """
    twin = object.__new__(type(estimator))
    twin.__dict__ = dict(vars(estimator))
    return twin


def reads_whole(method: Callable[Concatenate[E, A], R]) -> Callable[Concatenate[E, A], R]:
    """A method that reads what a fit made: all from one fit, whatever other threads fit meanwhile."""

    @wraps(method)
    def read(self: E, /, *args: A.args, **kwargs: A.kwargs) -> R:
        return method(_twin(self), *args, **kwargs)

    return read


def fits_whole(method: Callable[Concatenate[E, A], E]) -> Callable[Concatenate[E, A], E]:
    """A method that fits, run on a twin whose attributes replace the estimator's at the end, all at once.

    If it raises, KeyboardInterrupt included, the estimator stays as it was; and of several threads that
    fit one estimator, the last one wins, whole.
    """

    @wraps(method)
    def fit(self: E, /, *args: A.args, **kwargs: A.kwargs) -> E:
        twin = _twin(self)
        with public_call(f"{type(self).__name__}.{method.__name__}"):
            method(twin, *args, **kwargs)
        # Options that were set meanwhile stay; what a fit makes has an underscore at either end.
        given = {name: value for name, value in vars(self).items() if name.strip("_") == name}
        self.__dict__ = vars(twin) | given
        return self

    return fit


class BaseRidgeClassifier(ClassifierMixin, BaseEstimator):
    """Predictions and solves of a ridge classifier."""

    fit_intercept: bool
    class_weight: Any
    standardize: bool
    objective: str
    backend: str | Backend
    n_jobs: int | None
    memory: Any
    store_statistics: bool
    verbose: int

    @reads_whole
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
        penalties = [check_alpha(alpha) for alpha in np.atleast_1d(np.asarray(alphas))]
        if not penalties:
            raise ValueError("alphas is empty.")
        backend = get_backend(self.backend, self.n_jobs)
        with blas_threads(backend.solve_threads()):
            path, _ = solvers.solve_path(self.statistics_, penalties, self._problem())
        coefs = np.array([weights.coef for weights in path], dtype=self.coef_.dtype)
        intercepts = np.array([weights.intercept for weights in path], dtype=self.coef_.dtype)
        return coefs[:, 0] if self.coef_.ndim == 1 else coefs, intercepts

    @reads_whole
    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Decision values of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or Spark DataFrame or RDD
            Rows; converted in blocks, never whole.

        Returns
        -------
        ndarray of shape (n,) for two classes, or (n, k)
            Positive where the (second) class is the more likely. Of a DataFrame, it with one more
            column, ``decision``, which is computed when it is asked for.
        """
        if is_spark(X):
            return self._in_spark(X, "decision_function", "decision")
        return self._by_rows(X, lambda values: values)

    @reads_whole
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Classes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or Spark DataFrame or RDD

        Returns
        -------
        ndarray of shape (n,), or (n, k) of 0 and 1 for multilabel targets
            Of a DataFrame, it with one more column, ``prediction``, which is computed when it is asked
            for; of an RDD of arrays, one of arrays.
        """
        check_is_fitted(self)
        if is_spark(X):
            return self._in_spark(X, "predict", "prediction")
        if self._multilabel:
            return self._by_rows(X, lambda values: (values > 0).astype(int))
        if self.coef_.ndim == 1:
            return self.classes_[self._by_rows(X, lambda values: (values > 0).astype(np.intp))]
        return self.classes_[self._by_rows(X, lambda values: values.argmax(axis=1))]

    @reads_whole
    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of the predictions: the part of the rows whose label is right.

        Where rows live in several processes, of the rows of all of them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or Spark DataFrame or RDD
        y : array-like of shape (n,), or indicator matrix of shape (n, k), or name of a column
            True labels; all k of a row must be right.
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        float
        """
        check_is_fitted(self)
        if is_spark(X):
            from parallel_ridge.estimators._spark import score

            return score(self._spark_backend(X), self, X, y, sample_weight)

        y = plain(y)

        def here() -> tuple[float, float]:
            if _is_empty(X) and _is_empty(y):  # others may have rows
                return 0.0, 0.0
            if sp.issparse(y):
                check_sparse(y, "y")
            weights = check_weights(sample_weight, _num_samples(y))
            options = {"sample_weight": weights, "normalize": False}
            right = accuracy_score(y, self.predict(X), **options)
            return right, accuracy_score(y, y, **options)

        with public_call(f"{type(self).__name__}.score"):
            parts = get_backend(self.backend, self.n_jobs, X).gather(here)
        right, total = (sum(numbers) for numbers in zip(*parts, strict=True))
        if not total:
            raise ValueError("There are no rows with a positive weight to score: 0 sample(s).")
        return float(right / total)

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: sparse rows and multilabel targets are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    def _in_spark(self, X: Any, method: str, name: str) -> Any:
        from parallel_ridge.estimators._spark import answer

        check_is_fitted(self)
        return answer(self, X, method, name)

    def _spark_backend(self, X: Any) -> Any:
        """The backend for rows in Spark: the one that was chosen, if it is for those."""
        from parallel_ridge.backends.spark import check_session, session_of

        check_session(session_of(X))
        backend = get_backend(self.backend, self.n_jobs, X)
        return backend if hasattr(backend, "fold_rows") else get_backend("auto", self.n_jobs, X)

    def _problem(self) -> Problem:
        return Problem(bool(self.fit_intercept), bool(self.standardize), self.objective == "mean")

    def _check_options(self) -> None:
        """Check the options that both estimators have."""
        check_choice("objective", self.objective, ("sum", "mean"))
        for name in ("fit_intercept", "standardize", "store_statistics"):
            check_flag(name, getattr(self, name))
        weight = self.class_weight
        known = weight is None or isinstance(weight, dict | list)
        if not known and not (isinstance(weight, str) and weight == "balanced"):
            raise ValueError(f"class_weight must be a dict, 'balanced' or None; got {weight!r}.")
        jobs = self.n_jobs
        if jobs is not None and (not isinstance(jobs, Integral) or jobs == 0):
            raise ValueError(f"n_jobs must be None or an integer other than 0; got {jobs!r}.")
        check_memory(self.memory)

    def _read(
        self,
        backend: Backend,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        reset: bool,
        classes: Any = None,
        state: Any = None,
        plan: Plan = Plan(),  # noqa: B008  # never changed
    ) -> tuple[Source, Target]:
        """Source of validated rows; that they are finite is left to the pass.

        `state` is what else processes must agree on.
        """

        def validate(X: Any, y: Any, empty: bool) -> tuple[Any, Any]:
            X, y = as_rows(X), plain(y)
            if sp.issparse(y):
                check_sparse(y, "y")
            common = {"reset": reset, "accept_sparse": "csr", "ensure_all_finite": False}
            if not empty or y is None or not _is_empty(y):
                return validate_data(self, X, y, multi_output=True, **common)
            X = validate_data(self, X, ensure_min_samples=0, **common)
            check_consistent_length(X, y)
            return X, y if hasattr(y, "shape") else np.asarray(y)

        def options() -> dict[str, str]:
            given = {k: v for k, v in self.get_params().items() if k not in OWN_OPTIONS}
            given |= {"whether statistics are kept": check_memory(self.memory) is not None}
            return {
                name: described(value) for name, value in {**given, "earlier rows": state}.items()
            }

        if is_spark(X) and not hasattr(backend, "fold_rows"):
            raise ValueError(
                f"X is a {type(X).__name__} of Spark, and backend={self.backend!r} reads arrays: choose "
                "'spark' or 'auto'."
            )
        source, target = backend.planned(plan).source(
            X, y, sample_weight=sample_weight, classes=classes, validate=validate, options=options
        )
        if source.n_rows == 0:
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {source.n_features})) while a minimum of 1 "
                f"is required by {type(self).__name__}."
            )
        if source.stays:
            self.feature_columns_ = source.columns
        return source, target

    def _read_to_fit(
        self, backend: Backend, X: Any, y: Any, sample_weight: Any, plan: Plan
    ) -> tuple[Source, Target]:
        """As `_read`, for rows that must suffice for a fit."""
        source, target = self._read(backend, X, y, sample_weight, reset=True, plan=plan)
        if len(target.classes) < 2 and not target.multilabel:
            raise ValueError(
                f"y has one class only, {target.classes.tolist()[0]!r}; a classifier needs "
                "at least 2 classes."
            )
        return source, target

    def _reweighted(self, source: Source, target: Target, class_weight: Any) -> Source:
        """The rows with the weights that a fit uses, some of them positive."""
        weighted = source.reweighted(class_weights(class_weight, target, source))
        if not weighted.weight_sum() > 0.0:
            of_classes = "" if class_weight is None else f" (class_weight={class_weight!r})"
            raise ValueError(f"All sample weights are zero{of_classes}: there is nothing to fit.")
        return weighted

    def _statistics(
        self, backend: Backend, source: Source, reduction: StatisticsReduction, n_groups: int = 0
    ) -> Any:
        """Statistics of a source, or a list of those of its groups, if their number is given."""
        start = time.perf_counter()
        fold = partial(fold_cached, check_memory(self.memory), backend)
        statistics, _ = fold_statistics(fold, reduction, source, n_groups)
        self._say(f"folded {source.n_rows} rows of {source.n_features} features", start)
        return statistics

    def _reduction(self, source: Source, target: Target, **options: Any) -> StatisticsReduction:
        return StatisticsReduction.of(
            source,
            target,
            centre=self._centred(),
            feature_names=getattr(self, "feature_names_in_", None),
            **options,
        )

    def _centred(self) -> bool:
        """Whether the solve needs sums about the means."""
        return bool(self.fit_intercept or self.standardize)

    def _solve(
        self,
        backend: Backend,
        source: Source,
        target: Target,
        alpha: float,
        solver: str,
        statistics: SufficientStatistics | None = None,
    ) -> tuple[Weights, str]:
        """Fold what the solver needs, and solve; the stable solver takes over where needed."""
        n, d = source.n_rows, source.n_features
        if solver == "auto":
            dual = not self.store_statistics and not source.stays
            large = source.sparse and min(n, d) > LARGE_SYSTEM
            solver = suitable_solver(n, d, source.stored() if large else n * d, dual)
        if self.store_statistics and solver not in STATISTICS_SOLVERS:
            raise ValueError(
                f"solver={solver!r} makes no statistics; with store_statistics=True choose one of "
                f"{STATISTICS_SOLVERS}."
            )
        try:
            if solver in STATISTICS_SOLVERS:
                return self._solve_statistics(
                    backend, source, target, alpha, solver, statistics
                ), solver
            return getattr(self, f"_solve_{solver}")(backend, source, target, alpha), solver
        except IllConditioned as error:
            what = str(error)
        # Out here, so that the failed system is freed before the other pass.
        statistics = None
        weights, off = self._solve_rows(backend, source, target, alpha)
        even = f", and even so may be off by {off:.0e} of its size" if off else ""
        warn_caller(
            f"The system is ill-conditioned ({what}): solver {solver!r} would lose more than 8 digits. "
            f"It was solved by 'svd', which takes another pass{even}. Raise alpha, or set "
            "standardize=True, to avoid that.",
            IllConditionedWarning,
        )
        return weights, "svd"

    def _solve_statistics(
        self,
        backend: Backend,
        source: Source,
        target: Target,
        alpha: float,
        solver: str,
        statistics: SufficientStatistics | None,
        double: bool = False,
        shift: NDArray[np.float64] | None = None,
    ) -> Weights:
        """Weights from statistics, which are folded if not given; with more passes if need be."""
        reduction = self._reduction(source, target, double=double, shift=shift)
        if statistics is None:
            statistics = self._statistics(backend, source, reduction)
        if self.store_statistics:
            self.statistics_ = statistics
        solve = partial(self._solve_system, alpha=alpha, solver=solver)
        try:
            means = statistics.means
            (found,) = backend.map(solve, [statistics])
            weights, factor = found
            if factor is not None:
                weights = self._refine(backend, source, target, factor, weights)
            return weights
        except IllConditioned:
            if reduction.work_dtype != np.float32:
                raise
        # Products of float32 rows, formed in float64, lose nothing.
        return self._solve_statistics(
            backend, source, target, alpha, solver, None, double=True, shift=means
        )

    def _solve_system(
        self, statistics: SufficientStatistics, alpha: float, solver: str
    ) -> tuple[Weights, solvers.CholeskyFactor | None]:
        start = time.perf_counter()
        found: tuple[Weights, solvers.CholeskyFactor | None]
        overwrite = not self.store_statistics
        if solver == "eigen":
            system = solvers.NormalEquations(statistics, self._problem(), overwrite=overwrite)
            spectrum = system.spectrum(overwrite=True)
            if spectrum.condition(alpha) > system.limit(alpha):
                raise IllConditioned(spectrum.condition(alpha), system.lost(alpha))
            found = spectrum.weights([alpha])[0], None
        else:
            found = solvers.solve_refined(statistics, alpha, self._problem(), overwrite)
        self._say(f"solved {statistics.n_features} equations", start)
        return found

    def _refine(
        self,
        backend: Backend,
        source: Source,
        target: Target,
        factor: solvers.CholeskyFactor,
        weights: Weights,
    ) -> Weights:
        """Weights corrected by passes over the rows."""
        start = time.perf_counter()
        k = len(target.classes)
        ones = np.ones(source.n_features)
        target_means = factor.target_means if self.fit_intercept else np.zeros(len(weights.coef))
        # In standard deviations (or less, of columns that the penalty outweighs).
        distances = np.zeros(source.n_features)
        distances[factor.varies] = factor.scale
        distances *= np.abs(factor.means) * source.weight_sum() ** 0.5
        centred = bool((distances > 10.0).any())

        offset = factor.offset / source.weight_sum()

        def residual(coef: NDArray[np.float64]) -> NDArray[np.float64]:
            targets = solvers.n_targets(k, target.multilabel)
            reduction = NormalProductReduction(
                coef.T,
                factor.means,
                ones,
                centred,
                target_means,
                k,
                targets,
                distances > 1.0,
                offset,
            )
            left: NDArray[np.float64] = backend.fold(reduction, source).T
            return left - factor.penalty * coef

        accuracy = REFINED[str(coefficient_dtype(source.dtype))]
        rounding = EPSILON * (factor.squares * source.weight_sum()) ** 0.5
        weights = solvers.refine(factor, weights.coef, residual, backend.map, accuracy, rounding)
        self._say("refined the solution", start)
        return weights

    def _solve_rows(
        self, backend: Backend, source: Source, target: Target, alpha: float
    ) -> tuple[Weights, float]:
        """Weights from the rows themselves, and their error if it is more than it may be, or 0."""
        ((weights, error),) = solvers.fold_path(backend, source, target, self._problem(), [alpha])
        fine = error <= REFINED[str(coefficient_dtype(source.dtype))]
        return weights, 0.0 if fine else min(error, 1.0)

    def _solve_svd(self, backend: Backend, source: Source, target: Target, alpha: float) -> Weights:
        weights, error = self._solve_rows(backend, source, target, alpha)
        if error:
            warn_caller(
                "The rows do not determine the solution: rounding in them may change it by "
                f"{error:.0e} of its size, whatever the solver (directions of the rows that are nothing "
                "but rounding were left out). Raise alpha, or remove collinear columns.",
                IllConditionedWarning,
            )
        return weights

    def _solve_dual(
        self, backend: Backend, source: Source, target: Target, alpha: float
    ) -> Weights:
        def solve(rows: list[Block]) -> Weights:
            return solvers.solve_dual(
                rows, len(target.classes), target.multilabel, alpha, self._problem()
            )

        (weights,) = backend.map(solve, [backend.fold(RowsReduction(), source)])
        return weights

    def _solve_cg(self, backend: Backend, source: Source, target: Target, alpha: float) -> Weights:
        moments, shift = solvers.fold_moments(backend, source, len(target.classes))
        full = shift != 0.0

        def product(V: NDArray[Any], mean: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
            offset = None
            if self.fit_intercept:
                offset = moments.feature_sums / moments.weight_sum - (mean - shift)
            reduction = NormalProductReduction(V, mean, scale, full=full, offset=offset)
            value: NDArray[Any] = backend.fold(reduction, source)
            return value

        return solvers.solve_conjugate_gradients(
            moments, shift, product, target.multilabel, alpha, self._problem()
        )

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
        X = as_rows(X)
        X = validate_data(self, X, reset=False, accept_sparse="csr", ensure_all_finite=False)
        coef = np.atleast_2d(self.coef_).T

        def of_part(start: int) -> NDArray[Any]:
            part = take_rows(X, slice(start, min(start + PART_ROWS, X.shape[0])))
            dtype = np.result_type(coef, part.dtype)
            weights = coef.astype(dtype, copy=False)
            values = np.empty((part.shape[0], coef.shape[1]), dtype)
            step, buffer = len(values), None
            if isinstance(part, np.ndarray):
                few = max(PREDICT_ROWS, 2 * coef.shape[1], PREDICT_VALUES // (part.shape[1] + 1))
                step = min(step, few)
                if part.dtype != dtype:
                    buffer = np.empty((step, part.shape[1]), dtype)
            for first in range(0, len(values), step):
                rows = slice(first, min(first + step, len(values)))
                block = take_rows(part, rows)
                if buffer is not None:
                    block = buffer[: len(block)]
                    np.copyto(block, part[rows])
                values[rows] = block @ weights
            values += self.intercept_
            if not np.isfinite(values).all():  # as is each row that is not
                raise_not_finite(
                    Block(
                        slice(start, start + len(values)), part, Labels(np.empty(0, np.int32)), None
                    )
                )
            return answer(values[:, 0] if self.coef_.ndim == 1 else values)

        # Rows are answered where they are: there is nothing to share with other processes.
        threads = OpenMPBackend(get_backend(self.backend, self.n_jobs).solve_threads())
        return np.concatenate(threads.map(of_part, range(0, X.shape[0], PART_ROWS)))

    def _say(self, what: str, start: float) -> None:
        if self.verbose:
            print(f"[{type(self).__name__}] {what} in {time.perf_counter() - start:.3f} s")


def suitable_solver(n_rows: int, n_features: int, n_values: int, dual: bool) -> str:
    """What ``solver="auto"`` means: the smaller of the two systems, unless it is too large or costs more.

    A system costs a third of its order cubed once; conjugate gradients four multiplications for each
    value of the rows, at a tenth of the speed where these are sparse, for each of as many steps as a
    small penalty asks for (`CG_STEPS`).

    Parameters
    ----------
    n_values : int
        Values that rows hold: fewer than n d where many are zeros that are not stored.
    dual : bool
        Whether the n x n system may be used, which needs all rows in one process and keeps no statistics.
    """
    primal = n_features <= LARGEST_SYSTEM and (n_rows >= n_features or not dual)
    order = n_features if primal else n_rows
    if not primal and not (dual and n_rows <= LARGEST_SYSTEM):
        return "cg"
    sparse = n_values < n_rows * n_features
    if sparse and order > LARGE_SYSTEM and 40 * CG_STEPS * n_values < order**3 / 3:
        return "cg"
    return "cholesky" if primal else "dual"


def class_weights(class_weight: Any, target: Target, source: Source) -> NDArray[np.float64] | None:
    """Weights of the classes of a source's rows, as scikit-learn understands them.

    Returns
    -------
    ndarray of shape (k,), or (k, 2) for multilabel targets, or None
        See `Labels.weights`.

    Raises
    ------
    ValueError
        If they name a class that no row has, or are not finite and positive or zero.
    """
    if class_weight is None:
        return None
    counts = source.class_counts(len(target.classes))
    if not target.multilabel:
        table = _weights_of(class_weight, target.classes, counts)
    else:
        given = [class_weight] * len(counts) if isinstance(class_weight, str) else class_weight
        if isinstance(given, dict) and len(counts) > 1:
            raise ValueError(
                "For multilabel targets, class_weight is a list of dict, one for each label; got one "
                "dict."
            )
        given = [given] if isinstance(given, dict) else given
        if len(given) != len(counts):
            raise ValueError(
                f"class_weight has {len(given)} elements, and there are {len(counts)} labels."
            )
        table = np.array(
            [
                _weights_of(weight, np.array([0, 1]), np.array([source.n_rows - count, count]))
                for weight, count in zip(given, counts, strict=True)
            ]
        )
    bad = np.argwhere(~(table >= 0.0) | np.isinf(table))
    if len(bad):
        label, value = target.classes[bad[0][0]], table[tuple(bad[0])]
        raise ValueError(
            f"class_weight must be finite and not negative; class {label!r} gets {value}."
        )
    return table


def _weights_of(
    class_weight: Any, classes: NDArray[Any], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A weight for each class; zero for those without rows."""
    present, table = counts > 0, np.zeros(len(classes))
    if isinstance(class_weight, str):
        table[present] = counts.sum() / (present.sum() * counts[present])
    else:
        found = classes[present]
        table[present] = compute_class_weight(class_weight, classes=found, y=found)
    return table


def _is_empty(rows: Any) -> bool:
    shape = getattr(rows, "shape", None)
    return (shape[0] if shape else len(rows) if hasattr(rows, "__len__") else 1) == 0


def forget_fit(estimator: BaseEstimator) -> None:
    """Remove all fitted attributes."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)
    vars(estimator).pop("_declared_classes", None)


def as_rows(X: Any) -> Any:
    """Sparse rows as CSR, all others as they are.

    Raises
    ------
    ValueError
        For arrays that are no rows of numbers, with what scikit-learn's error leaves out, and for
        damaged sparse matrices (see `check_sparse`).
    """
    if sp.issparse(X):
        return as_csr(X)
    if not isinstance(X, np.ndarray):
        return X
    if X.ndim > 2:
        raise ValueError(
            f"Found array with dim {X.ndim}, of shape {X.shape}, while dim <= 2 is required: "
            "flatten each sample into a row, X.reshape(len(X), -1)."
        )
    if X.dtype.kind in "SU" and X.size:
        raise ValueError(
            f"X must hold numbers, and holds strings: {X.flat[0].item()!r} in row 0, column 0. Convert "
            "it, as by X.astype(float) or an encoder."
        )
    return X


def check_alpha(alpha: Any) -> float:
    """A penalty as a float."""
    number = isinstance(alpha, Real) and not isinstance(alpha, bool)
    if not number or not 0 <= float(alpha) < np.inf:
        raise ValueError(f"alpha must be a number, finite and not negative; got {alpha!r}.")
    return float(alpha)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless an option is one of the known ones."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not known; choose one of {choices}.")


def check_flag(name: str, value: Any) -> None:
    """Raise unless an option is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False; got {value!r}.")
