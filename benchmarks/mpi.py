"""MPI: ranks against threads, bytes, grids over ranks x threads, and a model of what more ranks cost."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.measure import (
    Comparison,
    Grid,
    Group,
    Measurement,
    Options,
    Row,
    Table,
    at_most,
    faster,
    in_turns,
)

N_FEATURES, N_CLASSES, N_IMAGES = 784, 10, 60_000
START_LIMIT = 120.0
"""Seconds for a program to start, and for one call."""


class Program(AbstractContextManager["Program"]):
    """Ranks that wait, asleep, to be told to do one job once more; several start at the same time.

    Parameters
    ----------
    ranks, threads : int
    job : {"fit", "fold", "allreduce"} or "solves" and their number
    n_rows : int
        Of all ranks.
    dtype : str
    n_features : int
    """

    def __init__(
        self,
        ranks: int,
        threads: int,
        job: str,
        n_rows: int = N_IMAGES,
        dtype: str = "uint8",
        n_features: int = N_FEATURES,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.number = 0
        launcher = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or "mpiexec"
        limits = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        arguments = [self.folder.name, threads, job, n_rows, dtype, n_features]
        self.process = subprocess.Popen(
            [launcher, "-n", str(ranks), sys.executable, "-m", "benchmarks.mpi_program"]
            + [str(argument) for argument in arguments],
            env={**os.environ, **limits},
        )

    def __exit__(self, *_: object) -> None:
        self._path("request").write_text("end")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def ready(self) -> None:
        """Wait until it sleeps."""
        self._wait("ready")

    def ask(self) -> dict[str, Any]:
        """Seconds of one call on the slowest rank, and the bytes of its reductions."""
        self.ready()
        self._path("request").write_text("go")
        self._wait("answer")
        answer: dict[str, Any] = json.loads(self._path("answer").read_text())
        self.number += 1
        return answer

    def seconds(self) -> float:
        """Seconds of one call."""
        return float(self.ask()["seconds"])

    def _path(self, kind: str) -> Path:
        return Path(self.folder.name, f"{kind}-{self.number}")

    def _wait(self, kind: str) -> None:
        start = time.monotonic()
        while not self._path(kind).exists():
            if self.process.poll() is not None or time.monotonic() - start > START_LIMIT:
                raise RuntimeError(
                    f"The MPI program gave no {kind}; it ended with {self.process.poll()}."
                )
            time.sleep(0.002)


def mpi_ranks(options: Options) -> Iterator[Comparison]:
    """MPI: ranks in place of threads.

    `fit` of MNIST (60,000 x 784, ten classes) by two ranks with one thread each, against one rank with
    two threads, both in programs that are already running. What ranks send is counted by the backend.
    """
    for dtype in options.kinds(("uint8", "float32")):
        with Program(2, 1, "fit", dtype=dtype) as ours, Program(1, 2, "fit", dtype=dtype) as peer:
            ours.ready()
            peer.ready()
            yield Comparison(
                f"`fit`, {dtype}, two ranks x one thread",
                ours.seconds,
                peer.seconds,
                "one rank x two threads",
                faster(round(1 / 1.15, 3)),
            )
            if dtype == "uint8":
                reduced = ours.ask()["reduced"]
    d, k = N_FEATURES, N_CLASSES
    formula = 8 * (d * (d + 1) / 2 + k * d + d + k)
    grams = [size for size in reduced if size >= 4 * d * (d + 1)]
    yield Comparison(
        "what a rank gives to the reductions of a `fit`",
        lambda: sum(reduced) / 1e6,
        lambda: formula / 1e6,
        "8 (d (d + 1) / 2 + k d + d + k)",
        note="Counted in the all-reduces of one `fit`; the target is within 2 % of the formula.",
        unit="MB",
        once=True,
    )
    yield Comparison(
        "its difference from the formula",
        lambda: 100 * abs(sum(reduced) / formula - 1),
        target=at_most(2),
        unit="%",
        once=True,
    )
    yield Comparison(
        "reductions of a Gram matrix a `fit`",
        lambda: len(grams),
        target=at_most(1),
        unit="",
        once=True,
    )


GRID = ((1, 1), (1, 2), (2, 1), (2, 2))


def _grid(name: str, jobs: Sequence[tuple[str, int]], options: Options) -> Grid:
    """A job at each number of ranks and threads, in turns; programs wait asleep meanwhile."""
    step = 2 if options.quick else 1
    shapes, jobs = GRID[::step], jobs[::step]
    with ExitStack() as stack:
        programs = [
            stack.enter_context(Program(ranks, threads, job, n_rows))
            for (ranks, threads), (job, n_rows) in zip(shapes, jobs, strict=True)
        ]
        for program in programs:
            program.ready()
        calls: list[Measurement] = [program.seconds for program in programs]
        times = in_turns(calls, [options.repetitions] * len(calls))
    cores = joblib.cpu_count()
    cells = [
        {"ranks": r, "threads": t, "times": some, "oversubscribed": r * t > cores}
        for (r, t), some in zip(shapes, times, strict=True)
    ]
    return Grid(name, cells, scaled=len(set(jobs)) > 1)


def mpi_grids(options: Options) -> Iterator[Grid]:
    """MPI: speed-up over ranks x threads.

    Data parallel: `fit` of MNIST (uint8), the same rows on more workers; scaled: as many rows for each
    worker. Model parallel: 12 penalties solved by Cholesky from the same statistics, dealt out over
    the ranks; scaled: 6 for each worker. Speed-up is against one rank with one thread (scaled: times
    the work done), efficiency is that for each worker. Cells in brackets have more threads than the
    machine has cores.
    """
    n = N_IMAGES // (10 if options.quick else 1)
    workers = [ranks * threads for ranks, threads in GRID]
    grids = {
        "data parallel": [("fit", n) for _ in workers],
        "data parallel, scaled": [("fit", n * p // 4) for p in workers],
        "model parallel": [("solves 12", n) for _ in workers],
        "model parallel, scaled": [(f"solves {6 * p}", n) for p in workers],
    }
    for name, jobs in list(grids.items())[:: 2 if options.quick else 1]:
        yield _grid(name, jobs, options)


def mpi_cost(options: Options) -> Iterator[Row]:
    """MPI: what more ranks would bring.

    A model of the time of `fit`: `overhead + work / rate + latency log2 p + bytes / bandwidth`, for p
    ranks of one thread. Work is of two kinds, each with its rate: the pass, n d^2 / 2 multiplications
    shared by p ranks, and the solve, d^3 / 3 on one. The overhead is that of a call. The coefficients
    are those that minimise the relative errors of the measurements in the first table (non-negative
    least squares). **What stands under "predicted" was not measured**: it is the model's, for ranks
    that have a core each and a network like this machine's memory.
    """
    sizes = (6_000,) if options.quick else (7_500, 30_000, 60_000)
    widths = options.kinds((784, 196))[::-1]
    points, times = [], []
    for n, d in [(n, d) for d in widths for n in sizes]:
        with (
            Program(1, 1, "fit", n, n_features=d) as one,
            Program(2, 1, "fit", n, n_features=d) as two,
        ):
            one.ready()
            two.ready()
            times += in_turns([one.seconds, two.seconds], [options.repetitions] * 2)
            points += [(n, d, 1), (n, d, 2)]
    seconds = np.array([np.median(some) for some in times])
    terms = np.array([_terms(*point) for point in points])
    scale = terms.max(axis=0)
    found, _ = nnls(terms / scale / seconds[:, None], np.ones(len(points)))
    coefficients = found / scale
    modelled = terms @ coefficients
    yield Table(
        "measured, and the model's residuals",
        ["rows", "features", "ranks", "measured", "model", "residual"],
        [
            [f"{n:,}", str(d), str(p), _ms(t), _ms(m), f"{(m - t) / t:+.0%}"]
            for (n, d, p), t, m in zip(points, seconds, modelled, strict=True)
        ],
    )
    overhead, fold, solve, latency, byte = coefficients
    yield Table(
        "coefficients",
        ["", "fitted"],
        [
            ["overhead", _ms(overhead)],
            ["rate of the pass, a rank", _rate(fold, "multiplications")],
            ["rate of the solve", _rate(solve, "multiplications")],
            ["latency", f"{1e6 * latency:.0f} us"],
            ["bandwidth", _rate(byte, "bytes")],
        ],
    )
    yield Table(
        "predicted (not measured), uint8, d = 784",
        ["rows", "ranks", "predicted time", "predicted speed-up", "efficiency"],
        [
            [f"{n:,}", f"{p:,}", _ms(time), f"{base / time:.1f}", f"{base / time / p:.0%}"]
            for n in (60_000, 6_000_000, 600_000_000)
            for base in [float(_terms(n, 784, 1) @ coefficients)]
            for p in (2, 64, 1024)
            for time in [float(_terms(n, 784, p) @ coefficients)]
        ],
    )

    def solves(p: int) -> float:
        """50 solves (5 folds x 10 penalties) dealt out over p ranks, whose weights come back."""
        rounds = math.ceil(50 / p)
        sent = 8 * 50 * N_CLASSES * N_FEATURES if p > 1 else 0
        return float(overhead + solve * rounds * 784**3 / 3 + latency * math.log2(p) + byte * sent)

    yield Table(
        "predicted (not measured), model parallel: 50 solves, d = 784",
        ["ranks", "predicted time", "predicted speed-up"],
        [[f"{p:,}", _ms(solves(p)), f"{solves(1) / solves(p):.1f}"] for p in (2, 64, 1024)],
    )
    yield Table(
        "the 2017 study that this project follows, for comparison",
        ["", "its best speed-up"],
        [["data parallel, 64 workers", "25"], ["model parallel", "4"]],
    )


def _terms(n: int, d: int, p: int) -> NDArray[np.float64]:
    """What the coefficients of the model multiply."""
    sent = 8 * (d * (d + 1) / 2 + N_CLASSES * d + d + N_CLASSES) if p > 1 else 0.0
    return np.array([1.0, n * d**2 / 2 / p, d**3 / 3, math.log2(p), sent])


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f} ms"


def _rate(seconds_each: float, what: str) -> str:
    if not seconds_each:
        return "no limit seen"
    return f"{1e-9 / seconds_each:.3g} billion {what} a second"


GROUPS: dict[str, Group] = {
    "mpi_ranks": mpi_ranks,
    "mpi_grids": mpi_grids,
    "mpi_cost": mpi_cost,
}
