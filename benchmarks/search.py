"""Choosing alpha: a search over penalties, against scikit-learn's."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV

from benchmarks.measure import (
    SEES_MEMORY,
    Comparison,
    Group,
    Measurement,
    Options,
    at_most,
    faster,
    in_fresh_process,
    peak_added,
    timed,
)
from benchmarks.single_machine import Images
from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

FOLDS = 5
ALPHAS = np.logspace(-5, 5, 10)
MANY_ALPHAS = np.logspace(-5, 5, 100)
QUICK_ROWS = 400


class Searches:
    """Searches on one array; a scikit-learn search that took minutes is not made twice."""

    def __init__(self, X: NDArray[Any], y: NDArray[Any], alphas: NDArray[Any] = ALPHAS) -> None:
        self.X, self.y, self.alphas = X, y, alphas
        self.kept: dict[str, tuple[float, Any]] = {}

    def ours(self, cv: int | None = FOLDS, alphas: ArrayLike | None = None) -> Any:
        """Our estimator's own search."""
        scoring = "accuracy" if cv else None
        alphas = self.alphas if alphas is None else alphas
        return ParallelRidgeClassifierCV(alphas, cv=cv, scoring=scoring).fit(self.X, self.y)

    def grid(self, estimator: Any) -> Any:
        """scikit-learn's grid search over an estimator."""
        search = GridSearchCV(estimator, {"alpha": self.alphas}, cv=FOLDS, scoring="accuracy")
        return search.fit(self.X, self.y)

    def ours_in_grid(self) -> Any:
        """The same over our estimator, with a memory that is empty at first."""
        with tempfile.TemporaryDirectory() as folder:
            return self.grid(ParallelRidgeClassifier(memory=folder))

    def peer(self, name: str) -> Measurement:
        """Measurement of one of scikit-learn's searches, made once."""
        calls: dict[str, Callable[[], Any]] = {
            "grid": lambda: self.grid(RidgeClassifier()),
            "leave-one-out": lambda: RidgeClassifierCV(self.alphas).fit(self.X, self.y),
        }

        def measurement() -> float:
            if name not in self.kept:
                start = time.perf_counter()
                model = calls[name]()
                self.kept[name] = time.perf_counter() - start, model
            return self.kept[name][0]

        return measurement


def _rows(options: Options) -> slice:
    return slice(QUICK_ROWS if options.quick else None)


def _penalties(options: Options) -> NDArray[np.float64]:
    return ALPHAS[::4] if options.quick else ALPHAS


def _searches(runs: Searches, grid: float, left_out: bool = True) -> Iterator[Comparison]:
    """Searches on one array; that by ``GridSearchCV`` must be ``grid`` times faster."""
    # scikit-learn's float32 systems are ill-conditioned; the best alpha may be the last of the ten.
    warnings.simplefilter("ignore")
    against = "scikit-learn, `GridSearchCV`"
    yield Comparison(
        "5 folds", timed(runs.ours), runs.peer("grid"), against, faster(100), peer_once=True
    )
    yield Comparison(
        "5 folds, best accuracy",
        lambda: runs.ours().best_score_,
        lambda: runs.kept["grid"][1].best_score_,
        against,
        unit="",
        once=True,
    )
    if left_out:
        yield Comparison(
            "leave-one-out",
            timed(lambda: runs.ours(None)),
            runs.peer("leave-one-out"),
            "scikit-learn, `RidgeClassifierCV`",
            faster(15),
            peer_once=True,
        )
    yield Comparison(
        "`GridSearchCV` with `memory=`",
        timed(runs.ours_in_grid),
        runs.peer("grid"),
        against,
        faster(grid),
        once=True,
    )


