"""The first look at a stream: labels, weights, and what is needed to plan the passes over its rows."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.numerics import LARGEST_SYSTEM
from parallel_ridge.progress import rows_shown
from parallel_ridge.reductions import SAMPLE_ROWS, StatisticsOptions
from parallel_ridge.sources import Block, Labels, Target, among, as_labels, places
from parallel_ridge.streams._base import Piece, Stream
from parallel_ridge.streams._builder import StatisticsBuilder, spread_rows
from parallel_ridge.streams._pieces import FoundLabels, merged
from parallel_ridge.streams._source import Built, Facts, StreamSource, check_features


class _Found:
    """Labels, weights, groups and folds of the pieces so far."""

    def __init__(self) -> None:
        self.parts: list[tuple[Labels, Target]] = []
        self.target: Target | None = None
        self.weights: list[NDArray[np.float64] | None] = []
        self.others: dict[str, list[NDArray[Any]]] = {"groups": [], "folds": []}

    def add(self, piece: Piece) -> None:
        if piece.labels is None or piece.target is None:
            raise ValueError("y is missing: pass the labels, or the name of their column.")
        try:
            self.target = piece.target if self.target is None else merged(self.target, piece.target)
        except ValueError as error:
            raise ValueError(f"{error} (in {piece.place})") from error
        self.parts.append((piece.labels, piece.target))
        self.weights.append(piece.weights)
        for name, parts in self.others.items():
            values = getattr(piece, name)
            if values is not None:
                parts.append(values)

    def labels(self, target: Target) -> Labels:
        """All labels as codes of a target."""
        coded = []
        for labels, found in self.parts:
            if not target.multilabel and not np.array_equal(found.classes, target.classes):
                positions, _ = among(found.classes, target.classes)
                labels = Labels(positions.astype(np.int32)[labels.codes])
            coded.append(labels)
        return Labels.join(coded) if coded else Labels(np.empty(0, np.int32))

    def all_weights(self) -> NDArray[np.float64] | None:
        """All weights; None if all are one."""
        if all(part is None for part in self.weights):
            return None
        weights = np.concatenate(
            [
                np.ones(len(labels)) if part is None else part
                for part, (labels, _) in zip(self.weights, self.parts, strict=True)
            ]
        )
        return None if np.all(weights == 1.0) else weights


class _Features:
    """The dtype, the number of features and a sample of the pieces so far."""

    def __init__(self) -> None:
        self.dtype: np.dtype[Any] | None = None
        self.sample: Any = None
        self.sparse = False

    def add(self, piece: Piece) -> Any:
        X = check_features(piece)
        dtype = X.dtype.newbyteorder("=")
        if self.dtype is None:
            if X.shape[1] == 0:
                raise ValueError(f"X has no features in {piece.place}.")
            self.dtype, self.sample = dtype, spread_rows(X, SAMPLE_ROWS)
        if X.shape[1] != self.sample.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features in {piece.place}, and {self.sample.shape[1]} before."
            )
        self.dtype = np.promote_types(self.dtype, dtype)
        self.sparse = self.sparse or not isinstance(X, np.ndarray)
        return X


def survey(
    stream: Stream,
    *,
    classes: Any = None,
    options: StatisticsOptions | None = None,
    n_threads: int = 1,
    whole: Stream | None = None,
) -> StreamSource:
    """The source of a stream.

    Where labels lie apart from the features, only they are read, and the first features; otherwise all
    rows are, and their statistics are formed by the way.

    Parameters
    ----------
    stream : Stream
    classes : array-like, default=None
        All labels there are; those of the rows when None.
    options : StatisticsOptions, default=None
        How to form the statistics; they are not formed when None.
    n_threads : int
    whole : Stream, default=None
        A stream with rows like these, which shows what they are if there are none.

    Raises
    ------
    ValueError
        If there are no rows, or if the pieces do not fit together; the message names the place.
    """
    found, features = _Found(), _Features()
    builder = (
        None if options is None or stream.labels_apart else StatisticsBuilder(options, n_threads)
    )
    pieces = stream.pieces(features=not stream.labels_apart)
    with closing(pieces):  # type: ignore[type-var]
        for piece in rows_shown(pieces, lambda piece: piece.stop - piece.start):
            found.add(piece)
            if stream.labels_apart:
                continue
            X = features.add(piece)
            if builder is not None and X.shape[1] <= LARGEST_SYSTEM:
                assert piece.labels is not None
                labels = FoundLabels(piece.labels.codes, piece.labels.indptr, piece.target)
                builder.add(Block(slice(piece.start, piece.stop), X, labels, piece.weights))
    if features.dtype is None:
        looked_at = stream if found.parts else whole
        first = None if looked_at is None else looked_at.first()
        if first is None:
            raise ValueError(f"There are no rows: the {stream.description} is empty.")
        features.add(first)
    target = found.target
    if classes is not None and not (target is not None and target.multilabel):
        given = Target(as_labels(classes), multilabel=False)
        if target is not None:
            places(target.classes, given.classes)
        target = given
    if target is None:
        target = Target(np.empty(0), multilabel=False)
    built = builder.close() if builder is not None else None
    assert features.dtype is not None
    others = {name: np.concatenate(some) if some else None for name, some in found.others.items()}
    facts = Facts(
        found.labels(target),
        target,
        found.all_weights(),
        n_features=features.sample.shape[1],
        dtype=features.dtype,
        sparse=features.sparse,
        sample=features.sample,
        **others,
    )
    double = options is not None and options.double
    return StreamSource(stream, facts, built=Built([] if built is None else [built], double=double))
