"""Threads in this process: the default backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import joblib

from parallel_ridge.backends._base import Backend, V, reduce_blocks
from parallel_ridge.reductions import Reduction
from parallel_ridge.sources import Source
from parallel_ridge.threads import blas_threads, default_threads, forked

S = TypeVar("S")
T = TypeVar("T")


@dataclass
class OpenMPBackend(Backend):
    """Fold with OpenMP threads in this process.

    Parameters
    ----------
    n_jobs : int, default=None
        Threads. None: all cores that this process may use (its affinity, its container's quota,
        ``OMP_NUM_THREADS`` and threadpoolctl's limits), one in a joblib worker thread, inside an
        OpenMP region and in a forked child. Negative: that many fewer than all, plus one, as in joblib.
    features : str or sequence of str, default=None
        Feature columns of a table or a dataset: one column of whole rows (lists or tensors of numbers, or
        binary with one byte per feature), or several columns of numbers. None is the only column of
        whole rows, otherwise all columns of numbers without another role.
    """

    n_jobs: int | None = None
    features: str | Sequence[str] | None = field(default=None, repr=False)

    def reduce(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Fold `reduction` over `source`; float sums have the same bits for any number of threads."""
        n_threads = self.n_threads()
        with blas_threads(n_threads if reduction.shares_blocks else 1):
            return reduce_blocks(reduction, source, n_threads)

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on independent items in threads, which share out BLAS's threads."""
        items = list(items)
        most = self.n_threads()
        n_threads = min(most, max(1, len(items)))

        def limited(item: T) -> S:  # in each thread, for a BLAS that limits single threads
            with blas_threads(most // n_threads):
                return function(item)

        if n_threads <= 1:
            return [limited(item) for item in items]
        with blas_threads(most // n_threads), ThreadPoolExecutor(n_threads) as workers:
            return list(workers.map(limited, items))

    def can_read(self, X: Any) -> bool:
        """No: it reads arrays only."""
        return False

    def solve_threads(self) -> int:
        """Threads that a solve in this process may use."""
        return self.n_threads()

    def n_threads(self) -> int:
        """Threads a fold uses if called now."""
        if forked():
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
