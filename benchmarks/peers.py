"""The peers: what a user would take instead, each at its best settings for the same problem."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, cho_factor, cho_solve
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold

from benchmarks.measure import Comparison, Group, Measurement, Options, timed
from benchmarks.search import QUICK_ROWS
from benchmarks.single_machine import N_CLASSES, Images
from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

ALPHA = 10.0
ALPHAS = np.logspace(-2, 5, 8)
FOLDS = KFold(3)
HIMALAYA_ROWS = 12_000
CLASSES = np.arange(N_CLASSES)


class Predictor(Protocol):
    """What every peer ends as."""

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Class of each row."""


@dataclass(frozen=True)
class Linear:
    """A linear classifier of weights that were found by hand."""

    coef: NDArray[Any]
    intercept: NDArray[Any]

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Class of each row."""
        return (X @ self.coef + self.intercept).argmax(axis=1)


@dataclass(frozen=True)
class Regression:
    """A fitted regression to targets of +1 and -1."""

    model: Any

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Class of each row."""
        return np.asarray(self.model.predict(X)).argmax(axis=1)


class Fit:
    """Measurement of a fit, whose last result is kept for its accuracy."""

    def __init__(self, fit: Callable[[], Predictor], X: NDArray[Any], y: NDArray[Any]) -> None:
        self.fit, self.X, self.y = fit, X, y

    def _keep(self) -> None:
        self.model = self.fit()

    def seconds(self) -> float:
        """Seconds of one fit."""
        return timed(self._keep)()

    def accuracy(self) -> float:
        """Of the model that was fitted last, on the test rows."""
        return float(np.mean(self.model.predict(self.X) == self.y))


def one_hot(y: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Targets of +1 for a row's class and -1 for all others."""
    return np.where(y[:, None] == CLASSES, 1, -1).astype(dtype)


def by_hand(X: NDArray[Any], y: NDArray[Any], dtype: Any = None) -> Linear:
    """Normal equations of BLAS's `syrk` and LAPACK's Cholesky, with an intercept and no copy of X."""
    X = X if dtype is None else X.astype(dtype)
    syrk = blas.ssyrk if X.dtype == np.float32 else blas.dsyrk
    Y = one_hot(y, X.dtype)
    gram = syrk(1, X.T)  # upper triangle
    mean, middle = X.mean(axis=0, dtype=np.float64), Y.mean(axis=0, dtype=np.float64)
    n = len(X)
    gram -= (n * np.outer(mean, mean)).astype(X.dtype)
    gram[np.diag_indices_from(gram)] += X.dtype.type(ALPHA if dtype is None else ALPHA * 255**2)
    cross = X.T @ Y - (n * np.outer(mean, middle)).astype(X.dtype)
    coef = cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), cross)
    return Linear(coef, (middle - mean @ coef).astype(X.dtype))


def _intel(name: str, X: NDArray[Any], y: NDArray[Any]) -> Regression:
    from sklearnex import linear_model

    return Regression(getattr(linear_model, name)(alpha=ALPHA).fit(X, one_hot(y, X.dtype)))


def _himalaya(X: NDArray[Any], y: NDArray[Any]) -> Regression:
    from himalaya.ridge import RidgeCV

    # One penalty for all classes, as a classifier has; where each has its own, it takes no less time.
    settings = {"local_alpha": False, "n_alphas_batch": 1, "warn": False}
    search = RidgeCV(ALPHAS, fit_intercept=True, cv=FOLDS, solver_params=settings)
    return Regression(search.fit(X, one_hot(y, X.dtype)))


def missing(module: str, names: tuple[str, ...], package: str) -> str:
    """Why a peer cannot be measured; empty if it can."""
    try:
        found = import_module(module)
    except Exception as error:  # whatever a package makes of a platform that it does not support
        return f"{package} could not be imported ({type(error).__name__}: {error})."
    absent = [name for name in names if not hasattr(found, name)]
    if absent:
        return f"{package} {version(package)} has no {' and no '.join(absent)}."
    return ""


