"""Scale on one machine: what more rows, columns and classes cost, and a stream of millions of images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.images import stream
from benchmarks.measure import (
    SEES_MEMORY,
    Comparison,
    Curves,
    Group,
    Measurement,
    Options,
    Row,
    in_fresh_process,
    memory,
    sampled,
    timed,
    trim,
)
from benchmarks.single_machine import N_CLASSES, Images
from parallel_ridge import ParallelRidgeClassifier, sufficient_statistics

ROWS = (7_500, 15_000, 30_000, 60_000, 120_000)
COLUMNS = (250, 500, 1_000, 2_000, 4_000)
CLASSES = (2, 8, 32, 128, 512)
DTYPES = ("uint8", "float32")
TALL, WIDE, MANY = 784, 8_000, (60_000, 256)
"""Columns where rows vary, rows where columns do, and both where classes do."""

STREAM, QUICK_STREAM, BATCH = 8_100_000, 20_000, 20_000
LOOKS = 54
"""Points of the figure of memory."""

SHAPE = (28, 28)


def scale(options: Options) -> Iterator[Curves]:
    """Scale: the cost of rows, columns and classes.

    `ParallelRidgeClassifier(1000).fit` of dense random data: bytes from 1 to 255, and standard normal
    `float32`. The exponent is the slope of a straight line through the logarithms of the medians. The
    pass costs n d² / 2 multiplications and the solve d³ / 3, so that 1 is expected for rows, between 2
    and 3 for columns, and 0 for classes until their sums and their k right-hand sides weigh as much as
    the Gram matrix; small problems cost relatively more, which makes exponents smaller.
    """
    few, small = (slice(2), 20) if options.quick else (slice(None), 1)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, N_CLASSES, max(ROWS))

    def fit(X: NDArray[Any], y: NDArray[Any]) -> Measurement:
        return timed(partial(ParallelRidgeClassifier(1000.0).fit, X, y))

    def curves(x: str, others: str, calls: dict[str, dict[float, Measurement]]) -> Curves:
        name = f"{x.capitalize()}, of {others}"
        return Curves(name, x, "time of a fit", calls, slopes=True)

    sizes, d = [n // small for n in ROWS[few]], TALL // small
    data = {dtype: _dense(rng, dtype, max(sizes), d) for dtype in DTYPES}
    calls = {t: {n: fit(X[:n], labels[:n]) for n in sizes} for t, X in data.items()}
    yield curves("rows", f"{d} columns and {N_CLASSES} classes", calls)
    del data, calls

    n, widths = WIDE // small, [d // small for d in COLUMNS[few]]
    y = labels[:n]
    calls = {t: {d: fit(_dense(rng, t, n, d), y) for d in widths} for t in DTYPES}
    yield curves("columns", f"{n:,} rows and {N_CLASSES} classes", calls)
    del calls

    n, d = MANY[0] // small, MANY[1] // small
    data = {dtype: _dense(rng, dtype, n, d) for dtype in DTYPES}
    calls = {t: {k: fit(X, rng.integers(0, k, n)) for k in CLASSES[few]} for t, X in data.items()}
    yield curves("classes", f"{n:,} rows and {d} columns", calls)


def _dense(rng: np.random.Generator, dtype: str, n: int, d: int) -> NDArray[Any]:
    if dtype == "uint8":
        return rng.integers(1, 256, (n, d), dtype=np.uint8)
    return rng.standard_normal((n, d), dtype=np.float32)


def _fold_stream(n_rows: int) -> dict[str, Any]:
    """Fold a stream of images, and tell seconds, memory as it went, its peak, and the test accuracy."""
    images = Images()
    total, done = None, 0
    looks: dict[float, list[float]] = {}
    trim()
    start = time.perf_counter()
    making = 0.0
    with sampled("RssAnon") as samples:
        batches = stream(images.X, images.y, SHAPE, n_rows, BATCH)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            making += time.perf_counter() - before
            if batch is None:
                break
            statistics = sufficient_statistics(*batch, classes=np.arange(N_CLASSES))
            total = statistics if total is None else total + statistics
            done += len(batch[0])
            if done * LOOKS // n_rows > len(looks):
                looks[done / 1e6] = [float(f"{memory('RssAnon'):.6g}")]
        seconds = time.perf_counter() - start
    model = ParallelRidgeClassifier(n_rows / len(images.X)).fit_statistics(total)
    return {
        "seconds": seconds,
        "making": making,
        "looks": looks,
        "peak": max(samples),
        "accuracy": float(model.score(images.X_test, images.y_test)),
        "exact": bool(total is not None and total.exact and total.n_samples == n_rows),
    }


def scale_stream(options: Options) -> Iterator[Row]:
    """Scale: a stream of 8.1 million images.

    135 images are made of each of MNIST's 60,000: strokes as they are, thickened and thinned, at 45
    shifts of up to 4 pixels down or up and 2 to the side. They are made in batches of 20,000 while the
    stream goes on, in one buffer, and nothing is kept on disk; the `SufficientStatistics` of each batch
    are added to those before, in exact integers, and one solve follows. All in a fresh process, once.
    Memory is the process's own (`RssAnon`), with Python, the 60,000 images and the buffers in it. The
    accuracy is that on the 10,000 test images, which are not shifted.
    """
    if not SEES_MEMORY:
        reason = "Not measured: this system does not tell a process's memory."
        yield Comparison("stream", None, note=reason)
        return
    n_rows = QUICK_STREAM if options.quick else STREAM
    found = in_fresh_process(_fold_stream, n_rows)()
    if not found["exact"]:
        raise ArithmeticError("The sums of the stream are not exact, or not of all images.")
    name, note = f"{n_rows:,} images", Images(1).caution
    yield Comparison(f"{name}, time", lambda: found["seconds"], note=note, once=True)
    yield Comparison("of this, making images", lambda: found["making"], once=True)
    yield Comparison(
        "images a second", lambda: n_rows / found["seconds"], unit="images a second", once=True
    )
    yield Comparison("peak memory", lambda: found["peak"], unit="MiB", once=True)
    yield Comparison("test accuracy", lambda: found["accuracy"], unit="", once=True)
    yield Curves(
        "Memory while the stream is folded",
        "million images folded",
        "memory",
        {"parallel_ridge": found["looks"]},
        unit="MiB",
        log=False,
    )


GROUPS: dict[str, Group] = {"scale": scale, "scale_stream": scale_stream}
