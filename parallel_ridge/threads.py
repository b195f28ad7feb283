"""How many threads this process may use, and BLAS held to them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import ClassVar

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

from parallel_ridge.kernels import _fold


class _Process:
    """GNU OpenMP's threads do not survive a fork: a child would wait for them for ever."""

    forked = False


def _after_fork() -> None:
    _Process.forked = True
    _BlasLimit.lock, _BlasLimit.asked, _BlasLimit.current = threading.Lock(), [], None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def forked() -> bool:
    """Whether this process is the fork of one that imported this module."""
    return _Process.forked


def default_threads() -> int:
    """Number of threads that this process may use now."""
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
    """Number of cores by joblib, cached: reading a container's quota takes a fifth of a small fit."""
    return int(joblib.cpu_count())


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  # its BLAS must be loaded to be controlled

    return ThreadpoolController().select(user_api="blas")


class _BlasLimit(threading.Thread):
    """Holds BLAS to few threads from `start` until `release`.

    The limit of a BLAS with threads of its own is the whole process's, and threadpoolctl lets one
    thread alone set it and lift it. If a caller held it, leaving would lift the limit for the others, so
    a helper thread holds the lowest limit requested.
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
            self.held.set()  # nobody may wait for ever

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
        # If the caller has set a limit, only the caller's thread can lower it.
        with _blas().limit(limits=n_threads) if _exceeds(n_threads) else nullcontext():
            yield
    finally:
        with _BlasLimit.lock:
            _BlasLimit.asked.remove(n_threads)
            _BlasLimit.hold_lowest()


def _exceeds(n_threads: int) -> bool:
    return any(pool["num_threads"] > n_threads for pool in _blas().info())


# Up to this many features a decomposition (a Cholesky takes about 10 ms) runs on one thread.
FEATURES_ONE_THREAD = 1000


def blas_of_solve(n_features: int) -> AbstractContextManager[None]:
    """Hold BLAS to one thread if more threads would gain less than they cost.

    The threads of BLAS and of OpenMP know nothing of each other, and spin while they wait for work,
    for about 20 ms. After a solve of a few ms they would take the cores of the next pass.
    """
    return blas_threads(1) if n_features <= FEATURES_ONE_THREAD else nullcontext()
