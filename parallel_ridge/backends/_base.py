"""The two verbs of a backend, and the block loop that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, runtime_checkable

from parallel_ridge.reductions import Reduction, Value
from parallel_ridge.sources import Source

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

    name: str

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
    """Fold in this process, block by block; between two blocks Python hears signals."""
    total = reduction.zero(n_threads)
    for block in source.blocks(reduction.block_rows):
        reduction.add(total, block)
    return reduction.finish(total)
