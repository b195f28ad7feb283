"""What a benchmark is made of: calls measured in turns, and memory measured in fresh processes."""

from __future__ import annotations

import ctypes
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

T = TypeVar("T")

PAUSE = 0.2
"""Seconds between two measurements: idle workers of one thread pool spin, and slow the next."""

ENOUGH, LEAST = 3.0, 3
"""Seconds after which a comparison is not measured again, once each side was this many times."""

LONG = 8.0
"""Seconds of a call from which on it needs no warm-up."""

SAMPLING = 0.002
"""Seconds between two looks at a process's memory."""

SEES_MEMORY = Path("/proc/self/clear_refs").exists()
"""Whether this system tells the peak of a process's memory."""

Measurement = Callable[[], float]
"""A call that returns one measurement, in the unit of its comparison."""


@dataclass(frozen=True)
class Target:
    """What a comparison must reach.

    Parameters
    ----------
    of : {"ratio", "ours"}
        Whether it is stated for the ratio of medians, or for our median itself.
    bound : float
    at_most : bool, default=False
        Whether less is better.
    level : str, default=None
        The CPU level that it is stated for; None is any.
    """

    of: Literal["ratio", "ours"]
    bound: float
    at_most: bool = False
    level: str | None = None


def faster(times: float, level: str | None = None) -> Target:
    """Take at most 1 / `times` of the peer's time."""
    return Target("ratio", times, level=level)


def at_most(bound: float) -> Target:
    """Stay at or below `bound`, whatever the peer does."""
    return Target("ours", bound, at_most=True)


def at_least(bound: float) -> Target:
    """Stay at or above `bound`, whatever the peer does."""
    return Target("ours", bound)


@dataclass(frozen=True)
class Comparison:
    """Ours and a peer on the same data.

    Parameters
    ----------
    name : str
        What is measured.
    ours, peer : callable returning float, or None
        Each makes one measurement. Without ours nothing is measured, and `note` says why (or the
        target's CPU level, which this machine lacks, does).
    against : str
        What the peer is.
    target : Target, default=None
    note : str
        A sentence below the table.
    unit : {"s", "MiB", ""}
    once : bool, default=False
        Whether one measurement will do, with no warm-up: memory and accuracy do not vary.
    peer_once : bool, default=False
        Whether the peer, which takes very long, is measured once, with no warm-up.
    least : int, default=LEAST
        Measurements of each side, at least, unless it is measured once.
    accuracies : tuple of two callables returning float, default=None
        Called after all measurements: test accuracy of what was measured last, ours and the peer's.
    """

    name: str
    ours: Measurement | None
    peer: Measurement | None = None
    against: str = ""
    target: Target | None = None
    note: str = ""
    unit: str = "s"
    once: bool = False
    peer_once: bool = False
    least: int = LEAST
    accuracies: tuple[Measurement, Measurement] | None = None

    def measure(self, repetitions: int) -> dict[str, Any]:
        """All measurements, as JSON holds them."""
        calls = [call for call in (self.ours, self.peer) if call] if self.ours else []
        most = [1, 1] if self.once else [repetitions, 1 if self.peer_once else repetitions]
        ours, peer = [*in_turns(calls, most[: len(calls)], self.least), [], []][:2]
        return {
            "name": self.name,
            "against": self.against,
            "unit": self.unit,
            "target": vars(self.target) if self.target else None,
            "note": self.note,
            "ours": ours,
            "peer": peer,
            "accuracies": [call() for call in self.accuracies or () if calls],
        }


@dataclass(frozen=True)
class Job(Comparison):
    """A comparison that is one cell of a map of jobs on shapes; its name is the shape's.

    Parameters
    ----------
    job : str
        What is done to the shape.
    limit : float, default=None
        Seconds that the job takes at least on this machine.
    bound : str, default=""
        The rate that most of the limit is due to.
    peaks : tuple of callables returning float
        MiB that the job adds at its peak: ours, and the peer's.
    kept : dict, default=None
        Where the result is left by job, for rows that come after.
    """

    job: str = ""
    limit: float | None = None
    bound: str = ""
    peaks: tuple[Measurement, ...] = ()
    kept: dict[str, dict[str, Any]] | None = None

    def measure(self, repetitions: int) -> dict[str, Any]:
        """All measurements, as JSON holds them."""
        result = super().measure(repetitions)
        result |= {"job": self.job, "limit": self.limit, "bound": self.bound}
        result["peaks"] = [peak() for peak in self.peaks]
        if self.kept is not None:
            self.kept[self.job] = result
        return result


