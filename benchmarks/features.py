"""Features on the fly, against all features at once; and alpha chosen in a stream."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.kernel_approximation import RBFSampler

from benchmarks.measure import (
    SEES_MEMORY,
    Comparison,
    Group,
    Options,
    Target,
    faster,
    in_fresh_process,
    peak_added,
    timed,
)
from benchmarks.single_machine import Images
from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    make_block_pipeline,
)

AGAINST = "transform, then fit"
# At most 1.15 times the peer's time.
NEARLY_AS_FAST = faster(1 / 1.15)
BATCH = 1_000


@dataclass(frozen=True)
class Problem:
    """Samples, and a transformer that makes features of them.

    Parameters
    ----------
    kind : {"cosines", "convolutions"}
        Cosines of random projections of images, or convolutions of time series.
    n_samples, n_features : int
    """

    kind: str
    n_samples: int
    n_features: int

    def data(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Samples and labels."""
        if self.kind == "cosines":
            images = Images(self.n_samples)
            return images.X32 / np.float32(255), images.y
        rng = np.random.default_rng(0)
        y = rng.integers(0, 10, self.n_samples)
        time = np.arange(100, dtype=np.float32)
        X = np.sin(time * (0.1 + 0.02 * y[:, None]) + rng.uniform(0, 6, (self.n_samples, 1)))
        X += rng.standard_normal(X.shape, dtype=np.float32)
        return X.astype(np.float32)[:, None, :], y

    def transformer(self) -> Any:
        """The transformer, not fitted."""
        if self.kind == "cosines":
            return RBFSampler(gamma=0.02, n_components=self.n_features, random_state=0)
        from aeon.transformations.collection.convolution_based import MiniRocket

        return MiniRocket(self.n_features, n_jobs=-1, random_state=0)

    def on_the_fly(self, X: NDArray[Any], y: NDArray[Any]) -> Callable[[], object]:
        """The fit of a BlockPipeline."""
        pipeline = make_block_pipeline(self.transformer(), ParallelRidgeClassifier(1.0))
        return lambda: pipeline.fit(X, y)

    def apart(self, X: NDArray[Any], y: NDArray[Any]) -> Callable[[], object]:
        """The transform of all samples, and then the fit to it."""
        transformer = self.transformer()

        def call() -> object:
            transformer.fit(X[:: max(1, len(X) // 10_000)])  # the sample of a BlockPipeline
            return ParallelRidgeClassifier(1.0).fit(transformer.transform(X), y)

        return call

    def peak(self, on_the_fly: bool) -> float:
        """MiB that one of the two adds to the samples at its peak."""
        X, y = self.data()
        small = max(100, self.n_samples // 100)
        for make in (self.on_the_fly, self.apart):
            make(X[:small], y[:small])()  # compiled code and threads take memory once
        return peak_added(self.on_the_fly(X, y) if on_the_fly else self.apart(X, y))


def _rows(problem: Problem, name: str, memory: Target, note: str) -> Iterator[Comparison]:
    X, y = problem.data()
    yield Comparison(
        f"{name}, time",
        timed(problem.on_the_fly(X, y)),
        timed(problem.apart(X, y)),
        AGAINST,
        NEARLY_AS_FAST,
        note,
    )
    del X, y
    yield Comparison(
        f"{name}, memory added",
        in_fresh_process(problem.peak, True) if SEES_MEMORY else None,
        in_fresh_process(problem.peak, False),
        AGAINST,
        memory,
        unit="MiB",
        once=True,
    )


def features(options: Options) -> Iterator[Comparison]:
    """Features on the fly.

    A `BlockPipeline`, which makes features of a block of samples when the fit is ready for it, against
    the same transformer on all samples and then the same fit: 4,000 cosines of random projections
    (`RBFSampler`) of MNIST's 60,000 images in `float32`, and 9,996 convolutions (aeon's `MiniRocket`) of
    20,000 series of 100 points. Memory is what the fit adds to the samples at its peak, in a fresh
    process: for both, the Gram matrix and the solve's copy of it; for the peer also all features.
    """
    small = 20 if options.quick else 1
    problem = Problem("cosines", 60_000 // small, 4_000 // small)
    caution = Images(1).caution
    yield from _rows(problem, "`RBFSampler`", Target("ratio", 10.0), caution)
    if find_spec("aeon") is None:
        reason = "Not measured: aeon is not installed."
        yield Comparison("`MiniRocket`, time", None, note=reason)
        return
    problem = Problem("convolutions", 20_000 // small, 10_000 // small)
    yield from _rows(problem, "`MiniRocket`", Target("ratio", 1.0), "")


def streams(options: Options) -> Iterator[Comparison]:
    """Alpha chosen in a stream.

    MNIST's 60,000 images as bytes, in batches of 1,000: `ParallelRidgeClassifierCV.partial_fit` keeps
    the sums of five folds, from which ten penalties are scored by squared errors at the end; against one
    `fit` to all images, with five folds and the same score. Then the same with each batch scored before
    it is added (`prequential=True`), against scores by hand: `score` before each `partial_fit`.
    """
    warnings.simplefilter("ignore")  # the best alpha of a short grid
    images = Images(options.images)
    X, y, alphas = images.X, images.y, np.logspace(2, 8, 10)
    batches = [slice(start, start + BATCH) for start in range(0, len(X), BATCH)]

    def in_batches(**more: Any) -> ParallelRidgeClassifierCV:
        model = ParallelRidgeClassifierCV(alphas, cv=5, **more)
        for rows in batches:
            model.partial_fit(X[rows], y[rows], classes=np.arange(10))
        return model

    def whole() -> float:
        scoring = "neg_mean_squared_error"
        return ParallelRidgeClassifierCV(alphas, cv=5, scoring=scoring).fit(X, y).alpha_

    def by_hand() -> float:
        model, right = ParallelRidgeClassifier(1e4), 0.0
        for i, rows in enumerate(batches):
            if i:
                right += model.score(X[rows], y[rows]) * len(y[rows])
            model.partial_fit(X[rows], y[rows], classes=np.arange(10))
        return right

    def prequential() -> float:
        model = ParallelRidgeClassifier(1e4, prequential=True)
        for rows in batches:
            model.partial_fit(X[rows], y[rows], classes=np.arange(10))
        return model.prequential_score_

    yield Comparison(
        "five folds, ten penalties",
        timed(lambda: in_batches().alpha_),
        timed(whole),
        "`fit` to all rows",
        note=images.caution,
    )
    yield Comparison("prequential score", timed(prequential), timed(by_hand), "by hand")


GROUPS: dict[str, Group] = {"features": features, "streams": streams}
