"""The study of 2017 that this library follows, measured again on this machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.images import HAND_SHAPE, N_HANDS, caution, enlarged, hands, shifted, shifts
from benchmarks.measure import Comparison, Curves, Group, Measurement, Options, Split, timed
from benchmarks.peers import one_hot
from benchmarks.single_machine import Images
from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.threads import default_threads

ALPHAS = np.logspace(-5, 5, 10)
TRAINED = 0.8
"""Share of the images that models are fitted to; the rest chooses among them."""

MNIST_SIZES = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 60_000)
HAND_SIZES = (500, 4_000, 16_000, 60_000)
QUICK_SIZES = (300, 600)
STUDIED, SPLIT = 16_000, 40_000
"""Images of the times and of the split by Amdahl's law that the study published."""

NUMPY, PEER = "NumPy, 1 thread", "scikit-learn"
MOST_HANDS = {PEER: 4_000, NUMPY: 16_000}
"""Photographs beyond which these are left out: they would take minutes, and half of one."""

FOLDS = 5
HAND_ALPHAS = np.logspace(4, 9, 11)


class Search:
    """The study's job: the best of ten penalties on a fifth of the images that is held out."""

    def __init__(self, X: NDArray[np.uint8], y: NDArray[Any]) -> None:
        self.X, self.y = X, y.astype(np.intp)
        self.cut = int(TRAINED * len(X))
        self.cv = [(np.arange(self.cut), np.arange(self.cut, len(X)))]

    def serial(self) -> float:
        """As the study wrote it in NumPy, on one thread: an inverse a penalty, a class at a time."""
        with threadpool_limits(1):
            rows = self.X - self.X.mean(axis=0)
            train, held_out = rows[: self.cut], rows[self.cut :]
            targets = one_hot(self.y[: self.cut], np.float64).T
            gram, scores = train.T @ train, []
            for alpha in ALPHAS:
                inverse = np.linalg.inv(gram + alpha * np.eye(len(gram)))
                values = [held_out @ (inverse @ (train.T @ target)) for target in targets]
                scores.append(np.mean(np.argmax(values, axis=0) == self.y[self.cut :]))
        return float(max(scores))

    def peer(self) -> Any:
        """scikit-learn's grid search."""
        search = GridSearchCV(RidgeClassifier(), {"alpha": ALPHAS}, cv=self.cv, scoring="accuracy")
        return search.fit(self.X, self.y)

    def ours(self, n_jobs: int | None = None) -> Any:
        """Our search."""
        search = ParallelRidgeClassifierCV(ALPHAS, cv=self.cv, scoring="accuracy", n_jobs=n_jobs)
        return search.fit(self.X, self.y)

    def ways(self, most: Mapping[str, int] = MappingProxyType({})) -> dict[str, Measurement]:
        """All ways for which there are not too many images, in the order of the figure."""
        calls: dict[str, Callable[[], object]] = {NUMPY: self.serial, PEER: self.peer}
        for n in sorted({1, default_threads()}):
            calls[f"parallel_ridge, {n} thread{'s' if n > 1 else ''}"] = partial(self.ours, n)
        n = len(self.X)
        return {name: timed(call) for name, call in calls.items() if n <= most.get(name, n)}


def _curves(searches: dict[int, dict[str, Measurement]]) -> dict[str, dict[float, Measurement]]:
    names = dict.fromkeys(name for ways in searches.values() for name in ways)
    return {name: {n: w[name] for n, w in searches.items() if name in w} for name in names}


def _many_hands(n_rows: int) -> tuple[NDArray[np.uint8], NDArray[Any], str]:
    X, y, found = hands()
    return *enlarged(X, y, HAND_SHAPE, n_rows), caution(found)


def study_samples(options: Options) -> Iterator[Curves]:
    """The study of 2017: time against the number of samples.

    The study's job (Clements, Cusworth and Maasakkers, 2017): ridge classifiers for ten penalties from
    1e-5 to 1e5, fitted to the first 80 % of the images, of which the one most accurate on the rest is
    chosen. The images are bytes, as they are loaded. *NumPy* is what the study's serial program does, on
    one thread and in float64: `X.T @ X` once, an inverse a penalty, a product a class; scikit-learn is
    `GridSearchCV` over `RidgeClassifier`, on all cores; `parallel_ridge` is
    `ParallelRidgeClassifierCV`. Both of these also fit to all of the images in the end. What takes very
    long is measured once: MNIST from 4,000 images on, and photographs.
    """
    warnings.simplefilter("ignore")
    images = Images(options.images)
    searches = {
        n: Search(images.X[:n], images.y[:n]).ways()
        for n in (QUICK_SIZES if options.quick else MNIST_SIZES)
    }
    x, y = "images", "time of the search"
    yield Curves("MNIST, 28 x 28", x, y, _curves(searches), once_from=4_000, note=images.caution)
    sizes = QUICK_SIZES[:1] if options.quick else HAND_SIZES
    X, labels, note = _many_hands(max(sizes))
    X = X[:, ::4] if options.quick else X
    searches = {n: Search(X[:n], labels[:n]).ways(MOST_HANDS) for n in sizes}
    yield Curves(
        "Photographs of hands, 60 x 40",
        x,
        y,
        _curves(searches),
        once_from=0,
        note=note
        or f"There are {N_HANDS:,} photographs, in grey; more are the same, shifted by up to 7 pixels. "
        f"scikit-learn was not run on more than {MOST_HANDS[PEER]:,}, which would take minutes, and "
        f"NumPy not on more than {MOST_HANDS[NUMPY]:,}.",
    )


