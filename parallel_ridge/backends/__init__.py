"""Backends: where passes over the rows run.

The registry below is the only list of names. It maps each name to ``"module:class"``, imported when it
is chosen. Other packages add theirs under the entry-point group ``parallel_ridge.backends``; ``"auto"``
chooses among registered names only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import numpy as np

from parallel_ridge.backends._base import (
    Backend,
    Request,
    agree,
    current_call,
    described,
    named_call,
    public_call,
    reduce_blocks,
)
from parallel_ridge.backends.openmp import OpenMPBackend
from parallel_ridge.exceptions import BackendUnavailable
from parallel_ridge.sources import FeatureRows, FeaturesElsewhere

__all__ = [
    "Backend",
    "BackendUnavailable",
    "OpenMPBackend",
    "Request",
    "agree",
    "answering_backend",
    "current_call",
    "described",
    "get_backend",
    "named_call",
    "public_call",
    "reader_of",
    "reduce_blocks",
    "register_backend",
]


class Entry(NamedTuple):
    """A backend with a name.

    Attributes
    ----------
    backend : str or callable
        ``"module:name"``, imported when it is chosen, or what is found there; called with ``n_jobs``.
    reads : str or None
        Top-level package of the rows that it reads besides arrays.
    """

    backend: str | Callable[..., Backend]
    reads: str | None = None


_registry = {
    "openmp": Entry("parallel_ridge.backends.openmp:OpenMPBackend"),
    "mpi": Entry("parallel_ridge.mpi:named"),
    "spark": Entry("parallel_ridge.spark:SparkBackend", reads="pyspark"),
    "torch": Entry("parallel_ridge.torch:TorchBackend", reads="torch"),
}


def register_backend(
    name: str, backend: str | Callable[..., Backend], reads: str | None = None
) -> None:
    """Make a backend known by a name.

    Parameters
    ----------
    name : str
    backend : str or callable
        ``"module:class"``, imported when the name is first chosen, or the class itself; called with
        ``n_jobs``.
    reads : str, default=None
        Top-level package of the rows that it reads besides arrays: ``backend="auto"`` chooses it for
        instances of that package's classes.
    """
    _registry[name] = Entry(backend, reads)


def get_backend(
    backend: str | Backend = "auto", n_jobs: int | None = None, rows: Any = None
) -> Backend:
    """The backend of a name, or the one given.

    Parameters
    ----------
    backend : str or Backend, default="auto"
        ``"auto"`` is the one that reads the rows.
    n_jobs : int, default=None
        Threads, for a backend chosen by name.
    rows : object, default=None
        The rows that it is for.

    Raises
    ------
    ValueError
        If no backend has this name, or if it does not read these rows.
    BackendUnavailable
        If the backend's library cannot be imported.
    """
    found = _find(backend, n_jobs, rows)
    name = _better_reader(backend, found, rows)
    if name is not None:
        # The reader raises an error of its own for rows that must be converted first.
        known = _find(name, n_jobs, rows).can_read(rows)
        advice = f"choose {name!r} or 'auto'" if known else f"neither does {name!r}"
        raise ValueError(
            f"X is a {type(rows).__name__} of {_registry[name].reads}, and backend={backend!r} does not "
            f"read it: {advice}."
        )
    return found


def answering_backend(backend: str | Backend, n_jobs: int | None, rows: Any) -> Backend:
    """The backend that predicts for rows: the chosen one, or the reader of such rows otherwise."""
    found = _find(backend, n_jobs, rows)
    name = _better_reader(backend, found, rows)
    return found if name is None else _find(name, n_jobs, rows)


def reader_of(rows: Any) -> str | None:
    """Name of the backend registered for the package of the rows; imports nothing to find out."""
    if isinstance(rows, FeatureRows | FeaturesElsewhere):
        rows = rows.samples
    if rows is None or type(rows) is np.ndarray:
        return None  # the usual rows, which every backend reads
    packages = {str(base.__module__).partition(".")[0] for base in type(rows).__mro__}
    return next((name for name, entry in _registry.items() if entry.reads in packages), None)


def _better_reader(backend: str | Backend, found: Backend, rows: Any) -> str | None:
    """Name of the backend registered for rows, if another one was chosen that cannot read them."""
    name = reader_of(rows)
    return None if name is None or backend in ("auto", name) or found.can_read(rows) else name


def _find(backend: str | Backend, n_jobs: int | None, rows: Any) -> Backend:
    if not isinstance(backend, str):
        if isinstance(backend, Backend):
            return backend
        raise TypeError(
            "backend must be a name or an instance of a subclass of parallel_ridge.backends.Backend; "
            f"got {backend!r}."
        )
    name = (reader_of(rows) or "openmp") if backend == "auto" else backend
    known = _registry.get(name)
    if known is None:
        found = {point.name: point for point in entry_points(group="parallel_ridge.backends")}
        if name not in found:
            names = sorted({"auto", *_registry, *found})
            raise ValueError(f"backend={backend!r} is not known; choose one of {names}.")
        known = Entry(found[name].value)
    make = known.backend
    if isinstance(make, str):
        module, _, attribute = make.partition(":")
        try:
            make = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise BackendUnavailable(
                f"backend={backend!r} could not import {module} ({error})."
            ) from error
    return make(n_jobs=n_jobs)
