"""Disk cache of statistics, keyed by the content of the rows."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from parallel_ridge.backends import Backend
from parallel_ridge.reductions import BLOCK_ROWS, GroupedReduction, GroupValues, StatisticsReduction
from parallel_ridge.sources import Source
from parallel_ridge.statistics import SufficientStatistics


def check_memory(memory: Any) -> Any:
    """An object with scikit-learn's ``cache`` convention, or None.

    Raises
    ------
    ValueError
        If ``memory`` is neither None, a path, nor has a method ``cache``.
    """
    if memory is None or (hasattr(memory, "cache") and getattr(memory, "location", "") is None):
        return None  # joblib.Memory(location=None) caches nothing
    if hasattr(memory, "cache"):
        return memory
    if not isinstance(memory, str | os.PathLike):
        raise ValueError(
            f"memory must be None, a path or a joblib.Memory; got {memory!r} of type "
            f"{type(memory).__name__}."
        )
    return joblib.Memory(os.fspath(memory), verbose=0)


def fold_cached(
    memory: Any, backend: Backend, reduction: StatisticsReduction | GroupedReduction, source: Source
) -> Any:
    """Statistics of a source, or of its groups: those kept for the same content, or a fold's.

    Parameters
    ----------
    memory : joblib.Memory or None
        It copes with entries that are damaged or half-written, which are computed anew, and with
        several writers. Where rows live in several processes, one of them looks and writes.
    """
    if memory is None:
        return backend.reduce(reduction, source)
    cached = memory.cache(_entry, ignore=["make"])
    key = "-".join(backend.gather(lambda: content_key(reduction, source)))

    def look(key: str) -> Any:
        try:
            return _opened(cached(key, _nothing))
        except _NotKept:
            return None

    def keep(key: str) -> None:
        if _opened(cached(key, lambda: value)) is None:  # whole, but not what was written
            cached.call(key, lambda: value)

    (value,) = backend.map(look, [key])
    if value is None:
        value = backend.reduce(reduction, source)
        backend.map(keep, [key])
    return value


class _NotKept(LookupError):
    """The memory has no such entry."""


def _nothing() -> Any:
    raise _NotKept


def content_key(reduction: StatisticsReduction | GroupedReduction, source: Source) -> str:
    """Hash of all that the statistics depend on: rows, labels, weights, and how they are summed.

    Covers this process's rows only.
    """
    import xxhash  # here, so that the package imports without it

    content = xxhash.xxh3_128()

    def update(array: NDArray[Any]) -> None:
        content.update(f"{array.dtype.str}{array.shape}".encode())
        if array.dtype == object:
            content.update(repr(array.tolist()).encode())
        else:
            content.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    n_groups = len(reduction.reductions) if isinstance(reduction, GroupedReduction) else 0
    one: Any = reduction.reductions[0] if isinstance(reduction, GroupedReduction) else reduction
    options = (
        version("parallel-ridge"),
        one.exact,
        one.integers is not None,
        one.work_dtype.str,
        one.dtype.str,
    )
    content.update(repr((*options, source.sparse, one.target.multilabel)).encode())
    update(one.shift)
    update(one.target.classes)
    if one.feature_names is not None:
        update(one.feature_names)
    for block in source.blocks(BLOCK_ROWS):
        X = block.X
        if n_groups:
            content.update(f"group {block.group} of {n_groups}".encode())
        for array in (X,) if isinstance(X, np.ndarray) else (X.data, X.indices, X.indptr):
            update(array)
        update(block.labels.codes)
        if block.labels.indptr is not None:
            update(block.labels.indptr)
        if block.weights is not None:
            update(block.weights)
    return content.hexdigest()


def _entry(key: str, make: Callable[[], Any]) -> tuple[str, bytes]:
    """A checksum and the statistics: bits that turn on a disk are no statistics."""
    content = pickle.dumps(make(), protocol=5)
    return _digest(content), content


def _opened(entry: Any) -> Any:
    """The statistics of an entry, or None."""
    try:
        digest, content = entry
        if _digest(content) != digest:
            return None
        value = pickle.loads(content)
    except Exception:  # anything else may be stored there
        return None
    return value if isinstance(value, SufficientStatistics | GroupValues) else None


def _digest(content: bytes) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(content)
