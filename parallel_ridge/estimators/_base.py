"""What both estimators share: rows in, the solve for one penalty, predictions out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, gen_batches
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from parallel_ridge.backends import (
    Backend,
    OpenMPBackend,
    Request,
    answering_backend,
    described,
    get_backend,
    public_call,
)
from parallel_ridge.caching import check_memory, fold_cached
from parallel_ridge.estimators._array_api import (
    check_namespace,
    converter,
    in_numpy,
    namespace_of,
)
from parallel_ridge.estimators._checks import (
    as_rows,
    check_alphas,
    check_choice,
    check_features,
    check_flag,
    class_weights,
    is_empty,
)
from parallel_ridge.estimators._exports import as_ridge_classifier
from parallel_ridge.estimators._twins import reads_whole
from parallel_ridge.fitting import Job
from parallel_ridge.reductions import (
    LinearMap,
    StatisticsOptions,
    answer_dtype,
    raise_not_finite,
)
from parallel_ridge.solvers import Problem, Solution, solve_path
from parallel_ridge.sources import (
    Block,
    FeatureRows,
    Labels,
    Source,
    Target,
    check_sparse,
    check_weights,
    plain,
    take_rows,
)
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.threads import blas_threads

# Options that may differ between processes: they change no result.
OWN_OPTIONS = ("backend", "n_jobs", "memory", "verbose")
# Rows that Python converts, multiplies as sparse, or searches for what is not finite, at a time.
PART_ROWS = 2048
# Predictions: multiplications that one thread does in a ms or two, while a second one may wait as long
# for threads of BLAS that still spin; and those between two looks for Ctrl-C.
ONE_THREAD = 2**23
ONE_CALL = 2**35


# Raised when pickles of a version cannot be read by earlier ones.
PICKLE_FORMAT = 1


@cache
def _installed() -> str:
    return version("parallel-ridge")


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
    # What a fit sets.
    coef_: NDArray[Any]
    intercept_: Any
    classes_: NDArray[Any]
    n_features_in_: int
    feature_names_in_: NDArray[Any]
    feature_columns_: tuple[str, ...]
    n_iter_: NDArray[np.int64] | None
    solver_: str
    statistics_: SufficientStatistics
    _multilabel: bool

    def coef_path(self, alphas: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Coefficients for many penalties, without another pass over the rows.

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
        statistics = getattr(self, "statistics_", None)
        if statistics is None:
            raise AttributeError(
                "coef_path needs the sufficient statistics, and this fit kept none: set "
                "store_statistics=True before fit."
            )
        penalties = check_alphas(alphas)
        if not penalties:
            raise ValueError("alphas is empty.")
        backend = get_backend(self.backend, self.n_jobs)
        with blas_threads(backend.solve_threads()):
            path, _ = solve_path(statistics, penalties, self._problem())
        coefs = np.array([weights.coef for weights in path], dtype=statistics.dtype)
        intercepts = np.array([weights.intercept for weights in path], dtype=statistics.dtype)
        binary = statistics.n_classes == 2 and not statistics.multilabel
        return coefs[:, 0] if binary else coefs, intercepts

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
            Positive where the (second) class is more likely. For a DataFrame, the DataFrame with an
            extra column ``decision``, evaluated lazily.
        """
        return self._answer(X, "decision_function", "decision")

    @reads_whole
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Classes of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or Spark DataFrame or RDD

        Returns
        -------
        ndarray of shape (n,), or (n, k) of 0 and 1 for multilabel targets
            For a DataFrame, the DataFrame with an extra column ``prediction``, evaluated lazily; for an
            RDD of arrays, an RDD of arrays.
        """
        return self._answer(X, "predict", "prediction")

    @reads_whole
    def score(
        self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Accuracy of the predictions: the fraction of rows whose label is right.

        If rows live in several processes, it covers the rows of all of them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or Spark DataFrame or RDD
        y : array-like of shape (n,), or indicator matrix of shape (n, k), or name of a column
            True labels; all k of a row must be right. Omitted for batches and RDDs, which hold both.
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        float
        """
        check_is_fitted(self)
        check_namespace(self, "score", X)
        convert = converter(self, X)
        rows = convert(X)
        with public_call(f"{type(self).__name__}.score"):
            backend = answering_backend(self.backend, self.n_jobs, rows)
            score = backend.score(in_numpy(self), rows, convert(y), convert(sample_weight))
        if np.isnan(score):
            raise ValueError("There are no rows with a positive weight to score: 0 sample(s).")
        return score

    @reads_whole
    def to_sklearn(self) -> RidgeClassifier:
        """A fitted RidgeClassifier of scikit-learn with the same answers.

        For places where this library is not installed: its pickle needs scikit-learn alone.

        Returns
        -------
        sklearn.linear_model.RidgeClassifier
            ``alpha`` is the penalty of this fit, as ``objective`` means it. Probabilities stay behind.
        """
        check_is_fitted(self)
        return as_ridge_classifier(in_numpy(self))

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: sparse rows, multilabel targets and arrays of any library are welcome."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Pickle with the version that wrote it."""
        return dict(super().__getstate__()) | {"_saved_by": (PICKLE_FORMAT, _installed())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle what this version or an earlier one has written.

        Raises
        ------
        ValueError
            If a later version has, whose attributes may mean something else.
        """
        format, saved_by = state.get("_saved_by", (1, "an early version"))
        if format > PICKLE_FORMAT:
            raise ValueError(
                f"This {type(self).__name__} was pickled by parallel_ridge {saved_by}, and "
                f"{_installed()} is installed here, which cannot read it: upgrade parallel_ridge, or "
                "convert the model with to_sklearn() there."
            )
        super().__setstate__({k: value for k, value in state.items() if k != "_saved_by"})

    def _answer(self, X: Any, method: str, column: str) -> Any:
        """The answer of a method to rows, from the backend that reads them."""
        check_is_fitted(self)
        check_namespace(self, method, X)
        namespace, rows = namespace_of(X), converter(self, X)(X)
        backend = answering_backend(self.backend, self.n_jobs, rows)
        answers = backend.predict(in_numpy(self), method, rows, column)
        return answers if namespace is None else namespace.array(answers)

    def _decision_function(self, X: Any) -> NDArray[Any]:
        X, linear = self._check_rows(X), self._linear()
        shape = X.shape[0], len(linear.intercepts)
        out = np.empty(shape, answer_dtype(X.dtype, self.coef_.dtype))

        def write(part: Any, rows: slice, n_threads: int) -> int:
            return linear.values(part, out[rows], n_threads)

        self._by_parts(X, write)
        return out[:, 0] if self.coef_.ndim == 1 else out

    def _predict(self, X: Any) -> NDArray[Any]:
        X, linear = self._check_rows(X), self._linear()
        # Labels of eight bytes are written at once, others are looked up.
        at_once = self.classes_.dtype.itemsize == 8 and self.classes_.dtype.kind != "O"
        table = None
        if at_once and not self._multilabel:
            table = np.ascontiguousarray(self.classes_).view(np.int64)
        n_targets = 1 if self._multilabel else len(linear.intercepts)
        codes = np.empty((X.shape[0], len(linear.intercepts) // n_targets), np.int64)

        def write(part: Any, rows: slice, n_threads: int) -> int:
            return linear.codes(part, n_targets, codes[rows], table, n_threads)

        self._by_parts(X, write)
        if self._multilabel:
            return codes.astype(int, copy=False)
        answers: NDArray[Any] = codes[:, 0]
        return answers.view(self.classes_.dtype) if at_once else self.classes_[answers]

    def _linear(self) -> LinearMap:
        """The fitted decision values."""
        coefs = np.atleast_2d(self.coef_)
        intercepts = np.zeros(len(coefs), coefs.dtype)
        intercepts[:] = self.intercept_
        return LinearMap(coefs, intercepts)

    def _count_right(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        predict: Callable[[Any], Any] | None = None,
    ) -> tuple[float, float]:
        """Weight of this process's rows that ``predict`` answers right, and of all of its rows."""
        if is_empty(X) and is_empty(y):  # other processes may have rows
            return 0.0, 0.0
        if y is None:
            raise ValueError("y is missing: pass the labels of the rows of X.")
        y = plain(y)
        if sp.issparse(y):
            check_sparse(y, "y")
        weights = check_weights(sample_weight, _num_samples(y))
        options = {"sample_weight": weights, "normalize": False}
        right = accuracy_score(y, (predict or self._predict)(X), **options)
        return right, accuracy_score(y, y, **options)

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
        reset: bool = True,
        state: Any = None,
        **request: Any,
    ) -> tuple[Source, Target]:
        """Validate rows and make them a source; the pass over the rows checks that they are finite.

        `state` is further state that processes must agree on; `request` holds more fields of `Request`.
        """

        def validate(X: Any, y: Any, empty: bool) -> tuple[Any, Any]:
            X, y = as_rows(X), plain(y)
            if sp.issparse(y):
                check_sparse(y, "y")
            if isinstance(X, FeatureRows):
                check_features(self, X, reset)
                check_consistent_length(X, y)
                return X, y if y is None or hasattr(y, "shape") else np.asarray(y)
            common = {"reset": reset, "accept_sparse": "csr", "ensure_all_finite": False}
            if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "bui" and len(y):
                X = validate_data(self, X, **common)  # these labels need no checks
                check_consistent_length(X, y)
                return X, y
            if not empty or y is None or not is_empty(y):
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

        source, target = backend.source(
            Request(X, y, sample_weight, validate=validate, options=options, **request)
        )
        if source.n_rows == 0:
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {source.n_features})) while a minimum of 1 "
                f"is required by {type(self).__name__}."
            )
        if source.columns is not None:
            self.feature_columns_ = source.columns
        return source, target

    def _read_to_fit(
        self, backend: Backend, X: Any, y: Any, sample_weight: Any, **request: Any
    ) -> tuple[Source, Target]:
        """As `_read`, but raise if the rows do not suffice for a fit."""
        source, target = self._read(backend, X, y, sample_weight, **request)
        if len(target.classes) < 2 and not target.multilabel:
            raise ValueError(
                f"y has one class only, {target.classes.tolist()[0]!r}; a classifier needs "
                "at least 2 classes."
            )
        return source, target

    def _reweighted(self, source: Source, target: Target, class_weight: Any) -> Source:
        """The rows with the sample weights for a fit; raise if none is positive."""
        weighted = source.reweighted(class_weights(class_weight, target, source))
        if not weighted.weight_sum() > 0.0:
            of_classes = "" if class_weight is None else f" (class_weight={class_weight!r})"
            raise ValueError(f"All sample weights are zero{of_classes}: there is nothing to fit.")
        return weighted

    def _options(self, **options: Any) -> StatisticsOptions:
        """Options of the statistics."""
        return StatisticsOptions(
            centre=self._centred(),
            feature_names=getattr(self, "feature_names_in_", None),
            **options,
        )

    def _job(
        self, backend: Backend, source: Source, target: Target, options: StatisticsOptions
    ) -> Job:
        """A fit to a source."""
        fold = partial(fold_cached, check_memory(self.memory), backend)
        keep = bool(self.store_statistics)
        return Job(backend, source, target, self._problem(), options, fold, keep, self._say)

    def _centred(self) -> bool:
        """Whether the solve needs sums about the means."""
        return bool(self.fit_intercept or self.standardize)

    def _set_weights(self, weights: Solution, dtype: np.dtype[Any], multilabel: bool) -> None:
        self.__dict__.update(
            fitted_weights(weights, len(self.classes_), dtype, multilabel, bool(self.fit_intercept))
        )

    def _check_rows(self, X: Any) -> Any:
        if isinstance(X, FeatureRows):
            check_features(self, X, reset=False)
            return X
        return validate_data(
            self, as_rows(X), reset=False, accept_sparse="csr", ensure_all_finite=False
        )

    def _by_parts(self, X: Any, write: Callable[[Any, slice, int], int]) -> None:
        """Call ``write(part, rows, n_threads)`` on all rows; raise if some are not finite."""
        n = X.shape[0]
        n_threads, work = 1, X.shape[1] * (self.coef_.size // X.shape[1] + 8)
        if n * work > ONE_THREAD:
            # Each process answers for its own rows, so there is nothing to share.
            n_threads = get_backend(self.backend, self.n_jobs).solve_threads()

        def part(rows: slice, n_threads: int = 1) -> None:
            bad = rows.start + write(take_rows(X, rows), rows, n_threads)
            if bad < rows.stop:
                first = bad // PART_ROWS * PART_ROWS
                some = slice(first, min(first + PART_ROWS, n))
                labels = Labels(np.empty(0, np.int32))
                raise_not_finite(Block(some, take_rows(X, some), labels, None))

        if isinstance(X, FeatureRows):  # what makes them may have threads of its own
            for rows in gen_batches(n, X.block_rows):
                part(rows, n_threads)
        elif LinearMap.reads(X):
            n_parts = max(1, n * work // ONE_CALL)
            for i in range(n_parts):  # of even sizes: a few rows sum in another order
                part(slice(n * i // n_parts, n * (i + 1) // n_parts), n_threads)
        elif n <= PART_ROWS:
            part(slice(0, n))
        else:
            OpenMPBackend(n_threads).map(part, gen_batches(n, PART_ROWS))

    def _say(self, what: str, start: float) -> None:
        if self.verbose:
            print(f"[{type(self).__name__}] {what} in {time.perf_counter() - start:.3f} s")


def fitted_weights(
    weights: Solution, n_classes: int, dtype: np.dtype[Any], multilabel: bool, fit_intercept: bool
) -> dict[str, Any]:
    """Fitted attributes of a solution, by name."""
    coef = weights.coef.astype(dtype, order="C")  # as predictions read them
    return {
        "coef_": coef[0] if n_classes == 2 and not multilabel else coef,
        "intercept_": weights.intercept.astype(dtype) if fit_intercept else 0.0,
        "n_iter_": weights.n_iter,
        "_multilabel": multilabel,
    }
