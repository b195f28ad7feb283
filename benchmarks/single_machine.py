"""One machine: the pass over the rows, fit, predict, memory, threads and what small problems cost."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning, blas
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import RidgeClassifier

from benchmarks.measure import (
    SEES_MEMORY,
    Comparison,
    Group,
    Measurement,
    Options,
    Series,
    anonymous_added,
    at_least,
    at_most,
    faster,
    import_time,
    in_fresh_process,
    peak_added,
    timed,
)
from parallel_ridge import ParallelRidgeClassifier, SufficientStatistics, sufficient_statistics
from parallel_ridge.datasets import load_mnist
from parallel_ridge.kernels import _fold
from parallel_ridge.threads import default_threads

CPU_VARIABLE = "PARALLEL_RIDGE_CPU"
N_CLASSES = 10
SCIKIT_LEARN_ACCURACY = 0.8602
MIB = 2**20
WIDE, QUICK_WIDE = (20_000, 10_000), (500, 2_000)


class Images:
    """MNIST; where it is not found, random bytes of its shape and density, in runs as strokes are.

    Parameters
    ----------
    n_rows : int, default=60000
        Training images, the first.

    Attributes
    ----------
    found : bool
    X, X_test : ndarray of shape (n_rows, 784) and (10000, 784), uint8
    y, y_test : ndarray of shape (n_rows,) and (10000,), uint8
    """

    def __init__(self, n_rows: int = 60_000) -> None:
        try:
            mnist = load_mnist()
        except FileNotFoundError:
            self.found = False
            rng = np.random.default_rng(0)
            X, y = _strokes(rng, 70_000), rng.integers(0, N_CLASSES, 70_000, dtype=np.uint8)
            (self.X, self.X_test), (self.y, self.y_test) = (
                (rows[:n_rows], rows[60_000:]) for rows in (X, y)
            )
        else:
            self.found = True
            self.X, self.X_test = np.array(mnist.data[:n_rows]), np.array(mnist.data_test)
            self.y, self.y_test = mnist.target[:n_rows], mnist.target_test

    @cached_property
    def X32(self) -> NDArray[np.float32]:
        """Training rows in float32."""
        return self.X.astype(np.float32)

    @cached_property
    def X64(self) -> NDArray[np.float64]:
        """Training rows in float64."""
        return self.X.astype(np.float64)

    @property
    def caution(self) -> str:
        """What to say beside figures that are not of MNIST."""
        if self.found:
            return ""
        return "MNIST was not found: random bytes of its shape, 19 % of them not zero, in runs."


def _strokes(rng: np.random.Generator, n_rows: int) -> NDArray[np.uint8]:
    """Random images whose 20 middle lines have one run of 1 to 14 bright pixels each."""
    pixel = np.arange(28)
    start = rng.integers(4, 12, (n_rows, 28, 1))
    length = rng.integers(1, 15, (n_rows, 28, 1))
    length[:, :4] = length[:, 24:] = 0
    bright = (pixel >= start) & (pixel < start + length)
    values = rng.integers(1, 256, bright.shape, dtype=np.uint8)
    return (values * bright).reshape(n_rows, 784)


def fold(X: Any, y: NDArray[Any], n_jobs: int | None = None) -> Callable[[], SufficientStatistics]:
    """Our pass over the rows, with everything: label encoding, class sums, finite check."""
    return lambda: sufficient_statistics(X, y, n_jobs=n_jobs)


def syrk(X: NDArray[Any]) -> Callable[[], NDArray[Any]]:
    """SciPy's triangle of ``X.T @ X``, of rows that need no copy."""
    routine = blas.ssyrk if X.dtype == np.float32 else blas.dsyrk
    return lambda: routine(1, X.T)


def product(X: Any) -> Callable[[], Any]:
    """NumPy's ``X.T @ X``, or SciPy's of a sparse matrix."""
    return lambda: X.T @ X


def fitting(estimator: Callable[[], Any], X: Any, y: NDArray[Any]) -> Callable[[], Any]:
    """A fit of a new estimator with its defaults."""
    return lambda: estimator().fit(X, y)


def at_level(level: str, call: Callable[[], object]) -> Callable[[], object]:
    """A call with our kernels held to a CPU level."""

    def held() -> object:
        before = os.environ.get(CPU_VARIABLE)
        os.environ[CPU_VARIABLE] = level
        try:
            return call()
        finally:
            if before is None:
                del os.environ[CPU_VARIABLE]
            else:
                os.environ[CPU_VARIABLE] = before

    return held


