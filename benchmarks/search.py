"""Choosing alpha: a search over penalties, against scikit-learn's."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
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
QUICK_ROWS = 6000


class Searches:
    """Searches on one array; a scikit-learn search that took minutes is not made twice."""

    def __init__(self, X: NDArray[Any], y: NDArray[Any]) -> None:
        self.X, self.y = X, y
        self.kept: dict[str, tuple[float, Any]] = {}

    def ours(self, cv: int | None = FOLDS, alphas: ArrayLike = ALPHAS) -> Any:
        """Our estimator's own search."""
        scoring = "accuracy" if cv else None
        return ParallelRidgeClassifierCV(alphas, cv=cv, scoring=scoring).fit(self.X, self.y)

    def grid(self, estimator: Any) -> Any:
        """scikit-learn's grid search over an estimator."""
        search = GridSearchCV(estimator, {"alpha": ALPHAS}, cv=FOLDS, scoring="accuracy")
        return search.fit(self.X, self.y)

    def ours_in_grid(self) -> Any:
        """The same over our estimator, with a memory that is empty at first."""
        with tempfile.TemporaryDirectory() as folder:
            return self.grid(ParallelRidgeClassifier(memory=folder))

    def peer(self, name: str) -> Measurement:
        """Measurement of one of scikit-learn's searches, made once."""
        calls: dict[str, Callable[[], Any]] = {
            "grid": lambda: self.grid(RidgeClassifier()),
            "leave-one-out": lambda: RidgeClassifierCV(ALPHAS).fit(self.X, self.y),
        }

        def measurement() -> float:
            if name not in self.kept:
                start = time.perf_counter()
                model = calls[name]()
                self.kept[name] = time.perf_counter() - start, model
            return self.kept[name][0]

        return measurement


def search(options: Options) -> Iterator[Comparison]:
    """Choosing alpha.

    Ten penalties from 1e-5 to 1e5 on MNIST's 60,000 x 784 training images (`float32` scaled to
    [0, 1], `uint8` as they are), accuracy over 5 folds: `ParallelRidgeClassifierCV`, and `GridSearchCV`
    over `ParallelRidgeClassifier` with an empty `memory=`, against `GridSearchCV` over scikit-learn's
    `RidgeClassifier`; and leave-one-out against its `RidgeClassifierCV`. scikit-learn's searches are
    measured once, between ours.
    """
    # scikit-learn's float32 systems are ill-conditioned; the best alpha may be the last of the ten.
    warnings.simplefilter("ignore")
    images = Images()
    rows = slice(QUICK_ROWS if options.quick else None)
    X, y = images.X[rows], images.y[rows]
    inputs = {"float32": X / np.float32(255), "uint8": X}
    targets = {"float32": (100, 12, 15), "uint8": (100, 40, 15)}
    for name, array in inputs.items():
        runs = Searches(array, y)
        folds, grid, left_out = targets[name]
        yield Comparison(
            f"`{name}`, 5 folds",
            timed(runs.ours),
            runs.peer("grid"),
            "scikit-learn, `GridSearchCV`",
            faster(folds),
            images.caution,
            peer_once=True,
        )
        yield Comparison(
            f"`{name}`, 5 folds, best accuracy",
            lambda runs=runs: runs.ours().best_score_,
            lambda runs=runs: runs.kept["grid"][1].best_score_,
            "scikit-learn, `GridSearchCV`",
            unit="",
            once=True,
        )
        yield Comparison(
            f"`{name}`, `GridSearchCV` with `memory=`",
            timed(runs.ours_in_grid),
            runs.peer("grid"),
            "scikit-learn, `GridSearchCV`",
            faster(grid),
            peer_once=True,
        )
        yield Comparison(
            f"`{name}`, leave-one-out",
            timed(lambda runs=runs: runs.ours(None)),
            runs.peer("leave-one-out"),
            "scikit-learn, `RidgeClassifierCV`",
            faster(left_out),
            peer_once=True,
        )
        if name == "float32":
            yield Comparison(
                "`float32`, 5 folds, 100 penalties",
                timed(lambda runs=runs: runs.ours(FOLDS, MANY_ALPHAS)),
                timed(runs.ours),
                "10 penalties",
                faster(1 / 2.5),
            )
    if SEES_MEMORY:
        yield Comparison(
            "`float32`, 5 folds, memory added",
            in_fresh_process(_peak, FOLDS, options.quick),
            target=at_most(150),
            unit="MiB",
            once=True,
        )
        yield Comparison(
            "`float32`, leave-one-out, memory added",
            in_fresh_process(_peak, None, options.quick),
            target=at_most(150),
            unit="MiB",
            once=True,
        )


def _peak(cv: int | None, quick: bool) -> float:
    images = Images()
    rows = slice(QUICK_ROWS if quick else None)
    runs = Searches(images.X[rows] / np.float32(255), images.y[rows])
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
    rows = slice(QUICK_ROWS if options.quick else None)
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


GROUPS: dict[str, Group] = {"search": search, "probability": probability}
