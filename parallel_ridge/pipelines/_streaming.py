"""Samples that are read piece by piece: transformers are fitted to them, and make features of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone

from parallel_ridge.backends import Backend
from parallel_ridge.pipelines._fitting import joined, place_among, thinned
from parallel_ridge.pipelines._making import Steps, transformed
from parallel_ridge.sources import Features, n_samples
from parallel_ridge.streams import Piece, Stream


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
        Most samples to fit to, of a transformer without ``partial_fit``.
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
        return self._sample[2]

    def fit(self, name: str, transformer: Any, before: Steps, params: Mapping[str, Any]) -> Any:
        """A fitted clone of a transformer, as of :class:`FitSamples`; batches are the stream's pieces."""
        if params:
            raise ValueError(
                f"Step {name!r} gets {sorted(params)}, and X is a {self.own.description}: arguments of "
                "transformers are taken for arrays only."
            )
        samples, y, n, _ = self._sample
        if n > self.fit_rows and hasattr(transformer, "partial_fit"):
            return self._fit_in_pieces(name, transformer, before)

        def fit(transformer: Any) -> Any:
            fitted = clone(transformer)
            rows = transformed(before, samples, f"{n_samples(samples)} rows to fit step {name!r}")
            return fitted.fit(rows, y)

        return self.backend.map(fit, [transformer])[0]

    def probe(self, n: int) -> tuple[Any, NDArray[np.intp]]:
        """At most ``n`` samples of all processes, the same in each, and their positions."""
        samples, _, _, positions = self._sample
        step = max(1, -(-len(positions) // n))
        return samples[::step], positions[::step]

    @cached_property
    def _sample(self) -> tuple[Any, Any, int, NDArray[np.intp]]:
        """Samples spread evenly, their labels, the number of all samples, and positions; one pass."""
        parts = self.backend.gather(self._own_sample)
        total = sum(n for _, _, n, _ in parts)
        step = max(step for _, _, _, step in parts)
        while -(-total // step) > self.fit_rows:
            step *= 2
        full = [part for part in parts if part[2]]
        if not full:
            raise ValueError(f"There are no rows: the {self.own.description} is empty.")
        samples = joined([X[:: step // own] for X, _, _, own in full])
        labels = [y[:: step // own] for _, y, _, own in full if y is not None]
        starts = np.cumsum([0, *(n for _, _, n, _ in full)])
        positions = [
            start + np.arange(0, n, step)
            for start, (_, _, n, _) in zip(starts[:-1], full, strict=True)
        ]
        return samples, joined(labels) if labels else None, total, np.concatenate(positions)

    def _own_sample(self) -> tuple[Any, Any, int, int]:
        """Every ``step``-th sample of this process, their labels, the number of all, and ``step``."""
        rows: list[Any] = []
        labels: list[NDArray[Any]] = []
        step, n = 1, 0
        for piece in self._pieces():
            picked = slice(-piece.start % step, None, step)
            rows.append(_copied(piece.X[picked]))
            if piece.labels is not None and piece.target is not None:
                labels.append(piece.target.decode(piece.labels)[picked])
            n = piece.stop
            while -(-n // step) > 2 * self.fit_rows:
                step *= 2
                rows = [thinned(rows)]
                labels = [thinned(labels)] if labels else []
        if not n:
            return None, None, 0, 1
        return joined(rows), joined(labels) if labels else None, n, step

    def _fit_in_pieces(self, name: str, transformer: Any, before: Steps) -> Any:
        """Each process adds its samples to what the processes before it have fitted."""
        fitted = clone(transformer)

        def add() -> Any:
            for piece in self._pieces():
                y = None
                if piece.labels is not None and piece.target is not None:
                    y = piece.target.decode(piece.labels)
                where = f"rows {piece.start} to {piece.stop - 1} to fit step {name!r}"
                fitted.partial_fit(transformed(before, piece.X, where), y)
            return fitted

        nothing: Callable[[], Any] = lambda: None  # noqa: E731
        rank, size = place_among(self.backend)
        for turn in range(size):
            fitted = self.backend.gather(add if turn == rank else nothing)[turn]
        return fitted

    def _pieces(self) -> Iterator[Piece]:
        """Pieces of about as many rows as transformers are fitted to at a time, or fewer."""
        pieces = self.own.pieces()
        with closing(pieces):  # type: ignore[type-var]
            for piece in pieces:
                n = piece.stop - piece.start
                edges = np.linspace(0, n, -(-n // self.fit_rows) + 1).astype(int).tolist()
                for start, stop in pairwise(edges):
                    yield _part(piece, slice(start, stop))


def _copied(X: Any) -> Any:
    """Rows that do not keep the memory of their piece."""
    return X.copy() if isinstance(X, np.ndarray) or sp.issparse(X) else X