def check(X: Any, y: NDArray[Any], gram: NDArray[Any]) -> None:
    """Both must compute the same, or their times mean nothing."""
    statistics = fold(X, y)().reshift(np.zeros(X.shape[1]))
    apart = np.triu(statistics.gram) - np.triu(gram)
    # SciPy adds 60,000 float32 terms one by one, and is 1e-4 off.
    if not np.abs(apart).max() <= 1e-3 * gram.max():
        raise ArithmeticError(f"The Gram matrices differ by up to {np.abs(apart).max()}.")


def statistics(options: Options) -> Iterator[Comparison]:
    """Sufficient statistics of MNIST.

    60,000 x 784, ten classes: `sufficient_statistics` on the array as it is, which also
    encodes the labels, sums the classes and checks that values are finite, against the bare product
    of the matrix with itself on data converted beforehand, one triangle of it from SciPy's BLAS.
    `uint8` runs at each level of the CPU's instruction set, and one thread against all of BLAS's.
    """
    images = Images(options.images)
    X, X32, y, note = images.X, images.X32, images.y, images.caution
    check(X, y, syrk(X32)())
    check(X32, y, syrk(X32)())
    for level, times in {"avx512vnni": 5, "avx512": 1.6, "avx2": 1.2, "portable": 0.6}.items():
        yield Comparison(
            f"`uint8`, {level}",
            timed(at_level(level, fold(X, y))) if level in _fold.levels() else None,
            timed(syrk(X32)),
            "`ssyrk`, float32",
            faster(times, level),
            note if level in _fold.levels() else "This processor does not have this level.",
        )
    yield Comparison(
        "`uint8`, one thread",
        timed(fold(X, y, n_jobs=1)),
        timed(syrk(X32)),
        "`ssyrk`, float32, all threads",
        note=note,
    )
    yield Comparison(
        "`uint8`",
        timed(fold(X, y)),
        timed(product(X32)),
        "NumPy `X.T @ X`, float32",
        faster(4.5, "avx512vnni"),
        note,
    )
    yield Comparison(
        "`float32`", timed(fold(X32, y)), timed(syrk(X32)), "`ssyrk`", faster(1.1), note
    )
    X64 = images.X64
    del images, X, X32
    check(X64, y, syrk(X64)())
    yield Comparison(
        "`float64`", timed(fold(X64, y)), timed(syrk(X64)), "`dsyrk`", faster(1.1), note
    )


def dense(options: Options) -> Iterator[Comparison]:
    """Sufficient statistics of dense random data.

    As above, 60,000 x 784 in ten classes, but without zeros: bytes from 1 to 255, and standard
    normal numbers. Our kernels skip runs of zeros, of which MNIST has many (81 % of it is zero), and
    BLAS does not; this is what remains where there are none. The last row's mean is three standard
    deviations from zero, so that our pass subtracts a shift from each row.
    """
    rng = np.random.default_rng(0)
    shape = (options.images, 784)
    y = rng.integers(0, N_CLASSES, shape[0])
    X = rng.integers(1, 256, shape, dtype=np.uint8)
    X32 = X.astype(np.float32)
    yield Comparison("`uint8`", timed(fold(X, y)), timed(syrk(X32)), "`ssyrk`, float32")
    del X
    X32 = rng.standard_normal(shape, dtype=np.float32)
    yield Comparison("`float32`", timed(fold(X32, y)), timed(syrk(X32)), "`ssyrk`")
    X64 = X32.astype(np.float64)
    yield Comparison("`float64`", timed(fold(X64, y)), timed(syrk(X64)), "`dsyrk`")
    del X64
    X32 += 3
    yield Comparison("`float32`, mean 3", timed(fold(X32, y)), timed(syrk(X32)), "`ssyrk`")


def sparse(options: Options) -> Iterator[Comparison]:
    """Sufficient statistics of a sparse matrix.

    MNIST as CSR, 60,000 x 784 with 19 % of its values not zero, ten classes, against SciPy's sparse
    product `X.T @ X`, measured once.
    """
    images = Images(options.images)
    for dtype in (np.float32, np.float64):
        X = sp.csr_matrix(images.X.astype(dtype))
        check(X, images.y, product(X)().toarray())
        yield Comparison(
            f"CSR, `{X.dtype}`",
            timed(fold(X, images.y)),
            timed(product(X)),
            "SciPy `X.T @ X`",
            faster(10),
            images.caution,
            peer_once=True,
        )


def _wide_data(shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape, dtype=np.float32)
    return X, rng.integers(0, N_CLASSES, shape[0])


def _wide_peak(shape: tuple[int, int], ours: bool) -> float:
    X, y = _wide_data(shape)
    return peak_added(fold(X, y) if ours else syrk(X))


