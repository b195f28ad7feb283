"""Scores from confusion counts and decision values, and probabilities from decision values."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import check_scoring
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if

from parallel_ridge.sources import Target

# These compare decision values with the targets -1 and 1; all others judge classes.
ERROR_SCORES = ("neg_mean_squared_error", "neg_root_mean_squared_error", "r2")
# Margins beyond this mark a class that was absent from the training set.
ABSENT_BEYOND = 1e8


class _Held(ClassifierMixin, BaseEstimator):
    """Stand-in for the model in a scorer's eyes: its X are the held-out answers."""

    def __init__(self, target: Target, scale: float | None = None) -> None:
        self.target = target
        self.scale = scale
        self.classes_ = target.classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Classes of positions in the classes, or of decision values."""
        if self.target.multilabel:
            return (X > 0).astype(int)
        if X.dtype.kind == "f":
            X = (X > 0).astype(np.intp) if X.ndim == 1 else X.argmax(axis=1)
        classes: NDArray[Any] = self.classes_[X]
        return classes

    def decision_function(self, X: NDArray[Any]) -> NDArray[Any]:
        """Decision values."""
        return X

    @available_if(lambda self: self.scale is not None)
    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        """Probabilities of decision values."""
        assert self.scale is not None
        return probabilities(X, self.scale, self.target.multilabel)


@dataclass(frozen=True)
class Scoring:
    """How to score held-out rows.

    Attributes
    ----------
    name : str or None
        For messages; None is the squared error of leave-one-out.
    kind : {"errors", "accuracy", "labels", "decisions"}
        What scores are made from: squared errors, numbers of right predictions, confusion counts or
        decision values.
    scorer : callable
        ``scorer(estimator, X, y)``; not used for errors and accuracy.
    needs_scale : bool
        Whether the scorer wants probabilities.
    weighted : bool
        Whether the scorer takes sample weights.
    """

    name: str | None
    kind: str
    scorer: Any = None
    needs_scale: bool = False
    weighted: bool = True

    @classmethod
    def of(
        cls,
        scoring: Any,
        estimator: Any,
        *,
        leave_one_out: bool,
        multilabel: bool,
        probability: bool,
    ) -> Scoring:
        """The scoring that the parameter ``scoring`` stands for.

        Raises
        ------
        ValueError
            If it is unknown, or needs probabilities and ``probability`` is False.
        """
        if scoring is None and leave_one_out:
            return cls(None, "errors")
        scoring = "accuracy" if scoring is None else scoring
        if isinstance(scoring, str) and scoring in ERROR_SCORES:
            return cls(scoring, "errors")
        scorer = _scorer(estimator, scoring)
        name = scoring if isinstance(scoring, str) else repr(scoring)
        weighted = _takes_weights(scorer)
        if scoring == "accuracy" and not multilabel:
            return cls(name, "accuracy", weighted=weighted)
        method = _response_method(scorer, probability)
        if method is None:  # a user's function, which may call any method
            return cls(name, "decisions", scorer, probability, weighted)
        if method == "predict_proba" and not probability:
            raise ValueError(f"scoring={name} needs probabilities: set probability=True.")
        if method == "predict" and not multilabel:
            return cls(name, "labels", scorer, weighted=weighted)
        return cls(name, "decisions", scorer, method == "predict_proba", weighted)

    def of_counts(
        self,
        counts: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]],
        target: Target,
    ) -> float:
        """Score from the counts of pairs of true and predicted classes."""
        true, predicted, weights = counts
        labels = target.classes[true]
        if self.weighted:
            return self._score(predicted, labels, _Held(target), sample_weight=weights)
        # Expand the counts to one pair per row, for scorers without sample_weight.
        return self._score(np.repeat(predicted, weights), np.repeat(labels, weights), _Held(target))

    def of_values(
        self, values: NDArray[Any], y: Any, target: Target, weights: Any, scale: float | None
    ) -> float:
        """Score of decision values."""
        if values.shape[1] == 1 and not target.multilabel:
            values = values[:, 0]
        extra = {} if weights is None else {"sample_weight": weights}
        return self._score(values, y, _Held(target, scale), **extra)

    def _score(self, X: NDArray[Any], y: Any, held: _Held, **extra: Any) -> float:
        score = self.scorer(held, X, y, **extra)
        if not isinstance(score, Real | np.number) or isinstance(score, complex):
            raise ValueError(f"scoring={self.name} must give one number; it gave {score!r}.")
        return float(score)


def _scorer(estimator: Any, scoring: Any) -> Any:
    if not isinstance(scoring, str) and not callable(scoring):
        raise ValueError(f"scoring must be one name, a callable or None; got {scoring!r}.")
    return check_scoring(estimator, scoring=scoring)


def _response_method(scorer: Any, probability: bool) -> str | None:
    """The method that a scorer calls: the first in its list that the estimator has."""
    methods = getattr(scorer, "_response_method", None)
    if methods is None:
        return None
    methods = [methods] if isinstance(methods, str) else list(methods)
    return next((m for m in methods if m != "predict_proba" or probability), "predict_proba")


def _takes_weights(scorer: Any) -> bool:
    """Whether to pass sample weights to a scorer.

    With metadata routing its own request decides, if there is one.
    """
    accepts = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
    if "sample_weight" not in accepts:
        return False
    if not sklearn.get_config().get("enable_metadata_routing"):
        return True
    request = get_routing_for_object(scorer).score.requests.get("sample_weight")
    return request in (None, True)


@contextmanager
def locating(text: str) -> Iterator[None]:
    """Add the place to the message of an error; its type does not change."""
    try:
        yield
    except Exception as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (f"{error.args[0]} ({text})", *error.args[1:])
        else:
            error.add_note(text)
        raise


def log_probabilities(values: NDArray[Any], scale: float, multilabel: bool) -> NDArray[np.float64]:
    """Logarithms of `probabilities`."""
    scaled = np.asarray(values, dtype=np.float64) * scale
    if multilabel:
        return np.asarray(scipy.special.log_expit(2.0 * scaled))
    if scaled.ndim == 1 or scaled.shape[1] == 1:
        margin = 2.0 * scaled.reshape(-1)
        return np.column_stack([scipy.special.log_expit(-margin), scipy.special.log_expit(margin)])
    return np.asarray(scipy.special.log_softmax(scaled, axis=1))


def probabilities(values: NDArray[Any], scale: float, multilabel: bool) -> NDArray[np.float64]:
    """Probabilities, shape (n, k): a softmax of the decision values, or one logistic per label.

    A binary decision value belongs to the second class; its negative belongs to the first.
    """
    return np.exp(log_probabilities(values, scale, multilabel))


def fit_scale(
    values: NDArray[Any],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    multilabel: bool,
) -> float:
    """The factor of held-out decision values that minimises their log-loss.

    Parameters
    ----------
    values, targets : ndarray of shape (n, t)
        Decision values, and +1 or -1. Multilabel columns and a single column are judged one by one;
        otherwise the classes of a row compete.
    weights : ndarray of shape (n,)

    References
    ----------
    Dempster, Webb and Schmidt (2024), Prevalidated ridge regression is a highly-efficient drop-in
    replacement for logistic regression for high-dimensional data, arXiv:2401.15610.
    """
    values = np.asarray(values, dtype=np.float64)
    competing = values.shape[1] > 1 and not multilabel
    if competing:
        margins = np.take_along_axis(values, targets.argmax(axis=1)[:, None], axis=1) - values
    else:
        margins = 2.0 * values * targets
    # Ignore rows whose class was absent from their training set.
    known = (margins.min(axis=1) > -ABSENT_BEYOND) & (weights > 0.0)
    margins, weights = margins[known], weights[known]
    finite = np.minimum(np.abs(margins), ABSENT_BEYOND)
    size = np.sqrt(
        np.mean(np.square(finite, where=finite < ABSENT_BEYOND, out=np.zeros_like(finite)))
    )
    if not size > 0.0:
        return 1.0

    def loss(log_scale: float) -> float:
        scaled = -np.exp(log_scale) / size * margins
        if competing:
            rows = scipy.special.logsumexp(scaled, axis=1)
        else:
            rows = np.logaddexp(0.0, scaled).sum(axis=1)
        return float(np.average(rows, weights=weights))

    # The loss is convex in the factor, so there is one minimum.
    found = scipy.optimize.minimize_scalar(
        loss, bounds=(-7.0, 9.0), method="bounded", options={"xatol": 1e-5}
    )
    return float(np.exp(found.x) / size)
