"""Progress bars for long work, where tqdm is installed and somebody looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def progress(
    items: Iterable[T], what: str, *, unit: str = "", total: int | None = None, show: bool = True
) -> Iterable[T]:
    """The items, with a bar on a terminal if they take longer than a second.

    Parameters
    ----------
    what, unit : str
        Text of the bar.
    total : int, default=None
        Number of items, where they have no length.
    show : bool, default=True
        Whether to show a bar at all.
    """
    if not show:
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    # disable=None: no bar where nobody looks, such as in a log file.
    bar: Iterable[T] = tqdm(items, total=total, desc=what, unit=unit, delay=1.0, disable=None)
    return bar
