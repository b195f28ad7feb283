"""Memory in which threads accumulate Gram matrices."""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _triangle
from parallel_ridge.numerics import pairwise_sum

LARGE_PAGE = 2**21  # bytes


@dataclass
class PartialSums:
    """Accumulator of `StatisticsReduction`: a few independent totals, divided among threads.

    Attributes
    ----------
    grams : list of ndarray of shape (d, d)
        One per lane, appended when a block needs it.
    exact : PartialSums, or None
        Exact sums of the blocks that hold integers only, if they are summed apart.
    bound : int
        The largest that elements of exact sums of these can be.
    rows : ndarray of uint8
        Memory for a block of such rows.
    """

    grams: list[NDArray[Any]]
    class_sums: NDArray[Any]
    class_counts: NDArray[np.int64]
    class_weights: NDArray[np.float64]
    n_threads: int
    n_samples: int = 0
    weight_sum: float = 0.0
    workspace: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    exact: PartialSums | None = None
    bound: int = 0
    rows: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


class Spare:
    """Memory of one fold that the next may use: fresh memory costs more than a fold of few rows.

    Whoever takes memory owns it, and threads never get the same. Copies for other processes have none.
    """

    def __init__(self) -> None:
        self._grams: list[NDArray[Any]] = []
        self._workspaces: list[NDArray[np.uint8]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Spare, ()

    def take_gram(self, n_features: int, dtype: np.dtype[Any] | type) -> NDArray[Any]:
        """A square matrix whose upper triangle is zero."""
        kept = _pop(self._grams)
        if kept is None or len(kept) != n_features:
            return zeros((n_features, n_features), dtype)
        return kept.view(dtype)

    def keep_grams(self, grams: list[NDArray[Any]]) -> None:
        """Keep C-contiguous matrices of 8-byte numbers whose upper triangles are zero."""
        self._grams[:] = grams

    def take_workspace(self) -> NDArray[np.uint8]:
        """Aligned bytes, perhaps none."""
        kept = _pop(self._workspaces)
        return np.empty(0, np.uint8) if kept is None else kept

    def keep_workspace(self, workspace: NDArray[np.uint8]) -> None:
        """Keep aligned bytes."""
        self._workspaces[:] = [workspace]

    def release(self) -> None:
        """Free all memory."""
        self._grams.clear()
        self._workspaces.clear()


def _pop(held: list[NDArray[Any]]) -> NDArray[Any] | None:
    with suppress(IndexError):
        return held.pop()
    return None


def sum_lanes(lanes: NDArray[Any]) -> NDArray[Any]:
    """Sum over the first axis, pairwise; in place."""
    total: NDArray[Any] = pairwise_sum(list(lanes), lambda a, b: np.add(a, b, out=a))
    return total if len(lanes) == 1 else total.copy()


def sum_triangles(grams: list[NDArray[Any]]) -> NDArray[Any]:
    """Sum of upper triangles, pairwise and in place; the list is consumed."""

    def add(gram: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        _triangle.add(gram, other)
        return gram

    return pairwise_sum(grams, add)


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> NDArray[Any]:
    """Zeros in large pages, allocated at the first write and close to the thread that writes."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(shape, dtype)
    whole_pages = -(-n_bytes // LARGE_PAGE) * LARGE_PAGE
    memory = mmap.mmap(-1, whole_pages, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the operating system may lack them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


def aligned(n_bytes: int) -> NDArray[np.uint8]:
    buffer = zeros((n_bytes + 64,), np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + n_bytes]