def peers(options: Options) -> Iterator[Comparison]:
    """Peers: one fit.

    MNIST's 60,000 x 784 training images with pixels from 0 to 1, ten classes, `alpha=10`, an intercept,
    both sides on the same array of the dtype named; accuracy is that on the 10,000 test images, of what
    was timed. *By hand* is what an expert writes in NumPy and SciPy: one triangle of `X.T @ X` by BLAS's
    `syrk`, the product with one-hot targets, Cholesky. Regressions (scikit-learn-intelex) are fitted to
    the same one-hot targets, whose making is in their time. In the last row both sides start from the
    images' bytes, which they convert where they must, with `alpha` multiplied by 255².
    """
    # scikit-learn's float32 system is ill-conditioned; its accuracy says what comes of it.
    warnings.simplefilter("ignore")
    images = Images(options.images)
    y, y_test = images.y.astype(np.intp), images.y_test.astype(np.intp)
    note = images.caution
    intel = ("Ridge", "IncrementalRidge")
    reason = missing("sklearnex.linear_model", intel, "scikit-learn-intelex")
    for dtype in (np.float32, np.float64):
        X, X_test = (rows.astype(dtype) / dtype(255) for rows in (images.X, images.X_test))
        fits: dict[str, Callable[[], Predictor]] = {
            "scikit-learn, `RidgeClassifier`": RidgeClassifier(ALPHA).fit,
            'scikit-learn, `solver="cholesky"`': RidgeClassifier(ALPHA, solver="cholesky").fit,
            "NumPy and SciPy by hand": by_hand,
        } | {f"scikit-learn-intelex, `{name}`": partial(_intel, name) for name in intel}
        ours = Fit(partial(ParallelRidgeClassifier(ALPHA).fit, X, y), X_test, y_test)
        for name, fit in fits.items():
            if reason and "intelex" in name:
                yield Comparison(f"`{X.dtype}`", None, against=name, note=reason)
                continue
            yield _compared(
                f"`{X.dtype}`", ours, Fit(partial(fit, X, y), X_test, y_test), name, note
            )
    ours = Fit(
        partial(ParallelRidgeClassifier(ALPHA * 255**2).fit, images.X, y), images.X_test, y_test
    )
    peer = Fit(partial(by_hand, images.X, y, np.float32), images.X_test, y_test)
    yield _compared("from bytes", ours, peer, "NumPy and SciPy by hand, in float32", note)


def peers_search(options: Options) -> Iterator[Comparison]:
    """Peers: a search over penalties.

    Eight penalties from 0.01 to 100,000 and the same 3 folds on MNIST's first 12,000 training images in
    `float32`, against himalaya's `RidgeCV` with its NumPy backend, one penalty for all classes and one
    at a time in memory; it is measured once. It makes a matrix of training by test rows for each penalty
    and fold, which pays for thousands of targets; of 60,000 images such a matrix is 3 GiB. It chooses
    by squared error, and so does ours here. scikit-learn's searches are under "Choosing alpha".
    """
    warnings.simplefilter("ignore")
    images = Images(QUICK_ROWS if options.quick else HIMALAYA_ROWS)
    X, X_test = (rows.astype(np.float32) / np.float32(255) for rows in (images.X, images.X_test))
    y, y_test = images.y.astype(np.intp), images.y_test.astype(np.intp)
    against = "himalaya, `RidgeCV`"
    reason = missing("himalaya.ridge", ("RidgeCV",), "himalaya")
    if reason:
        yield Comparison("3 folds", None, against=against, note=reason)
        return
    search = ParallelRidgeClassifierCV(ALPHAS, cv=FOLDS, scoring="neg_mean_squared_error")
    ours = Fit(partial(search.fit, X, y), X_test, y_test)
    peer = Fit(partial(_himalaya, X, y), X_test, y_test)
    yield _compared("3 folds", ours, peer, against, images.caution, once=True)


def _compared(
    name: str, ours: Fit, peer: Fit, against: str, note: str, once: bool = False
) -> Comparison:
    accuracies: tuple[Measurement, Measurement] = (ours.accuracy, peer.accuracy)
    return Comparison(
        name,
        ours.seconds,
        peer.seconds,
        against,
        note=note,
        peer_once=once,
        accuracies=accuracies,
    )


GROUPS: dict[str, Group] = {"peers": peers, "peers_search": peers_search}
