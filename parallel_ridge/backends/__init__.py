"""How blocks of rows are folded and merged: one small module for each engine.

The registry below is the only list of names. It maps them to ``"module:class"``, imported when
chosen; packages add theirs under the entry-point group ``parallel_ridge.backends``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from parallel_ridge.backends._base import (
    Backend,
    BackendUnavailable,
    Plan,
    fold_blocks,
    named_call,
    public_call,
)

__all__ = [
    "Backend",
    "BackendUnavailable",
    "Plan",
    "fold_blocks",
    "get_backend",
    "named_call",
    "public_call",
    "register_backend",
]

_registry: dict[str, str | Callable[..., Backend]] = {
    "openmp": "parallel_ridge.backends.openmp:OpenMPBackend",
    "mpi": "parallel_ridge.backends.mpi:named",
    "spark": "parallel_ridge.backends.spark:SparkBackend",
}


def register_backend(name: str, backend: str | Callable[..., Backend]) -> None:
    """Make a backend known by a name.

    Parameters
    ----------
    name : str
    backend : str or callable
        ``"module:class"``, imported when the name is first chosen, or the class itself; called with
        ``n_jobs``.
    """
    _registry[name] = backend


def get_backend(
    backend: str | Backend = "auto", n_jobs: int | None = None, rows: Any = None
) -> Backend:
    """The backend of a name, or the one given.

    Parameters
    ----------
    backend : str or Backend, default="auto"
        ``"auto"`` is the one that suits the rows.
    n_jobs : int, default=None
        Threads, for a backend chosen by name.
    rows : object, default=None
        The rows that it is for.

    Raises
    ------
    ValueError
        If no backend has this name.
    BackendUnavailable
        If the backend's library cannot be imported.
    """
    if not isinstance(backend, str):
        if isinstance(backend, Backend):
            return backend
        raise TypeError(
            "backend must be a name or have the methods fold, map, gather, source and solve_threads; "
            f"got {backend!r}."
        )
    name = _suitable(rows) if backend == "auto" else backend
    entry = _registry.get(name)
    if entry is None:
        found = {point.name: point for point in entry_points(group="parallel_ridge.backends")}
        if name not in found:
            known = sorted({"auto", *_registry, *found})
            raise ValueError(f"backend={backend!r} is not known; choose one of {known}.")
        entry = found[name].value
    if isinstance(entry, str):
        module, _, attribute = entry.partition(":")
        try:
            entry = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise BackendUnavailable(
                f"backend={backend!r} could not import {module} ({error})."
            ) from error
    return entry(n_jobs=n_jobs)


def _suitable(rows: Any) -> str:
    """The backend for rows of a kind; nothing is imported to find out."""
    if "pyspark" in sys.modules:
        from parallel_ridge.frames import is_spark

        if is_spark(rows):
            return "spark"
    return "openmp"
