"""Progress bars for long work, where tqdm is installed and somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
# Work shorter than this many seconds shows no bar.
DELAY = 1.0
_shown: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def showing(show: bool) -> Iterator[None]:
    """Whether passes over the rows show their progress meanwhile."""
    token = _shown.set(show)
    try:
        yield
    finally:
        _shown.reset(token)


def progress(
    items: Iterable[T], what: str, *, unit: str = "", total: int | None = None, show: bool = True
) -> Iterable[T]:
    """The items, with a bar in a terminal or a notebook if they take longer than a second.

    Parameters
    ----------
    what, unit : str
        Text of the bar.
    total : int, default=None
        Number of items, where they have no length.
    show : bool, default=True
        Whether to show a bar at all.
    """
    bar = _bar(iterable=items, total=total, desc=what, unit=unit) if show else None
    return items if bar is None else bar


def rows_shown(
    items: Iterable[T], n_rows: Callable[[T], int], total: int | None = None
) -> Iterator[T]:
    """Pieces of rows, with a bar of rows done, their rate and the time left, if passes show it.

    Parameters
    ----------
    items : iterable
    n_rows : callable
        ``n_rows(item)``: rows of an item.
    total : int, default=None
        Rows of all items, if known.
    """
    bar = None
    if _shown.get():
        bar = _bar(total=total, desc="rows", unit=" rows", unit_scale=True, leave=False)
    if bar is None:
        yield from items
        return
    with bar:
        for item in items:
            yield item
            bar.update(n_rows(item))  # when the item is done, and the next one is asked for


def _bar(**options: Any) -> Any:
    """A bar of tqdm; None if it is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    # None: no bar where nobody looks, such as in a log file; but notebooks are no terminals.
    notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    return tqdm(**options, delay=DELAY, disable=False if notebook else None)
