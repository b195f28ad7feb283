"""Transformers are fitted once: to all samples, in batches of them, or to some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any
from uuid import uuid4

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from parallel_ridge.backends import Backend
from parallel_ridge.pipelines._making import Steps, transformed
from parallel_ridge.sources import Positions, joined, n_samples, plain, samples_at

# Samples, their labels or None, and arguments that have one value per sample.
Batch = tuple[Any, Any, dict[str, Any]]


class FitSamples:
    """The samples of all processes, as transformers are fitted to them.

    Parameters
    ----------
    backend : Backend
    samples : array-like
        Samples of this process, of any shape.
    y : array-like, or None
        Their labels.
    fit_rows : int
        Most samples to fit to at a time.
    """

    def __init__(self, backend: Backend, samples: Any, y: Any, fit_rows: int) -> None:
        self.backend = backend
        self.samples = samples
        self.y = y if y is None or sp.issparse(y) else np.asarray(plain(y))
        self.fit_rows = fit_rows

    @cached_property
    def _ranks(self) -> tuple[list[int], int]:
        """Numbers of samples of all processes, and this process's place among them."""
        counts = self.backend.gather(self._count)
        return counts, place_among(self.backend)[0]

    def _count(self) -> int:
        n = n_samples(self.samples)
        if self.y is not None and n_samples(self.y) != n:
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: {[n, n_samples(self.y)]}"
            )
        return n

    @property
    def n_samples(self) -> int:
        """Number of samples of all processes."""
        return sum(self._ranks[0])

    def fit(self, name: str, transformer: Any, before: Steps, params: Mapping[str, Any]) -> Any:
        """A fitted clone of a transformer, the same in all processes.

        It is fitted to all samples if there are at most `fit_rows`, otherwise by ``partial_fit`` in
        batches of about as many, or else to as many, spread evenly.

        Parameters
        ----------
        name : str
        before : sequence of (name, transformer)
            Fitted steps that come before it.
        params : mapping
            Arguments of ``fit``.
        """
        if self.n_samples > self.fit_rows and takes_batches(transformer):
            return self._fit_in_batches(name, transformer, before, params)
        samples, y, extra = self.some(self.fit_rows, params)

        def fit(transformer: Any) -> Any:
            fitted = clone(transformer)
            rows = transformed(before, samples, f"{n_samples(samples)} rows to fit step {name!r}")
            fitted.fit(rows, y, **extra)
            return fitted

        # It may draw at random: one process decides for all.
        return self.backend.map(fit, [transformer])[0]

    def probe(self, n: int) -> tuple[Any, NDArray[np.intp]]:
        """At most ``n`` samples as of `some`, and their positions among those of all processes."""
        samples = self.some(n)[0]
        step = max(1, -(-self.n_samples // n))
        return samples, step * np.arange(n_samples(samples))

    def some(self, n: int, params: Mapping[str, Any] | None = None) -> Batch:
        """At most ``n`` samples of all processes, spread evenly, the same in each."""
        counts, rank = self._ranks
        step = max(1, -(-sum(counts) // n))
        start = -sum(counts[:rank]) % step
        params = {} if params is None else params
        if step == 1 and len(counts) == 1:
            return self.samples, self.y, dict(params)
        rows = np.arange(start, counts[rank], step)
        parts = self.backend.gather(lambda: self._at(rows, params))
        full = [part for part in parts if n_samples(part[0])] or parts[:1]
        samples, labels, extra = zip(*full, strict=True)
        return (
            joined(samples),
            None if self.y is None else joined(labels),
            {name: joined([some[name] for some in extra]) for name in extra[0]},
        )

    def _fit_in_batches(
        self, name: str, transformer: Any, before: Steps, params: Mapping[str, Any]
    ) -> Any:
        """Each process adds its samples to what the processes before it have fitted."""
        counts, rank = self._ranks
        fitted = clone(transformer)

        def add() -> Any:
            for samples, y, extra in self._batches(params):
                where = f"{n_samples(samples)} rows to fit step {name!r}"
                fitted.partial_fit(transformed(before, samples, where), y, **extra)
            return fitted

        nothing: Callable[[], Any] = lambda: None  # noqa: E731
        for turn in range(len(counts)):
            fitted = self.backend.gather(add if turn == rank else nothing)[turn]
        return fitted

    def _batches(self, params: Mapping[str, Any]) -> Iterator[Batch]:
        """The samples of this process, in batches of the same size, or nearly."""
        counts, rank = self._ranks
        n = counts[rank]
        edges = np.linspace(0, n, -(-n // self.fit_rows) + 1).astype(int).tolist()
        for start, stop in pairwise(edges):
            yield self._at(slice(start, stop), params)

    def _at(self, rows: Positions, params: Mapping[str, Any]) -> Batch:
        n = n_samples(self.samples)

        def pick(value: Any) -> Any:
            return samples_at(value, rows) if _per_sample(value, n) else value

        y = None if self.y is None else self.y[rows]
        extra = {name: pick(value) for name, value in params.items()}
        return samples_at(self.samples, rows), y, extra


def takes_batches(transformer: Any) -> bool:
    """Whether a transformer can be fitted batch by batch; one that is frozen is not fitted at all."""
    return hasattr(transformer, "partial_fit") and not isinstance(transformer, FrozenEstimator)


def place_among(backend: Backend) -> tuple[int, int]:
    """Place of this process among all, and their number."""
    own = uuid4().hex
    names = backend.gather(lambda: own)
    return names.index(own), len(names)


def _per_sample(value: Any, n: int) -> bool:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return bool(shape) and shape[0] == n
    return isinstance(value, list | tuple) and len(value) == n
