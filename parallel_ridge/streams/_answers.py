"""Answers of a fitted estimator to the rows of a stream, piece by piece."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.progress import rows_shown
from parallel_ridge.streams._base import Piece, Stream
from parallel_ridge.streams._source import check_features


def answer(model: Any, method: str, stream: Stream) -> NDArray[Any]:
    """Answers of a method to all rows, as one array.

    Parameters
    ----------
    model : fitted estimator
        Whose ``_{method}`` answers to arrays.
    method : str
    stream : Stream
    """
    model = _nameless(model)
    parts = []
    pieces = stream.pieces()
    with closing(pieces):  # type: ignore[type-var]
        for piece in rows_shown(pieces, lambda piece: piece.stop - piece.start):
            with _placed(piece):
                parts.append(getattr(model, f"_{method}")(check_features(piece)))
    if not parts:
        raise ValueError(f"There are no rows: the {stream.description} is empty.")
    return np.concatenate(parts)


def count_right(model: Any, stream: Stream) -> tuple[float, float]:
    """Weight of the rows with a right prediction, and of all rows."""
    model = _nameless(model)
    right = total = 0.0
    pieces = stream.pieces()
    with closing(pieces):  # type: ignore[type-var]
        for piece in rows_shown(pieces, lambda piece: piece.stop - piece.start):
            if piece.labels is None or piece.target is None:
                raise ValueError("y is missing: pass the labels, or the name of their column.")
            y = piece.target.decode(piece.labels)
            with _placed(piece):
                part = model._count_right(check_features(piece), y, piece.weights)
            right, total = right + part[0], total + part[1]
    return right, total


def _nameless(model: Any) -> Any:
    """A copy of a model for features that a stream has chosen by name already."""
    model = copy.copy(model)
    vars(model).pop("feature_names_in_", None)
    return model


@contextmanager
def _placed(piece: Piece) -> Iterator[None]:
    """Add the place of a piece to the message of an error about its rows."""
    try:
        yield
    except ValueError as error:
        if not piece.start:
            raise
        raise ValueError(f"{error} (rows counted from {piece.start})") from error
