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
from threadpoolctl import LibController, OpenBLASController, ThreadpoolController

from parallel_ridge.kernels import _fold


class _Process:
    """GNU OpenMP's threads do not survive a fork: a child would wait for them for ever."""

    forked = False


def _after_fork() -> None:
    _Process.forked = True
    _BlasLimit.lock, _BlasLimit.asked = threading.Lock(), []
    _BlasLimit.held, _BlasLimit.lowest = {}, None


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


class _BlasLimit:
    """The lowest limit that anybody in `blas_threads` asks for, on each BLAS with one pool of threads.

    The limit of such a pool is the whole process's. threadpoolctl lets one thread alone set it and
    lift it, which would make the first caller's leaving lift the limit of all others. Here they share
    one count, and no thread owns the limit: whoever sets another one meanwhile keeps it.
    """

    lock = threading.Lock()
    asked: ClassVar[list[int]] = []
    # For each library, its threads before us, and what we have set.
    held: ClassVar[dict[int, tuple[int, int]]] = {}
    lowest: ClassVar[int | None] = None

    @classmethod
    def hold_lowest(cls) -> None:
        """Hold the lowest limit that any caller asks for; the lock is the caller's."""
        lowest = min(cls.asked, default=None)
        if lowest == cls.lowest:
            return
        cls.lowest = lowest
        for i, lib in enumerate(_blas().lib_controllers):
            if _limits_each_thread(lib):
                continue
            now = lib.num_threads
            before, ours = cls.held.get(i, (now, now))
            if now != ours:  # others have set it since
                before = now
            wanted = before if lowest is None else min(before, lowest)
            if now != wanted:
                _set_threads(lib, wanted)
            cls.held[i] = before, wanted
        if lowest is None:
            cls.held = {}


def _limits_each_thread(lib: LibController) -> bool:
    """Whether threadpoolctl limits the calling thread only, as it has since it knows owners."""
    if not hasattr(OpenBLASController, "clear_controlling_thread"):
        return False
    openmp = lib.internal_api == "openblas" and lib.threading_layer == "openmp"
    return openmp or lib.internal_api == "mkl"


def _set_threads(lib: LibController, n_threads: int) -> None:
    disown = getattr(lib, "clear_controlling_thread", None)  # older versions know no owner
    if disown is not None:
        disown(force=True)
    lib.set_num_threads(n_threads)
    if disown is not None:
        disown(force=True)


@contextmanager
def blas_threads(n_threads: int) -> Iterator[None]:
    """Hold BLAS to at most `n_threads` threads, as long as any caller is in here."""
    own = [lib for lib in _blas().lib_controllers if _limits_each_thread(lib)]
    before = [lib.num_threads for lib in own]
    entered = False
    try:
        with _BlasLimit.lock:
            _BlasLimit.asked.append(n_threads)
            entered = True
            _BlasLimit.hold_lowest()
        for lib, most in zip(own, before, strict=True):
            lib.set_num_threads(min(most, n_threads))
        yield
    finally:
        for lib, most in zip(own, before, strict=True):
            lib.set_num_threads(most)
        if entered:
            with _BlasLimit.lock:
                _BlasLimit.asked.remove(n_threads)
                _BlasLimit.hold_lowest()


# Up to this many features a decomposition (a Cholesky takes about 10 ms) runs on one thread.
FEATURES_ONE_THREAD = 1000


def blas_of_solve(n_features: int) -> AbstractContextManager[None]:
    """Hold BLAS to one thread if more threads would gain less than they cost.

    The threads of BLAS and of OpenMP know nothing of each other, and spin while they wait for work,
    for about 20 ms. After a solve of a few ms they would take the cores of the next pass.
    """
    return blas_threads(1) if n_features <= FEATURES_ONE_THREAD else nullcontext()
