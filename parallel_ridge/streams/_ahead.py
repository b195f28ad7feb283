"""Reading ahead of whoever uses what is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
# Items read before they are asked for: one that is ready, and one that is being read.
ITEMS_AHEAD = 2
_END = object()


def read_ahead(items: Iterator[T], depth: int = ITEMS_AHEAD) -> Iterator[T]:
    """Yield items that a thread of its own reads, at most ``depth`` of them ahead.

    An error of the reader is raised in its turn. The thread ends with the iteration, also if the
    iterator is closed early: between two items it waits for nothing.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def read() -> T | object:
        return next(items, _END)

    pending: deque[Future[T | object]] = deque()
    try:
        for _ in range(depth):
            pending.append(reader.submit(read))
        while (item := pending.popleft().result()) is not _END:
            pending.append(reader.submit(read))
            yield item  # type: ignore[misc]
    finally:
        try:
            reader.shutdown(wait=True, cancel_futures=True)
        finally:  # also if Ctrl-C comes once more
            close = getattr(items, "close", None)
            if close is not None:
                close()
