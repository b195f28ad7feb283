"""Threads in this process: the default backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

from parallel_ridge.backends._base import V, fold_blocks
from parallel_ridge.kernels import _fold
from parallel_ridge.reductions import Reduction
from parallel_ridge.sources import Source

T = TypeVar("T")
S = TypeVar("S")


@dataclass
class OpenMPBackend:
    """Fold with OpenMP threads in this process.

    Parameters
    ----------
    n_jobs : int, default=None
        Threads. None: all cores that this process may use (its affinity, its container's quota,
        ``OMP_NUM_THREADS`` and threadpoolctl's limits), one in a joblib worker thread or inside an
        OpenMP region. Negative: that many fewer than all, plus one, as in joblib.
    """

    n_jobs: int | None = None
    name = "openmp"

    def fold(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Fold `reduction` over `source`; float sums have the same bits for any number of threads."""
        n_threads = self.n_threads()
        with blas_threads(n_threads):
            return fold_blocks(reduction, source, n_threads)

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on independent items in threads, each with one BLAS thread."""
        n_threads = self.n_threads()
        with blas_threads(1):
            if n_threads == 1:
                return [function(item) for item in items]
            with ThreadPoolExecutor(n_threads) as workers:
                return list(workers.map(function, items))

    def solve_threads(self) -> int:
        """Threads that a solve in this process may use."""
        return self.n_threads()

    def n_threads(self) -> int:
        """Threads a fold uses if called now."""
        if self.n_jobs is None:
            return default_threads()
        if self.n_jobs < 0:
            return max(1, joblib.cpu_count() + 1 + self.n_jobs)
        return self.n_jobs


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
    return max(1, min(_fold.max_threads(), joblib.cpu_count()))


@cache
def _controller() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  # its BLAS must be loaded to be controlled

    return ThreadpoolController()


class _BlasLimit:
    """How many callers hold BLAS to fewer threads, and what lifts that again."""

    lock = threading.Lock()
    callers = 0
    limiter: Any = None


@contextmanager
def blas_threads(n_threads: int) -> Iterator[None]:
    """Hold BLAS to at most `n_threads` threads.

    The limit belongs to the whole process, so of several callers at once the first to come sets it
    and the last to go lifts it: otherwise one would lift another's limit in mid-flight.
    """
    with _BlasLimit.lock:
        blas = _controller().select(user_api="blas")
        if any(pool["num_threads"] > n_threads for pool in blas.info()):
            limiter = blas.limit(limits=n_threads)
            _BlasLimit.limiter = _BlasLimit.limiter or limiter
        _BlasLimit.callers += 1
    try:
        yield
    finally:
        with _BlasLimit.lock:
            _BlasLimit.callers -= 1
            if not _BlasLimit.callers and _BlasLimit.limiter:
                _BlasLimit.limiter.restore_original_limits()
                _BlasLimit.limiter = None
