"""Arrays that live elsewhere and are read by slicing: HDF5, Zarr and their like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from parallel_ridge.streams._ahead import read_ahead
from parallel_ridge.streams._base import Piece, Stream
from parallel_ridge.streams._table_stream import Roles
from parallel_ridge.streams._tables import BATCH_BYTES, LABEL_ROWS

# What arrays in memory have, beside shape, dtype and slicing.
IN_MEMORY = ("__array_interface__", "__array_struct__", "__dlpack__", "__cuda_array_interface__")


def is_chunked(X: Any) -> bool:
    """Whether X is an array that is not in memory: it has a shape, a dtype and slices."""
    shape = getattr(X, "shape", None)
    return (
        isinstance(shape, tuple)
        and len(shape) >= 2
        and hasattr(X, "dtype")
        and hasattr(X, "__getitem__")
        and not sp.issparse(X)
        and not any(hasattr(X, name) for name in IN_MEMORY)
    )


class ChunkedStream(Stream):
    """Rows of an array that is read by slices along its first axis, each of whole chunks.

    Parameters
    ----------
    X : object with ``shape``, ``dtype`` and slicing
        Of shape (n, ...); slices become arrays by `numpy.asarray`.
    roles : Roles
        Arrays; labels are read whole.
    """

    labels_apart = True

    def __init__(self, X: Any, roles: Roles) -> None:
        for role, name in roles.named().items():
            raise ValueError(
                f"{role}={name!r} would be the name of a column, and X is a {type(X).__name__}, which "
                "has none: pass an array of one value per row."
            )
        self.X = X
        self.arrays = roles.arrays()
        self.n_rows = int(X.shape[0])
        self.arrays.check_end(self.n_rows)
        self.description = type(X).__name__

    def pieces(self, features: bool = True) -> Iterator[Piece]:
        """Pieces of whole chunks, read ahead."""
        return read_ahead(self._read(self._piece_rows())) if features else self._labels()

    def _read(self, step: int) -> Iterator[Piece]:
        for start in range(0, self.n_rows, step):
            stop = min(start + step, self.n_rows)
            X = np.asarray(self.X[start:stop])
            yield Piece(start, stop, X, place=f"row {start}", **self.arrays.beside(start, stop))

    def _labels(self) -> Iterator[Piece]:
        for start in range(0, self.n_rows, LABEL_ROWS):
            stop = min(start + LABEL_ROWS, self.n_rows)
            yield Piece(start, stop, None, **self.arrays.beside(start, stop))

    def _piece_rows(self) -> int:
        """A multiple of the rows of a chunk, of about `BATCH_BYTES`."""
        dtype: Any = self.X.dtype
        itemsize = int(getattr(dtype, "itemsize", 8))
        wanted = max(1, BATCH_BYTES // (max(1, int(np.prod(self.X.shape[1:]))) * itemsize))
        chunk = self._chunk_rows()
        return max(1, round(wanted / chunk)) * chunk

    def _chunk_rows(self) -> int:
        chunks = getattr(self.X, "chunks", None)
        # A sharded array of Zarr is read by shards.
        chunks = getattr(self.X, "shards", None) or chunks
        first = chunks[0] if isinstance(chunks, tuple) and chunks else 1
        first = max(first) if isinstance(first, tuple) else first  # those of Dask
        return max(1, int(first))
