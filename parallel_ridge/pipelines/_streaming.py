"""Samples that are read piece by piece: transformers are fitted to them, and make features of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from parallel_ridge.backends import Backend
from parallel_ridge.pipelines._fitting import place_among, takes_batches
from parallel_ridge.pipelines._making import Steps, transformed
from parallel_ridge.sources import Features, joined, n_samples
from parallel_ridge.streams import Piece, Sample, Stream


class FeatureStream(Stream):
    """A stream whose samples become features, few at a time, when they are asked for.

    Parameters
    ----------
    stream : Stream
    features : Features
    """

    def __init__(self, stream: Stream, features: Features) -> None:
        self.stream = stream
        self.features = features
        self.description = stream.description
        self.once = stream.once
        self.labels_apart = stream.labels_apart

    def pieces(self, features: bool = True) -> Iterator[Piece]:
        """Pieces of at most as many rows as features are made of at a time."""
        if not features:
            return self.stream.pieces(False)
        return self._made()

    def share(self, rank: int, size: int) -> Stream:
        """The share of the stream."""
        return FeatureStream(self.stream.share(rank, size), self.features)

    def _made(self) -> Iterator[Piece]:
        step = self.features.rows_at_a_time
        pieces = self.stream.pieces()
        with closing(pieces):  # type: ignore[type-var]
            for piece in pieces:
                for start in range(0, piece.stop - piece.start, step):
                    part = _part(piece, slice(start, min(start + step, piece.stop - piece.start)))
                    made = self.features.make(part.X, slice(part.start, part.stop))
                    yield replace(part, X=made)


def _part(piece: Piece, rows: slice) -> Piece:
    """Some consecutive rows of a piece."""

    def some(values: Any) -> Any:
        return None if values is None else values[rows]

    return replace(
        piece,
        start=piece.start + rows.start,
        stop=piece.start + rows.stop,
        X=some(piece.X),
        labels=some(piece.labels),
        weights=some(piece.weights),
        groups=some(piece.groups),
        folds=some(piece.folds),
    )


class FitStream:
    """The samples of all processes' streams, as transformers are fitted to them.

    Parameters
    ----------
    backend : Backend
    stream : Stream
        Of all processes, or this process's own.
    fit_rows : int
        Most samples to fit to at a time.
    """

    def __init__(self, backend: Backend, stream: Stream, fit_rows: int) -> None:
        self.backend = backend
        parts: list[Stream] = []
        backend.gather(lambda: parts.append(backend.own_part(stream)))
        self.own = parts[0]
        self.fit_rows = fit_rows

    @property
    def n_samples(self) -> int:
        """Number of samples of all processes."""
        return sum(sample.n_rows for sample in self._samples)

    def fit(self, name: str, transformer: Any, before: Steps, params: Mapping[str, Any]) -> Any:
        """A fitted clone of a transformer, as of :class:`FitSamples`."""
        if params:
            raise ValueError(
                f"Step {name!r} gets {sorted(params)}, and X is a {self.own.description}: arguments of "
                "transformers are taken for arrays only."
            )
        if self.n_samples > self.fit_rows and takes_batches(transformer):
            return self._fit_in_batches(name, transformer, before)
        samples, y, _ = self._some

        def fit(transformer: Any) -> Any:
            fitted = clone(transformer)
            rows = transformed(before, samples, f"{n_samples(samples)} rows to fit step {name!r}")
            return fitted.fit(rows, y)

        return self.backend.map(fit, [transformer])[0]

    def probe(self, n: int) -> tuple[Any, NDArray[np.intp]]:
        """At most ``n`` samples of all processes, the same in each, and their positions."""
        samples, _, positions = self._some
        step = max(1, -(-len(positions) // n))
        return samples[::step], positions[::step]

    @cached_property
    def _samples(self) -> list[Sample]:
        """Samples of each process's stream; takes a pass."""
        samples = self.backend.gather(lambda: self.own.sample(self.fit_rows))
        if not any(sample.n_rows for sample in samples):
            raise ValueError(f"There are no rows: the {self.own.description} is empty.")
        return samples

    @cached_property
    def _some(self) -> tuple[Any, Any, NDArray[np.intp]]:
        """At most ``fit_rows`` samples of all processes, their labels or None, and their positions."""
        return sum(self._samples, Sample(self.fit_rows)).rows()

    def _fit_in_batches(self, name: str, transformer: Any, before: Steps) -> Any:
        """Each process adds its samples to what the processes before it have fitted."""
        fitted = clone(transformer)
        rank, size = place_among(self.backend)

        def add() -> Any:
            for X, y, rows in self._batches(self._samples[rank].n_rows):
                where = f"rows {rows.start} to {rows.stop - 1} to fit step {name!r}"
                fitted.partial_fit(transformed(before, X, where), y)
            return fitted

        nothing: Callable[[], Any] = lambda: None  # noqa: E731
        for turn in range(size):
            fitted = self.backend.gather(add if turn == rank else nothing)[turn]
        return fitted

    def _batches(self, n_rows: int) -> Iterator[tuple[Any, Any, slice]]:
        """The samples of this process with their labels, in batches of the same size, or nearly.

        A piece may be shorter than what a transformer needs to see at a time, or longer.
        """
        edges = np.linspace(0, n_rows, -(-n_rows // self.fit_rows) + 1).astype(int).tolist()
        held: list[tuple[Any, Any]] = []
        first = 0
        pieces = self.own.pieces()
        with closing(pieces):  # type: ignore[type-var]
            for piece in pieces:
                inside = [edge for edge in edges if piece.start < edge < piece.stop]
                for start, stop in pairwise([piece.start, *inside, piece.stop]):
                    part = _part(piece, slice(start - piece.start, stop - piece.start))
                    held.append((part.X, part.decoded()))
                    if stop in edges:
                        X, y = zip(*held, strict=True)
                        yield joined(X), None if y[0] is None else joined(y), slice(first, stop)
                        held, first = [], stop
