"""What both estimators share: rows in, the solve for one penalty, predictions out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from parallel_ridge import solvers
from parallel_ridge.backends import Backend, get_backend
from parallel_ridge.backends.openmp import blas_threads
from parallel_ridge.caching import check_memory, fold_cached
from parallel_ridge.reductions import (
    SAMPLE_ROWS,
    MomentsReduction,
    NormalProductReduction,
    RowsReduction,
    StatisticsReduction,
    choose_shift,
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
    Target,
    check_weights,
    encode_labels,
    take_rows,
)
from parallel_ridge.statistics import SufficientStatistics

STATISTICS_SOLVERS = ("auto", "cholesky", "eigen")
ROW_SOLVERS = ("svd", "dual", "cg")
# Beyond this many rows and features a d x d or n x n matrix takes more than 3 GiB, and its
# factorisation minutes; conjugate gradients need neither.
LARGEST_SYSTEM = 20_000
# Rows a thread converts and multiplies at a time (in its cache), and rows it takes from the pile.
PREDICT_ROWS = 256
PART_ROWS = 4096


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
        """Check the options that both estimators have, and find the backend."""
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
        return get_backend(self.backend, self.n_jobs)

    def _read(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool, classes: Any = None
    ) -> tuple[ArraySource, Target, Any]:
        """Source and labels of validated rows; that they are finite is left to the pass."""
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
        return ArraySource(X, labels, check_weights(sample_weight, X.shape[0])), target, y

    def _read_to_fit(self, X: Any, y: Any, sample_weight: Any) -> tuple[ArraySource, Target, Any]:
        """As `_read`, for rows that must suffice for a fit."""
        source, target, y = self._read(X, y, sample_weight, reset=True)
        if len(target.classes) < 2 and not target.multilabel:
            raise ValueError(
                f"y has one class only, {target.classes.tolist()[0]!r}; a classifier needs "
                "at least 2 classes."
            )
        if not source.weight_sum() > 0.0:
            raise ValueError("All sample weights are zero: there is nothing to fit.")
        return source, target, y

    def _statistics(
        self, backend: Backend, source: ArraySource, reduction: StatisticsReduction
    ) -> SufficientStatistics:
        start = time.perf_counter()
        statistics = fold_cached(check_memory(self.memory), backend, reduction, source)
        self._say(f"folded {source.n_rows} rows of {source.n_features} features", start)
        return statistics

    def _reduction(
        self, source: ArraySource, target: Target, **options: Any
    ) -> StatisticsReduction:
        return StatisticsReduction.of(
            source,
            target,
            centre=self.fit_intercept,
            feature_names=getattr(self, "feature_names_in_", None),
            **options,
        )

    def _solve(
        self,
        backend: Backend,
        source: ArraySource,
        target: Target,
        alpha: float,
        solver: str,
        statistics: SufficientStatistics | None = None,
    ) -> tuple[Weights, str]:
        """Fold what the solver needs, and solve; the stable solver takes over where needed."""
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
        try:
            if solver in STATISTICS_SOLVERS:
                if statistics is None:
                    statistics = self._statistics(backend, source, self._reduction(source, target))
                return self._solve_statistics(statistics, alpha, solver), solver
            return getattr(self, f"_solve_{solver}")(backend, source, target, alpha), solver
        except IllConditioned as error:
            condition = error.condition
        # Out here, so that the failed system is freed before the other pass.
        statistics = None
        warn_caller(
            f"The system is ill-conditioned (condition number {condition:.1e}): solver {solver!r} "
            "would lose more than 8 digits. It was solved by 'svd', which takes another pass. Raise "
            "alpha, or set standardize=True, to avoid that.",
            IllConditionedWarning,
        )
        return self._solve_svd(backend, source, target, alpha), "svd"

    def _solve_statistics(
        self, statistics: SufficientStatistics, alpha: float, solver: str
    ) -> Weights:
        start = time.perf_counter()
        if self.store_statistics:
            self.statistics_ = statistics
        system = solvers.NormalEquations(
            statistics, self._problem(), overwrite=not self.store_statistics
        )
        if solver == "eigen":
            spectrum = system.spectrum(overwrite=True)
            if spectrum.condition(alpha) > solvers.CONDITION_LIMIT:
                raise IllConditioned(spectrum.condition(alpha))
            (weights,) = spectrum.weights([alpha])
        else:
            weights = system.solve_cholesky(alpha, overwrite=True)
        self._say(f"solved {statistics.n_features} equations", start)
        return weights

    def _solve_svd(
        self, backend: Backend, source: ArraySource, target: Target, alpha: float
    ) -> Weights:
        spectrum = solvers.fold_spectrum(backend.fold, source, target, self._problem())
        (weights,) = spectrum.weights([alpha])
        return weights

    def _solve_dual(
        self, backend: Backend, source: ArraySource, target: Target, alpha: float
    ) -> Weights:
        rows = backend.fold(RowsReduction(), source)
        return solvers.solve_dual(
            rows, len(target.classes), target.multilabel, alpha, self._problem()
        )

    def _solve_cg(
        self, backend: Backend, source: ArraySource, target: Target, alpha: float
    ) -> Weights:
        shift = np.zeros(source.n_features)
        if not source.sparse:
            shift = choose_shift(source.sample(SAMPLE_ROWS))
        moments = backend.fold(MomentsReduction(len(target.classes), shift), source)

        def product(V: NDArray[Any], mean: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
            value: NDArray[Any] = backend.fold(NormalProductReduction(V, mean, scale), source)
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
        X = validate_data(self, X, reset=False, accept_sparse="csr", ensure_all_finite=False)
        coef = np.atleast_2d(self.coef_).T

        def of_part(start: int) -> NDArray[Any]:
            part = take_rows(X, slice(start, min(start + PART_ROWS, X.shape[0])))
            dtype = np.result_type(coef, part.dtype)
            weights = coef.astype(dtype, copy=False)
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
                values[rows] = block @ weights
            values += self.intercept_
            if not np.isfinite(values).all():  # as is each row that is not
                raise_not_finite(
                    Block(
                        slice(start, start + len(values)), part, Labels(np.empty(0, np.int32)), None
                    )
                )
            return answer(values[:, 0] if self.coef_.ndim == 1 else values)

        backend = get_backend(self.backend, self.n_jobs)
        return np.concatenate(backend.map(of_part, range(0, X.shape[0], PART_ROWS)))

    def _say(self, what: str, start: float) -> None:
        if self.verbose:
            print(f"[{type(self).__name__}] {what} in {time.perf_counter() - start:.3f} s")


def times_class_weights(
    weights: NDArray[np.float64] | None,
    class_weight: Any,
    y: Any,
    rows: NDArray[np.intp] | None = None,
) -> NDArray[np.float64] | None:
    """Weights of rows times those of their classes, checked as they are.

    Parameters
    ----------
    rows : ndarray of int, default=None
        The rows that "balanced" refers to; others get weight zero.
    """
    if class_weight is None:
        return weights
    at: Any = slice(None) if rows is None else rows
    product = np.zeros(y.shape[0])
    product[at] = compute_sample_weight(class_weight, y[at])
    bad = np.flatnonzero(~(product >= 0.0) | np.isinf(product))
    if len(bad):
        raise ValueError(
            f"class_weight must be finite and not negative; row {bad[0]} gets {product[bad[0]]}."
        )
    if weights is not None:
        product *= weights
    return check_weights(product, len(product))


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
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


def forget_fit(estimator: BaseEstimator) -> None:
    """Remove all fitted attributes."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)
    vars(estimator).pop("_declared_classes", None)


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
