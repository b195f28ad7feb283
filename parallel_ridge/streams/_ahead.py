"""Reading ahead of whoever uses what is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")
# Items read before they are asked for: one that is ready, and one that is being read.
ITEMS_AHEAD = 2
_END = object()


class Ahead(Generic[T]):
    """Items that a thread of its own reads, at most ``depth`` of them before they are asked for.

    The thread begins at once. It ends with the iteration, or with `close`: between two items it waits
    for nothing. An error of the reader is raised in its turn.

    Parameters
    ----------
    items : iterator
    depth : int
    """

    def __init__(self, items: Iterator[T], depth: int = ITEMS_AHEAD) -> None:
        self._items = items
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._pending: deque[Future[T | object]] = deque()
        for _ in range(depth):
            self._pending.append(self._thread.submit(self._read))

    def _read(self) -> T | object:
        return next(self._items, _END)

    def __iter__(self) -> Iterator[T]:
        while (item := self._pending.popleft().result()) is not _END:
            self._pending.append(self._thread.submit(self._read))
            yield item  # type: ignore[misc]

    def close(self) -> None:
        """End the thread, and then the iterator that it read."""
        try:
            self._thread.shutdown(wait=True, cancel_futures=True)
        finally:  # also if Ctrl-C comes once more
            close = getattr(self._items, "close", None)
            if close is not None:
                close()


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items that a thread of its own reads ahead."""
    return read_parts([lambda: items], 1)


def read_parts(parts: Iterable[Callable[[], Iterator[T]]], n_readers: int) -> Iterator[T]:
    """Yield the items of several iterators, one after another; some are read ahead at a time.

    Parameters
    ----------
    parts : iterable of callable
        Each makes an iterator.
    n_readers : int
        Iterators to read at a time, each in a thread of its own.
    """
    waiting = iter(parts)
    running: deque[Ahead[T]] = deque()
    try:
        running.extend(Ahead(part()) for part in islice(waiting, n_readers))
        while running:
            yield from running[0]
            running.popleft().close()
            running.extend(Ahead(part()) for part in islice(waiting, 1))
    finally:
        for ahead in running:
            ahead.close()
