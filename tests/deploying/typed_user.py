"""What a user with a type checker writes: every public name, under ``mypy --strict`` and pyright.

`test_types.py` checks it, and runs it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import parallel_ridge
from parallel_ridge import (
    BackendUnavailable,
    BlockPipeline,
    IllConditionedWarning,
    MPIBackend,
    OpenMPBackend,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    SparkBackend,
    SufficientStatistics,
    TorchBackend,
    get_backend,
    make_block_pipeline,
    register_backend,
    show_versions,
    sufficient_statistics,
)
from parallel_ridge.backends import Backend
from parallel_ridge.datasets import find_data, load_image_folder, load_mnist, read_idx
from parallel_ridge.model_selection import deal
from parallel_ridge.mpi import Report, local_slice, open_rows, run_on_all_ranks, scatter_rows
from parallel_ridge.plotting import AlphaPathDisplay, ClassWeightsDisplay


class Threads(OpenMPBackend):
    """A backend of the user's own."""


def rows() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Some rows and labels."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return rng.normal(size=(90, 4)) + y[:, None], y


def fit_and_predict() -> float:
    """The estimators."""
    X, y = rows()
    model: ParallelRidgeClassifier = ParallelRidgeClassifier(1.0, standardize=True).fit(X, y)
    labels: NDArray[Any] = model.predict(X)
    values: NDArray[Any] = model.decision_function(X)
    assert labels.shape == (90,) and values.shape == (90, 3)
    model = model.partial_fit(X, y, classes=[0, 1, 2])
    coefs, intercepts = model.coef_path([0.1, 1.0])
    assert coefs.shape == (2, 3, 4) and intercepts.shape == (2, 3)
    search: ParallelRidgeClassifierCV = ParallelRidgeClassifierCV(
        [0.1, 1.0, 10.0], cv=3, probability=True
    ).fit(X, y, sample_weight=np.ones(90))
    chances: NDArray[np.float64] = search.predict_proba(X)
    best: float = search.alpha_
    assert chances.shape == (90, 3) and best > 0.0
    assert len(model.to_sklearn().predict(X)) == 90
    pipeline: BlockPipeline = make_block_pipeline(ParallelRidgeClassifier()).fit(X, y)
    return pipeline.score(X, y) + search.score(X, y)


def add_statistics() -> int:
    """Statistics of rows."""
    X, y = rows()
    whole: SufficientStatistics = sufficient_statistics(X, y) + sufficient_statistics(X, y)
    with tempfile.TemporaryDirectory() as folder:
        whole.save(Path(folder, "rows.npz"))
        whole = SufficientStatistics.load(Path(folder, "rows.npz"))
    ParallelRidgeClassifier().fit_statistics(SufficientStatistics.sum([whole]))
    return whole.n_samples


def choose_backends() -> Backend:
    """Backends, by name and as objects."""
    register_backend("threads-of-a-user", Threads)
    backends: list[Backend] = [OpenMPBackend(n_jobs=1), get_backend("threads-of-a-user")]
    ParallelRidgeClassifier(backend=backends[0]).fit(*rows())
    return backends[1]


def engines(folder: Path) -> list[Backend]:
    """What needs more than the core; not run here."""
    try:
        backends: list[Backend] = [MPIBackend(), SparkBackend(depth=2), TorchBackend("cpu")]
    except BackendUnavailable as error:
        raise SystemExit(str(error)) from error
    part: slice = local_slice(100)
    X, y = scatter_rows(np.ones((4, 2)), np.ones(4))
    kept: NDArray[Any] = open_rows(folder / "rows.npy")
    count: int = run_on_all_ranks(lambda: len(kept[part]) + len(X) + len(y))
    report: type[Report] = Report
    print(count, report, IllConditionedWarning.__name__)
    return backends


def pictures(folder: Path) -> None:
    """Data sets and displays; not run here."""
    images = load_mnist("test")
    photographs = load_image_folder(folder, size=(32, 32))
    X: NDArray[np.uint8] = read_idx(folder / "images", 3)
    model = ParallelRidgeClassifierCV().fit(images.data, images.target)
    ClassWeightsDisplay.from_estimator(model, image_shape=(28, 28))
    AlphaPathDisplay.from_estimator(model)
    print(find_data("mnist"), X.shape, photographs.data.shape)


if __name__ == "__main__":
    assert fit_and_predict() > 1.0
    assert add_statistics() == 180
    assert isinstance(choose_backends(), Threads)
    assert deal(0, 10, 5).shape == (10,)
    assert parallel_ridge.__version__
    show_versions()