def wide(options: Options) -> Iterator[Comparison]:
    """Ten thousand features.

    Sufficient statistics of standard normal `float32` rows, 20,000 x 10,000, ten classes, against
    one `ssyrk`; and the most resident memory that either adds to its data, 4,000 such rows, in a fresh
    process. One Gram matrix of float64, in which our sums are held, is 763 MiB; `ssyrk` returns
    float32. Before each measurement, of either, 763 MiB are touched and freed: the host of a virtual
    machine takes memory back that is free for some seconds, which it is during the other's turn, and
    gives it anew slowly; otherwise ours, which needs more, would pay more of that.
    """
    shape = n_rows, width = QUICK_WIDE if options.quick else WIDE
    n_bytes = width**2 * 8
    gram, few = n_bytes / MIB, (min(n_rows, 4_000), width)
    X, y = _wide_data(shape)
    name = f"`float32`, {n_rows:,} x {width:,}"
    ours, peer = (timed(call, memory=n_bytes) for call in (fold(X, y), syrk(X)))
    yield Comparison(name, ours, peer, "`ssyrk`", faster(0.9))
    del X, y
    yield Comparison(
        "memory added",
        in_fresh_process(_wide_peak, few, True) if SEES_MEMORY else None,
        in_fresh_process(_wide_peak, few, False),
        "`ssyrk`",
        at_most(round(1.1 * gram)),
        "The target for memory is one Gram matrix, and a tenth of it for everything else.",
        unit="MiB",
        once=True,
    )


def fit(options: Options) -> Iterator[Comparison]:
    """Fit.

    `ParallelRidgeClassifier().fit(X, y)` against scikit-learn's `RidgeClassifier().fit(X, y)` on the
    same array, MNIST's 60,000 x 784; and the accuracy of both on its 10,000 test images.
    """
    # scikit-learn's float32 system is ill-conditioned: its accuracy in the table says what comes of it.
    warnings.filterwarnings("ignore", category=LinAlgWarning, module="sklearn")
    images = Images(options.images)

    def accuracy(estimator: Callable[[], Any], X: NDArray[Any]) -> Measurement:
        model = fitting(estimator, X, images.y)
        return lambda: model().score(images.X_test.astype(X.dtype), images.y_test)

    for dtype, times in {"uint8": 15, "float32": 3, "float64": 3}.items():
        X = images.X.astype(dtype)
        yield Comparison(
            f"`{dtype}`",
            timed(fitting(ParallelRidgeClassifier, X, images.y)),
            timed(fitting(RidgeClassifier, X, images.y)),
            "scikit-learn",
            faster(times),
            images.caution,
            least=5,
        )
        yield Comparison(
            f"`{dtype}`, test accuracy",
            accuracy(ParallelRidgeClassifier, X),
            accuracy(RidgeClassifier, X),
            "scikit-learn",
            at_least(SCIKIT_LEARN_ACCURACY) if images.found else None,
            unit="",
            once=True,
        )


def predict(options: Options) -> Iterator[Comparison]:
    """Predict.

    `predict` of 60,000 x 784 images in `uint8`, against scikit-learn's of a `RidgeClassifier` that
    was fitted to the same rows in `float64`.
    """
    images = Images(options.images)
    ours = ParallelRidgeClassifier().fit(images.X, images.y)
    peer = RidgeClassifier().fit(images.X64, images.y)
    n, same = len(images.X), np.sum(ours.predict(images.X) == peer.predict(images.X))
    yield Comparison(
        "`uint8`",
        timed(lambda: ours.predict(images.X)),
        timed(lambda: peer.predict(images.X)),
        "scikit-learn",
        faster(2),
        f"Both predict the same class for {same:,} of {n:,} rows. {images.caution}".strip(),
    )


def _fit_peak(estimator: Callable[[], Any], n_rows: int) -> float:
    images = Images(n_rows)
    return peak_added(fitting(estimator, images.X, images.y))


def _predict_peak(model: Any, n_rows: int) -> float:
    images = Images(n_rows)
    return peak_added(lambda: model.predict(images.X))


def _mapped(path: Path, like: Images) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    X = np.memmap(path, np.uint8, "r").reshape(-1, like.X.shape[1])
    return X, np.resize(like.y, len(X))


def _mapped_fit(path: Path, n_rows: int) -> float:
    images = Images(n_rows)
    X, y = _mapped(path, images)
    # alpha in proportion to the rows: the problem of one copy, with its solution and condition.
    estimator = partial(ParallelRidgeClassifier, alpha=len(X) / len(images.X))
    return anonymous_added(fitting(estimator, X, y))