def study_threads(options: Options) -> Iterator[Split]:
    """The study of 2017: what threads share, and what they do not.

    By Amdahl's law the time of a job on p threads is `overhead + parallel part / p`. Both are fitted by
    non-negative least squares to the medians at all numbers of threads that this machine has (two
    numbers of threads leave no residual). "At most" is the speed-up that the law allows for any number
    of threads. 40,000 images of MNIST, as in the study, and 16,000 photographs of hands, in bytes: one
    `fit`, and of MNIST the study's job.
    """
    warnings.simplefilter("ignore")
    cores = default_threads()
    counts = sorted({1, 2, cores // 2, cores} & set(range(1, cores + 1)))
    images = Images(options.images)
    n = min(SPLIT, options.images)
    X, y, _ = _many_hands(300 if options.quick else STUDIED)
    for name, data in {"MNIST": (images.X[:n], images.y[:n]), "hands": (X, y)}.items():
        fits = {p: timed(partial(ParallelRidgeClassifier(n_jobs=p).fit, *data)) for p in counts}
        yield Split(f"{name}, `fit`", fits)
        if name == "MNIST":
            search = Search(*data).ours
            yield Split(f"{name}, ten penalties", {p: timed(partial(search, p)) for p in counts})


def study_accuracy(options: Options) -> Iterator[Comparison]:
    """The study of 2017: accuracy.

    Of the study's job on MNIST (a fifth of the 60,000 training images held out), and on photographs of
    hands, each of which is in one of five folds and is predicted by a model that was fitted to the
    others, with the penalty that leave-one-out chooses among these others; *with shifts*: fitted to the
    others and to the same shifted by a pixel (nine images of one).
    """
    warnings.simplefilter("ignore")
    images = Images(options.images)
    search = Search(images.X, images.y)
    yield Comparison(
        "MNIST, best of ten penalties",
        lambda: search.ours().best_score_,
        search.serial,
        NUMPY,
        note=images.caution,
        unit="",
        once=True,
    )
    X, y, found = hands()
    folds = StratifiedKFold(2 if options.quick else FOLDS, shuffle=True, random_state=0)
    if options.quick:
        X, y = X[::8], y[::8]
    alphas: list[float] = []

    def ours() -> float:
        right = 0
        for train, test in folds.split(X, y):
            model = ParallelRidgeClassifierCV(HAND_ALPHAS, scoring="accuracy").fit(
                X[train], y[train]
            )
            alphas.append(model.alpha_)
            right += np.sum(model.predict(X[test]) == y[test])
        return right / len(y)

    def peer() -> float:
        right = 0
        for alpha, (train, test) in zip(alphas, folds.split(X, y), strict=True):
            model = RidgeClassifier(alpha).fit(X[train], y[train])
            right += np.sum(model.predict(X[test]) == y[test])
        return right / len(y)

    def with_shifts() -> float:
        right, moves = 0, shifts(1, 1)
        for alpha, (train, test) in zip(alphas, folds.split(X, y), strict=True):
            photographs = X[train].reshape(-1, *HAND_SHAPE)
            rows = [shifted(photographs, *move, np.empty_like(photographs)) for move in moves]
            model = ParallelRidgeClassifier(alpha * len(moves))
            model.fit(np.concatenate(rows).reshape(-1, X.shape[1]), np.tile(y[train], len(moves)))
            right += np.sum(model.predict(X[test]) == y[test])
        return right / len(y)

    name, note = "hands, split by photograph", caution(found)
    against = "scikit-learn, with the penalties that were chosen"
    yield Comparison(name, ours, peer, against, note=note, unit="", once=True)
    yield Comparison(f"{name}, with shifts", with_shifts, unit="", once=True)


GROUPS: dict[str, Group] = {
    "study_samples": study_samples,
    "study_threads": study_threads,
    "study_accuracy": study_accuracy,
}