@dataclass(frozen=True)
class Series:
    """One job at several numbers of workers, in turns.

    Parameters
    ----------
    name : str
        The job.
    calls : dict of int to callable
        Number of workers to a measurement in seconds.
    worker : str
        What a worker is.
    """

    name: str
    calls: dict[int, Measurement]
    worker: str = "threads"

    def measure(self, repetitions: int) -> dict[str, Any]:
        """All measurements, as JSON holds them."""
        times = in_turns(list(self.calls.values()), [repetitions] * len(self.calls))
        series = dict(zip(map(str, self.calls), times, strict=True))
        return {"name": self.name, "worker": self.worker, "series": series}


@dataclass(frozen=True)
class Grid:
    """One job over ranks x threads, already measured.

    Parameters
    ----------
    name : str
        The job.
    cells : list of dict
        ``ranks``, ``threads``, ``times`` in seconds, and whether the cell is ``oversubscribed``.
    scaled : bool
        Whether work grew with the number of workers.
    """

    name: str
    cells: list[dict[str, Any]]
    scaled: bool = False

    def measure(self, repetitions: int) -> dict[str, Any]:
        """The measurements, as JSON holds them."""
        return vars(self)


@dataclass(frozen=True)
class Table:
    """A table of its own, in words that were formed from measurements.

    Parameters
    ----------
    name : str
    head : list of str
    lines : list of list of str
    note : str
        A sentence below the table.
    """

    name: str
    head: list[str]
    lines: list[list[str]]
    note: str = ""

    def measure(self, repetitions: int) -> dict[str, Any]:
        """The table, as JSON holds it."""
        return vars(self)


@dataclass(frozen=True)
class Curves:
    """Measurements against a quantity, in a table and a figure.

    Parameters
    ----------
    name : str
        What is measured; it names the figure.
    x : str
        What varies, with its unit.
    y : str
        What is measured, with its unit.
    curves : dict of str to dict of float to callable, or to measurements
        By curve and by `x`; those at one `x` are measured in turns.
    unit : {"s", "MiB"}
    log : bool, default=True
        Whether both axes are logarithmic.
    slopes : bool, default=False
        Whether to fit an exponent to each curve.
    once_from : float, default=inf
        The `x` from which on one measurement must do, with no warm-up: it takes very long.
    note : str
        A sentence below the table.
    """

    name: str
    x: str
    y: str
    curves: dict[str, dict[float, Any]]
    unit: str = "s"
    log: bool = True
    slopes: bool = False
    once_from: float = math.inf
    note: str = ""

    def measure(self, repetitions: int) -> dict[str, Any]:
        """All measurements, as JSON holds them."""
        measured: dict[str, dict[str, list[float]]] = {name: {} for name in self.curves}
        for x in sorted({x for curve in self.curves.values() for x in curve}):
            at = {name: curve[x] for name, curve in self.curves.items() if x in curve}
            calls = [value for value in at.values() if callable(value)]
            often = 1 if x >= self.once_from else repetitions
            times = iter(in_turns(calls, [often] * len(calls)))
            for name, value in at.items():
                measured[name][f"{x:g}"] = next(times) if callable(value) else value
        kept = ("name", "x", "y", "unit", "log", "slopes", "note")
        return {"curves": measured} | {key: getattr(self, key) for key in kept}


@dataclass(frozen=True)
class Split:
    """One job at several numbers of threads, split into what they share and what they do not.

    Parameters
    ----------
    name : str
        The job.
    calls : dict of int to callable
        Number of threads to a measurement in seconds.
    """

    name: str
    calls: dict[int, Measurement]

    def measure(self, repetitions: int) -> dict[str, Any]:
        """All measurements, as JSON holds them."""
        times = in_turns(list(self.calls.values()), [repetitions] * len(self.calls))
        return {"name": self.name, "split": dict(zip(map(str, self.calls), times, strict=True))}


