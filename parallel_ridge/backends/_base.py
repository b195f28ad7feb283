"""The verbs of a backend, and the block loop that they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from itertools import chain, islice
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.reductions import Reduction, Value, complete
from parallel_ridge.sources import Block, Source, Target, Validate, as_source, check_rows

A = TypeVar("A")
V = TypeVar("V", bound=Value)
T = TypeVar("T")
S = TypeVar("S")
P = ParamSpec("P")


@dataclass(frozen=True)
class Plan:
    """What will be folded of rows, for backends that must pass over them to know their facts.

    The same pass may as well form the statistics.

    Attributes
    ----------
    statistics : bool
        Whether statistics of all rows, with the weights that they come with, will be wanted.
    centre, double : bool
        See `StatisticsReduction`.
    near : ndarray of shape (d,), or None
    cv, groups : object
        How rows will be split, of a search: see `Splits`.
    """

    statistics: bool = False
    centre: bool = True
    double: bool = False
    near: NDArray[np.float64] | None = None
    cv: Any = None
    groups: Any = None


_call: ContextVar[str] = ContextVar("call", default="")


@contextmanager
def public_call(name: str) -> Iterator[None]:
    """Name the public call that is made, for processes to compare; an inner one is part of the outer."""
    token = None if _call.get() else _call.set(name)
    try:
        yield
    finally:
        if token is not None:
            _call.reset(token)


def named_call(function: Callable[P, T]) -> Callable[P, T]:
    """A function that is a public call."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with public_call(function.__qualname__):
            return function(*args, **kwargs)

    return call


def current_call() -> str:
    """The public call that is being made in this thread; empty if there is none."""
    return _call.get()


class BackendUnavailable(ImportError):
    """A backend whose library is missing or broken; the cause is kept."""


@runtime_checkable
class Backend(Protocol):
    """Where a fold runs.

    `fold` is data parallelism, `map` is model parallelism, and `gather` is how processes agree;
    `source` is where rows come in. A backend that is driven by one process and reads arrays inherits
    the last two from here.

    Rows may live in several processes, each of which makes the same calls with its own rows. Then
    all calls of the verbs are collective, and every one gives all callers the same answer, or
    raises the same error in all. Whatever decides what is called next must therefore come from the
    verbs, and not from a process's own rows.

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
        """Call `function` on independent items, spread over the workers; results in order.

        Each item is worked on once, also where there is only one.
        """

    def gather(self, function: Callable[[], T]) -> list[T]:
        """Call `function` in every process that has rows of its own; results in order of rank.

        The same list on every caller. If it raises in any process, each raises that error.
        """
        return [function()]

    def source(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        classes: Any = None,
        validate: Validate = check_rows,
        options: Callable[[], dict[str, str]] = dict,
    ) -> tuple[Source, Target]:
        """Rows as the user gave them, as a source.

        Parameters
        ----------
        X, y, sample_weight : object
            Arrays, or what else this backend reads.
        classes : array-like, default=None
            All labels there are; those of all rows when None.
        validate : callable
            ``validate(X, y, empty)``: both as arrays, after the estimator's checks; whether this
            process may have no rows.
        options : callable
            ``options()``: a description of the estimator's options, for processes to compare.

        Returns
        -------
        source : Source
        target : Target
            With the classes of all rows.
        """
        return as_source(X, y, sample_weight=sample_weight, classes=classes, validate=validate)

    def planned(self, plan: Plan) -> Backend:
        """The same backend, told what will be folded of the next source."""
        return self

    def solve_threads(self) -> int:
        """Threads that a solve in this process may use; asks no other process."""


def fold_blocks(reduction: Reduction[A, V], source: Source, n_threads: int) -> Any:
    """Fold in this process, block by block; between two blocks Python hears signals.

    The bits of the value do not depend on the number of threads.
    """
    return complete(reduction, _fold_blocks(reduction, source, n_threads))


def _fold_blocks(reduction: Reduction[A, V], source: Source, n_threads: int) -> Any:
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
