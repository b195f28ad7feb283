"""Threads in this process: the default backend."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

from parallel_ridge.backends._base import Backend, V, fold_blocks
from parallel_ridge.kernels import _fold
from parallel_ridge.reductions import Reduction
from parallel_ridge.sources import Source

T = TypeVar("T")
S = TypeVar("S")


@dataclass
class OpenMPBackend(Backend):
    """Fold with OpenMP threads in this process.

    Parameters
    ----------
    n_jobs : int, default=None
        Threads. None: all cores that this process may use (its affinity, its container's quota,
        ``OMP_NUM_THREADS`` and threadpoolctl's limits), one in a joblib worker thread, inside an
        OpenMP region and in a forked child. Negative: that many fewer than all, plus one, as in joblib.
    """

    n_jobs: int | None = None

    def fold(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Fold `reduction` over `source`; float sums have the same bits for any number of threads."""
        n_threads = self.n_threads()
        with blas_threads(n_threads if reduction.shares_blocks else 1):
            return fold_blocks(reduction, source, n_threads)

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on independent items in threads, which share out BLAS's threads."""
        items = list(items)
        most = self.n_threads()
        n_threads = min(most, max(1, len(items)))
        with blas_threads(most // n_threads):
            if n_threads <= 1:
                return [function(item) for item in items]
            with ThreadPoolExecutor(n_threads) as workers:
                return list(workers.map(function, items))

    def solve_threads(self) -> int:
        """Threads that a solve in this process may use."""
        return self.n_threads()

    def n_threads(self) -> int:
        """Threads a fold uses if called now."""
        if _Process.forked:
            return 1
        if self.n_jobs == 0:
            raise ValueError(
                "n_jobs must not be 0: choose a number of threads, -1 for all cores, or None."
            )
        if self.n_jobs is None:
            return default_threads()
        if self.n_jobs < 0:
            return max(1, joblib.cpu_count() + 1 + self.n_jobs)
        return self.n_jobs


class _Process:
    """GNU OpenMP's threads do not survive a fork: a child that waits for them waits for ever."""

    forked = False


def _after_fork() -> None:
    _Process.forked = True
    _BlasLimit.lock, _BlasLimit.asked, _BlasLimit.current = threading.Lock(), [], None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def default_threads() -> int:
    """Threads that this process may use, here and now."""
    in_joblib_thread = (
        bool(get_active_backend()[0].nesting_level)
        and threading.current_thread() is not threading.main_thread()
    )
    if (
        in_joblib_thread
    ):  # the other workers have the other cores; worker processes have OpenMP limits
        return 1
    affinity = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return max(1, min(_fold.max_threads(), _cores(affinity, os.environ.get("LOKY_MAX_CPU_COUNT"))))


@cache
def _cores(affinity: frozenset[int] | None, limit: str | None) -> int:
    """Cores by joblib, which reads a container's quota from files: a fifth of a small fit, each time."""
    return int(joblib.cpu_count())


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  # its BLAS must be loaded to be controlled

    return ThreadpoolController().select(user_api="blas")


class _BlasLimit(threading.Thread):
    """Holds BLAS to few threads from `start` until `release`.

    The limit of a BLAS with threads of its own is the whole process's, and threadpoolctl lets one
    thread alone set it and lift it. Were that one of several callers, it would lift the limit of
    the others when it goes; so it is a thread that lives as long as the lowest limit asked for.
    """

    lock = threading.Lock()
    asked: ClassVar[list[int]] = []
    current: ClassVar[_BlasLimit | None] = None

    def __init__(self, n_threads: int) -> None:
        super().__init__(daemon=True)
        self.n_threads = n_threads
        self.held, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        """Hold the limit until told to let go."""
        try:
            with _blas().limit(limits=self.n_threads):
                self.held.set()
                self.over.wait()
        finally:
            self.held.set()  # whatever happens, nobody waits for ever

    @classmethod
    def hold_lowest(cls) -> None:
        """Hold the lowest limit that any caller asks for; the lock is the caller's."""
        lowest = min(cls.asked, default=None)
        if cls.current is not None and cls.current.n_threads != lowest:
            cls.current.over.set()
            cls.current.join()
            cls.current = None
        if cls.current is None and lowest is not None and _exceeds(lowest):
            cls.current = cls(lowest)
            cls.current.start()
            cls.current.held.wait()


@contextmanager
def blas_threads(n_threads: int) -> Iterator[None]:
    """Hold BLAS to at most `n_threads` threads, as long as any caller is in here."""
    with _BlasLimit.lock:
        _BlasLimit.asked.append(n_threads)
        _BlasLimit.hold_lowest()
    try:
        # Where a limit of the caller's own is in force, only the thread that set it can lower it.
        with _blas().limit(limits=n_threads) if _exceeds(n_threads) else nullcontext():
            yield
    finally:
        with _BlasLimit.lock:
            _BlasLimit.asked.remove(n_threads)
            _BlasLimit.hold_lowest()


def _exceeds(n_threads: int) -> bool:
    return any(pool["num_threads"] > n_threads for pool in _blas().info())
