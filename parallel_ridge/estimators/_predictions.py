"""Predictions of a fitted ridge classifier, and the ways in which it travels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score
from sklearn.utils import gen_batches
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from parallel_ridge.backends import (
    Backend,
    OpenMPBackend,
    answering_backend,
    get_backend,
    public_call,
)
from parallel_ridge.estimators._array_api import (
    check_namespace,
    converter,
    in_numpy,
    namespace_of,
)
from parallel_ridge.estimators._checks import as_rows, check_features, is_empty
from parallel_ridge.estimators._exports import as_ridge_classifier
from parallel_ridge.estimators._twins import reads_whole
from parallel_ridge.reductions import LinearMap, answer_dtype, raise_not_finite
from parallel_ridge.sources import (
    Block,
    FeatureRows,
    Labels,
    check_sparse,
    check_weights,
    plain,
    take_rows,
)
from parallel_ridge.statistics import SufficientStatistics

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


class FittedClassifier(ClassifierMixin, BaseEstimator):
    """Answers to rows."""

    fit_intercept: bool
    class_weight: Any
    backend: str | Backend
    n_jobs: int | None
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