Row = Comparison | Series | Grid | Table | Curves | Split
Group = Callable[["Options"], Iterator[Row]]
"""Yields rows, one at a time so that data live no longer than needed; its docstring is the page's."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Parameters
    ----------
    quick : bool
        Fewer repetitions and smaller problems: a check of the benchmarks, not of the library.
    scratch : Path, default=None
        Folder for large temporary files; None is the system's.
    """

    quick: bool = False
    scratch: Path | None = None

    @property
    def repetitions(self) -> int:
        """Measurements of each side of a comparison, at most."""
        return 1 if self.quick else 7

    def kinds(self, kinds: Sequence[T]) -> Sequence[T]:
        """Kinds of which all are measured, or the first in a quick run."""
        return kinds[:1] if self.quick else kinds

    @property
    def images(self) -> int:
        """Training images, where all would be 60,000."""
        return 3_000 if self.quick else 60_000


def in_turns(
    calls: Sequence[Measurement], repetitions: Sequence[int], least: int = LEAST
) -> list[list[float]]:
    """Measure A, B, A, B, ... each as often as told, with a pause before each.

    What is measured more than once is warmed up, unless that takes long: then it counts. What is
    measured less often than others has its turn in their middle. What takes long is measured less
    often: see `ENOUGH`.
    """
    results: list[list[float]] = [[] for _ in calls]
    turns = max(repetitions, default=0)
    start = time.monotonic()
    for turn in range(-1, turns):
        taken: dict[int, float] = {}
        for i, (call, times) in enumerate(zip(calls, repetitions, strict=True)):
            early = (turns - times) // 2
            if (turn < 0 and times == 1) or not (turn < 0 or early <= turn < early + times):
                continue
            if turns > 1:
                time.sleep(PAUSE)
            taken[i] = call()
        spent = time.monotonic() - start
        if turn >= 0 or spent > LONG * len(calls):
            for i, value in taken.items():
                results[i].append(float(f"{value:.6g}"))
        if spent > ENOUGH and all(results) and max(map(len, results)) >= least:
            break
    return results


def timed(call: Callable[[], object], number: int = 1, memory: int = 0) -> Measurement:
    """Measurement of the seconds of a call; of the mean of `number` calls if it is a short one.

    Before the clock starts, this many bytes of `memory` are touched and freed: the host of a virtual
    machine may have taken them back, and gives them anew more slowly than they are written.
    """

    def measurement() -> float:
        np.ones(memory, np.uint8)
        start = time.perf_counter()
        for _ in range(number):
            call()
        return (time.perf_counter() - start) / number

    return measurement


def import_time(module: str) -> Measurement:
    """Measurement of the seconds that an import takes in a fresh interpreter."""
    # An editable install checks its build before the first import: let that be before the clock.
    program = (
        "import sys, time; [f._rebuild() for f in sys.meta_path if hasattr(f, '_rebuild')]; "
        f"start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-P", "-c", program]

    def measurement() -> float:
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(run.stdout)

    return measurement


def in_fresh_process(function: Callable[..., T], *args: Any) -> Callable[[], T]:
    """A call of a module's function in a new process, which it shares with nothing else."""

    def measurement() -> T:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(function, *args).result()

    return measurement


def peak_added(call: Callable[[], object]) -> float:
    """MiB that a call adds to this process's resident memory at its peak, mapped files included."""
    trim()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = memory("VmRSS")
    call()
    return memory("VmHWM") - before


def anonymous_added(call: Callable[[], object]) -> float:
    """MiB that a call adds to this process's memory that is no file's, at its sampled peak."""
    trim()
    before = memory("RssAnon")
    with sampled("RssAnon") as samples:
        call()
    return max(samples) - before


@contextmanager
def sampled(field: str) -> Iterator[list[float]]:
    """A list that a thread fills with samples of this process's memory (MiB) while the body runs."""
    samples = [memory(field)]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLING):
            samples.append(memory(field))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.append(memory(field))


def memory(field: str) -> float:
    """A field of this process's status, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"This system does not tell {field} of a process.")


def trim() -> None:
    """Give free memory back, so that a call that takes it again is seen to."""
    with suppress(AttributeError, OSError, TypeError):  # where the C library is another one
        ctypes.CDLL(None).malloc_trim(0)
