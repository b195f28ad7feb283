"""Statistics kept on disk, by the content of what they are of."""

from __future__ import annotations

import os
import pickle
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from parallel_ridge.backends import Backend
from parallel_ridge.reductions import BLOCK_ROWS, StatisticsReduction
from parallel_ridge.sources import ArraySource
from parallel_ridge.statistics import SufficientStatistics


def check_memory(memory: Any) -> Any:
    """An object with scikit-learn's ``cache`` convention, or None.

    Raises
    ------
    ValueError
        If ``memory`` is neither None, a path, nor has a method ``cache``.
    """
    if memory is None or (hasattr(memory, "cache") and getattr(memory, "location", "") is None):
        return None  # a joblib.Memory without a place keeps nothing
    if hasattr(memory, "cache"):
        return memory
    if not isinstance(memory, str | os.PathLike):
        raise ValueError(
            f"memory must be None, a path or a joblib.Memory; got {memory!r} of type "
            f"{type(memory).__name__}."
        )
    return joblib.Memory(os.fspath(memory), verbose=0)


def fold_cached(
    memory: Any, backend: Backend, reduction: StatisticsReduction, source: ArraySource
) -> SufficientStatistics:
    """Statistics of a source: those kept for the same content, or a fold, which is then kept.

    Parameters
    ----------
    memory : joblib.Memory or None
        It copes with entries that are damaged or half-written, which it computes anew, and with
        several writers.
    """
    if memory is None:
        return backend.fold(reduction, source)
    cached = memory.cache(_fold, ignore=["backend", "reduction", "source"])
    arguments = content_key(reduction, source), backend, reduction, source
    statistics = _opened(cached(*arguments))
    if statistics is None:  # whole, but not what was written
        cached.call(*arguments)
        statistics = _opened(cached(*arguments))
    return backend.fold(reduction, source) if statistics is None else statistics


def content_key(reduction: StatisticsReduction, source: ArraySource) -> str:
    """Hash of all that the statistics depend on: rows, labels, weights, and how they are summed."""
    import xxhash  # here, so that the package imports without it

    content = xxhash.xxh3_128()

    def update(array: NDArray[Any]) -> None:
        content.update(f"{array.dtype.str}{array.shape}".encode())
        if array.dtype == object:
            content.update(repr(array.tolist()).encode())
        else:
            content.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    options = (
        version("parallel-ridge"),
        reduction.exact,
        reduction.work_dtype.str,
        reduction.dtype.str,
    )
    content.update(repr((*options, source.sparse, reduction.target.multilabel)).encode())
    update(reduction.shift)
    update(reduction.target.classes)
    if reduction.feature_names is not None:
        update(reduction.feature_names)
    for block in source.blocks(BLOCK_ROWS):
        X = block.X
        for array in (X,) if isinstance(X, np.ndarray) else (X.data, X.indices, X.indptr):
            update(array)
        update(block.labels.codes)
        if block.labels.indptr is not None:
            update(block.labels.indptr)
        if block.weights is not None:
            update(block.weights)
    return content.hexdigest()


def _fold(
    key: str, backend: Backend, reduction: StatisticsReduction, source: ArraySource
) -> tuple[str, bytes]:
    """A checksum and the statistics: bits that turn on a disk are no statistics."""
    content = pickle.dumps(backend.fold(reduction, source), protocol=5)
    return _digest(content), content


def _opened(entry: Any) -> SufficientStatistics | None:
    try:
        digest, content = entry
        if _digest(content) != digest:
            return None
        statistics = pickle.loads(content)
    except Exception:  # whatever else may lie there
        return None
    return statistics if isinstance(statistics, SufficientStatistics) else None


def _digest(content: bytes) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(content)
