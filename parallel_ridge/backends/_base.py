"""The two verbs of a backend, and the block loop that they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, Protocol, TypeVar, runtime_checkable

from parallel_ridge.reductions import Reduction, Value
from parallel_ridge.sources import Block, Source

A = TypeVar("A")
V = TypeVar("V", bound=Value)
T = TypeVar("T")
S = TypeVar("S")


class BackendUnavailable(ImportError):
    """A backend whose library is missing or broken; the cause is kept."""


@runtime_checkable
class Backend(Protocol):
    """Where a fold runs.

    A backend holds configuration only, so that it can be copied and pickled; whatever is live
    (communicators, sessions, thread pools) is found when a verb is called.
    """

    def fold(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Fold `reduction` over every block of `source`.

        Parameters
        ----------
        reduction : Reduction
        source : Source

        Returns
        -------
        value
            Of all rows; equal on every caller.
        """

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on independent items, spread over the workers; results in order."""

    def solve_threads(self) -> int:
        """Threads that a solve in this process may use."""


def fold_blocks(reduction: Reduction[A, V], source: Source, n_threads: int) -> V:
    """Fold in this process, block by block; between two blocks Python hears signals.

    The bits of the value do not depend on the number of threads.
    """
    if reduction.shares_blocks:
        total = reduction.zero(n_threads)
        for block in source.blocks(reduction.block_rows):
            reduction.add(total, block)
        return reduction.finish(total)

    def of_block(block: Block) -> V:
        total = reduction.zero(1)
        reduction.add(total, block)
        return reduction.finish(total)

    values = _in_threads(of_block, source.blocks(reduction.block_rows), n_threads)
    value = next(values, None)
    if value is None:
        return reduction.finish(reduction.zero(1))
    for other in values:
        value = value + other
    return value


def _in_threads(function: Callable[[T], S], items: Iterable[T], n_threads: int) -> Iterator[S]:
    """Results in order, from few items at a time: blocks that were gathered take memory."""
    items = iter(items)
    first = list(islice(items, 2))
    if n_threads == 1 or len(first) < 2:
        yield from map(function, chain(first, items))
        return
    with ThreadPoolExecutor(n_threads) as workers:
        pending = deque(workers.submit(function, item) for item in first)
        try:
            for item in items:
                pending.append(workers.submit(function, item))
                if len(pending) > 2 * n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