def _mapped_predict(path: Path, model: Any, n_rows: int) -> float:
    X, _ = _mapped(path, Images(n_rows))
    return anonymous_added(lambda: model.predict(X))


def memory(options: Options) -> Iterator[Comparison]:
    """Memory.

    The most resident memory that a call adds to what its process held before, each in a fresh
    process: `fit` and `predict` on MNIST in `uint8` (60,000 x 784, 45 MiB), and on a file of 4 GiB of
    such rows, MNIST repeated, mapped by `numpy.memmap`. The file's own pages, which the system takes
    back when it needs them, do not count there: it is the growth of `RssAnon`, sampled every 2 ms.
    `fit` to the file has `alpha` multiplied by the number of copies, which makes it the problem of
    one copy with `alpha=1`.
    """
    if not SEES_MEMORY:
        reason = "Not measured: this system does not tell a process's peak memory."
        yield Comparison("memory", None, note=reason)
        return
    n_rows = options.images
    images = Images(options.images)
    ours = ParallelRidgeClassifier().fit(images.X, images.y)
    peer = RidgeClassifier().fit(images.X64, images.y)
    del images.X64
    for name, peak, models in options.kinds(
        [
            ("fit", _fit_peak, (ParallelRidgeClassifier, RidgeClassifier)),
            ("predict", _predict_peak, (ours, peer)),
        ]
    ):
        yield Comparison(
            f"`{name}`, array",
            *(in_fresh_process(peak, model, n_rows) for model in models),
            "scikit-learn",
            at_most(60) if name == "fit" else None,
            images.caution,
            unit="MiB",
            once=True,
        )
    copies = (64 if options.quick else 4096) * MIB // images.X.nbytes + 1
    size = f"file of {copies * images.X.nbytes / 1024 / MIB:.2f} GiB"
    room = shutil.disk_usage(options.scratch or tempfile.gettempdir()).free
    if room < 1.2 * copies * images.X.nbytes:
        reason = f"Not measured: too little room for a {size}."
        yield Comparison("`fit`, mapped file", None, target=at_most(200), note=reason)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        path = Path(folder, "rows")
        with path.open("wb") as file:
            for _ in range(copies):
                file.write(images.X.data)
        needed = f"{copies * images.X.size * 8 / 1024 / MIB:.0f} GiB"
        note = f"scikit-learn was not run on the mapped file: it converts it to float64, {needed}."
        yield Comparison(
            f"`fit`, {size}",
            in_fresh_process(_mapped_fit, path, n_rows),
            target=at_most(200),
            note=note,
            unit="MiB",
            once=True,
        )
        yield Comparison(
            f"`predict`, {size}",
            in_fresh_process(_mapped_predict, path, ours, n_rows),
            note=f"`predict` of the file makes labels, from positions among the classes in int64: "
            f"{copies * len(images.X) * 9 / MIB:.0f} MiB.",
            unit="MiB",
            once=True,
        )


def threads(options: Options) -> Iterator[Series]:
    """Threads.

    Sufficient statistics of MNIST (60,000 x 784, ten classes) with `n_jobs` threads.
    """
    images = Images(options.images)
    cores = default_threads()
    counts = range(1, cores + 1) if cores <= 8 else sorted({1, 2, 4, 8, cores // 2, cores})
    for dtype in ("uint8", "float32", "float64"):
        X = images.X.astype(dtype)
        calls = {n: timed(fold(X, images.y, n_jobs=n)) for n in counts}
        yield Series(f"`{dtype}`", calls)


def small(options: Options) -> Iterator[Comparison]:
    """Imports and small problems.

    The time of an import in a fresh interpreter (ours imports scikit-learn), and of `fit` where there
    is next to nothing to compute.
    """
    yield Comparison(
        "`import parallel_ridge`",
        import_time("parallel_ridge"),
        import_time("sklearn.linear_model"),
        "`import sklearn.linear_model`",
    )
    for name, load in {"iris": load_iris, "digits": load_digits}.items():
        X, y = load(return_X_y=True)
        rows, columns = X.shape
        yield Comparison(
            f"`fit`, {name}, {rows} x {columns}",
            timed(fitting(ParallelRidgeClassifier, X, y), number=20),
            timed(fitting(RidgeClassifier, X, y), number=20),
            "scikit-learn",
        )


GROUPS: dict[str, Group] = {
    "statistics": statistics,
    "dense": dense,
    "sparse": sparse,
    "wide": wide,
    "fit": fit,
    "predict": predict,
    "memory": memory,
    "threads": threads,
    "small": small,
}