def search(options: Options) -> Iterator[Comparison]:
    """Choosing alpha.

    Ten penalties from 1e-5 to 1e5 on MNIST's 60,000 x 784 training images in `float32`, pixels from 0
    to 255, accuracy over 5 folds: `ParallelRidgeClassifierCV`, and `GridSearchCV` over
    `ParallelRidgeClassifier` with an empty `memory=`, against `GridSearchCV` over scikit-learn's
    `RidgeClassifier`; and leave-one-out against its `RidgeClassifierCV`. scikit-learn's searches are
    measured once. On this scale the smallest penalties leave systems ill-conditioned: then
    scikit-learn's solver and, in the grid search, ours fall back to a slower one.
    """
    images, rows = Images(), _rows(options)
    runs = Searches(images.X32[rows], images.y[rows], _penalties(options))
    yield from _searches(runs, 12)
    yield Comparison(
        "5 folds, 100 penalties",
        timed(lambda: runs.ours(FOLDS, MANY_ALPHAS[:: 10 if options.quick else 1])),
        timed(runs.ours),
        "10 penalties",
        faster(1 / 2.5),
    )
    if not SEES_MEMORY:
        return
    for name, cv in options.kinds([("5 folds", FOLDS), ("leave-one-out", None)]):
        yield Comparison(
            f"{name}, memory added",
            in_fresh_process(_peak, cv, options.quick),
            target=at_most(150),
            unit="MiB",
            once=True,
        )


def search_uint8(options: Options) -> Iterator[Comparison]:
    """Choosing alpha, from bytes.

    The same searches on the same images in `uint8`, which scikit-learn searches much faster than
    `float32`. The last row is `GridSearchCV` alone, over an estimator that does nothing: it copies the
    rows of each fit and scores predictions, which alone is more than half of a 40th of scikit-learn's
    time.
    """
    images, rows = Images(), _rows(options)
    runs = Searches(images.X[rows], images.y[rows], _penalties(options))
    yield from _searches(runs, 40)
    yield Comparison(
        "`GridSearchCV` with `memory=`",
        timed(runs.ours_in_grid),
        timed(lambda: runs.grid(_Idle())),
        "`GridSearchCV` over an estimator that does nothing",
        once=True,
    )


class _Idle(ClassifierMixin, BaseEstimator):
    """Learns nothing, and predicts one class."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> _Idle:
        """Remember the first class."""
        self.classes_ = y[:1]
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """The first class."""
        return np.full(len(X), self.classes_[0])


def search_scaled(options: Options) -> Iterator[Comparison]:
    """Choosing alpha, scaled pixels.

    The same searches over folds on the same images in `float32`, pixels from 0 to 1.
    """
    images, rows = Images(), _rows(options)
    X = images.X32[rows] / np.float32(255)
    yield from _searches(Searches(X, images.y[rows], _penalties(options)), 12, left_out=False)


def _peak(cv: int | None, quick: bool) -> float:
    images, rows = Images(), _rows(Options(quick))
    runs = Searches(images.X32[rows], images.y[rows])
    warnings.simplefilter("ignore")
    return peak_added(lambda: runs.ours(cv))


def probability(options: Options) -> Iterator[Comparison]:
    """Probabilities.

    `ParallelRidgeClassifierCV(probability=True)` with three penalties and leave-one-out, against
    scikit-learn's `CalibratedClassifierCV(RidgeClassifier())`, on MNIST scaled to [0, 1] in `float32`;
    log-loss on the 10,000 test images, where the ratio is theirs to ours.
    """
    warnings.simplefilter("ignore")
    images = Images()
    rows = _rows(options)
    X, y = images.X[rows] / np.float32(255), images.y[rows]
    X_test = images.X_test / np.float32(255)

    def ours() -> Any:
        return ParallelRidgeClassifierCV((1.0, 100.0, 1000.0), probability=True).fit(X, y)

    def theirs() -> Any:
        return CalibratedClassifierCV(RidgeClassifier()).fit(X, y)

    def loss(model: Callable[[], Any]) -> Measurement:
        return lambda: log_loss(images.y_test, model().predict_proba(X_test))

    against = "scikit-learn, `CalibratedClassifierCV`"
    yield Comparison("fit", timed(ours), timed(theirs), against, faster(2), peer_once=True)
    yield Comparison(
        "log-loss",
        loss(ours),
        loss(theirs),
        against,
        faster(1 / 1.1),
        images.caution,
        unit="",
        once=True,
    )


GROUPS: dict[str, Group] = {
    "search": search,
    "search_uint8": search_uint8,
    "search_scaled": search_scaled,
    "probability": probability,
}
