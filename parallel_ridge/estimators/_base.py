"""What both estimators share in a fit: rows in, the solve for one penalty."""

from __future__ import annotations

import time
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from parallel_ridge.backends import Backend, Request, described, get_backend
from parallel_ridge.caching import check_memory, fold_cached
from parallel_ridge.estimators._checks import (
    as_rows,
    check_alphas,
    check_choice,
    check_features,
    check_flag,
    class_weights,
    is_empty,
)
from parallel_ridge.estimators._predictions import FittedClassifier
from parallel_ridge.fitting import Job
from parallel_ridge.reductions import StatisticsOptions
from parallel_ridge.solvers import Problem, Solution, solve_path
from parallel_ridge.sources import FeatureRows, Source, Target, check_sparse, plain
from parallel_ridge.threads import blas_threads

# Options that may differ between processes: they change no result.
OWN_OPTIONS = ("backend", "n_jobs", "memory", "verbose")


class BaseRidgeClassifier(FittedClassifier):
    """Reading of rows, and solves, of a ridge classifier."""

    standardize: bool
    objective: str
    memory: Any
    store_statistics: bool

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
