"""Batches of rows that an iterable yields, such as a list, a generator or torch's DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from parallel_ridge.sources import check_weights, encode_labels
from parallel_ridge.streams._base import Piece, Stream, read_once
from parallel_ridge.streams._table_stream import Roles

EXPECTED = "(X, y) or (X, y, sample_weight) with the arrays of some rows"


def is_batches(X: Any) -> bool:
    """Whether X iterates over batches, and is not itself an array, a table or rows."""
    if isinstance(X, list | tuple):
        return bool(len(X)) and _is_batch(X[0])
    if isinstance(X, str | bytes | Mapping | set | frozenset) or sp.issparse(X):
        return False
    array = any(hasattr(X, name) for name in ("shape", "dtype", "__array__", "__arrow_c_stream__"))
    if array or not hasattr(X, "__iter__"):
        return False
    if hasattr(X, "__getitem__") and hasattr(X, "__len__"):  # it may be a sequence of rows
        return len(X) > 0 and _is_batch(X[0])
    return True


def _is_batch(item: Any) -> bool:
    """Whether an item is X or (X, y, ...), with X an array of several rows."""
    if isinstance(item, tuple | list):
        return len(item) in (2, 3) and _is_batch_of_rows(item[0])
    return _is_batch_of_rows(item)


def _is_batch_of_rows(item: Any) -> bool:
    return len(getattr(item, "shape", ())) >= 2


class BatchStream(Stream):
    """Batches ``(X, y)`` or ``(X, y, sample_weight)`` of an iterable; for predictions also ``X``.

    They are iterated over in the thread that asks: a user's own code runs where it is expected to.

    Parameters
    ----------
    batches : iterable
    roles : Roles
        None may be given: they are in the batches.
    labelled : bool
        Whether labels are needed.
    """

    def __init__(self, batches: Any, roles: Roles, labelled: bool) -> None:
        for role, value in vars(roles).items():
            if value is not None:
                raise ValueError(
                    f"{role} was given, and X is a {type(batches).__name__} of batches, whose items are "
                    f"{EXPECTED}: pass X alone."
                )
        self.batches = batches
        self.labelled = labelled
        self.once = iter(batches) is batches if hasattr(batches, "__next__") else False
        self.begun = False
        self.description = type(batches).__name__

    def pieces(self, features: bool = True) -> Iterator[Piece]:
        """Pieces of the batches that have rows."""
        if self.once and self.begun:
            raise read_once(self.description)
        self.begun = True
        return self._read()

    def _read(self) -> Iterator[Piece]:
        start = 0
        for number, batch in enumerate(self.batches):
            try:
                piece = self._piece(batch, start, f"batch {number}")
            except (TypeError, ValueError) as error:
                raise ValueError(f"Batch {number} (rows from {start}): {error}") from error
            if piece.stop > start:
                yield piece
            start = piece.stop

    def _piece(self, batch: Any, start: int, place: str) -> Piece:
        parts = batch if isinstance(batch, tuple | list) else (batch,)
        if len(parts) > 3 or (self.labelled and len(parts) < 2):
            kind = f"a {type(batch).__name__}"
            kind += f" of {len(parts)}" if parts is batch else ""
            raise ValueError(f"a batch is {EXPECTED}; got {kind}.")
        X = as_array(parts[0])
        n = X.shape[0] if X.shape else 0
        found: dict[str, Any] = {}
        if self.labelled:
            y = as_array(parts[1])
            if y.shape[:1] != (n,):
                raise ValueError(f"X has {n} rows and y has shape {y.shape}.")
            if n:
                found["labels"], found["target"] = encode_labels(y)
        if self.labelled and len(parts) == 3 and parts[2] is not None:
            found["weights"] = check_weights(as_array(parts[2]), n)
        return Piece(start, start + n, X, place=place, **found)


def as_array(values: Any) -> Any:
    """Values of a batch as an array or a sparse matrix; tensors of torch share their memory."""
    if sp.issparse(values):
        return values
    if hasattr(values, "detach") and hasattr(values, "numpy"):  # a tensor of torch
        if values.device.type != "cpu":
            raise ValueError(f"a tensor is on {values.device}: move it by .cpu().")
        values = values.detach()
        if str(values.dtype) == "torch.bfloat16":  # which NumPy lacks; float32 holds its values
            values = values.float()
        return values.numpy()
    return np.asarray(values)
