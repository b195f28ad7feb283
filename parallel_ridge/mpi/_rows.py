"""Rows for the ranks of an MPI program: read in parts, or scattered from one rank."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.backends import agree, named_call
from parallel_ridge.datasets import read_idx
from parallel_ridge.mpi._backend import MPIBackend
from parallel_ridge.sources import as_csr, take_rows

T = TypeVar("T")
CHUNK_BYTES = 2**26  # of rows that travel in one message


def local_slice(n: int, comm: Any = None) -> slice:
    """The caller's part of ``n`` rows: parts are contiguous and differ by at most one row.

    Parameters
    ----------
    n : int
        Rows of all ranks.
    comm : mpi4py.MPI.Intracomm, default=None
        None is ``MPI.COMM_WORLD``.

    Returns
    -------
    slice
    """
    comm = MPIBackend(comm).communicator()
    return _part(n, comm.rank, comm.size)


@named_call
def run_on_all_ranks(function: Callable[[], T], comm: Any = None) -> T:
    """Call a function on every rank, for example to read a file; if one rank fails, all raise.

    Parameters
    ----------
    function : callable
        Called without arguments.
    comm : mpi4py.MPI.Intracomm, default=None
        None is ``MPI.COMM_WORLD``.

    Returns
    -------
    object
        What the function returned on this rank.
    """
    results: list[T] = []
    MPIBackend(comm).gather(lambda: results.append(function()))
    return results[0]


@named_call
def open_rows(path: str | os.PathLike[str], comm: Any = None) -> NDArray[Any]:
    """The caller's part of the rows of a file, memory-mapped: nothing is read before use.

    Parameters
    ----------
    path : path
        An ``.npy`` file in C order, or an IDX file of unsigned bytes that is not compressed; each
        image of an IDX file is a row.
    comm : mpi4py.MPI.Intracomm, default=None
        None is ``MPI.COMM_WORLD``.

    Returns
    -------
    memmap of shape (m, d), or (m,) for one-dimensional files

    Raises
    ------
    OSError, ValueError
        If a rank cannot read the file, or if ranks see files of different shapes.
    """
    backend = MPIBackend(comm)
    comm = backend.communicator()
    rows = run_on_all_ranks(lambda: _map(Path(path)), comm)
    agree(f"the shape of {os.fspath(path)!r}", backend.gather(lambda: rows.shape))
    return rows[_part(len(rows), comm.rank, comm.size)]


@named_call
def scatter_rows(*arrays: Any, root: int = 0, comm: Any = None) -> tuple[Any, ...]:
    """Distribute the rows of arrays on one rank over all ranks, in the parts of `local_slice`.

    Rows travel in chunks, so that ``root`` needs no second copy; its own part is a view.

    Parameters
    ----------
    *arrays : ndarray or CSR matrix of n rows each, or None
        For example ``X, y``. Other ranks pass the same number of placeholders, e.g. None; an argument
        that is None on `root` is None everywhere.
    root : int, default=0
        The rank that holds them.
    comm : mpi4py.MPI.Intracomm, default=None
        None is ``MPI.COMM_WORLD``.

    Returns
    -------
    tuple
        This rank's rows of each array.

    Examples
    --------
    >>> X, y = scatter_rows(X, y)  # doctest: +SKIP
    """
    backend = MPIBackend(comm)
    comm = backend.communicator()
    agree("root", backend.gather(lambda: root))
    agree("the number of arrays", backend.gather(lambda: len(arrays)))

    held: list[Any] = []

    def describe() -> list[Any] | None:
        if not 0 <= root < comm.size:
            raise ValueError(f"root={root} is no rank of {comm.size}.")
        if comm.rank != root:
            return None
        held[:] = map(_rows, arrays)  # inside `gather`, so that all ranks see an error
        lengths = {one.shape[0] for one in held if one is not None}
        if len(lengths) != 1:
            raise ValueError(
                f"The arrays to scatter have {sorted(lengths)} rows; all need the same."
            )
        return [None if one is None else one[:0] for one in held]

    heads = backend.gather(describe)[root]
    assert heads is not None
    n = comm.bcast(
        next(one.shape[0] for one in held if one is not None) if comm.rank == root else None,
        root,
    )
    own = _part(n, comm.rank, comm.size)

    def allocate() -> list[Any]:
        return [
            None
            if head is None or comm.rank == root
            else []
            if _as_objects(head)
            else np.empty((own.stop - own.start, *head.shape[1:]), head.dtype)
            for head in heads
        ]

    received = run_on_all_ranks(allocate, comm)
    for head, array, place in zip(heads, held or arrays, received, strict=True):
        if head is not None:
            _scatter(comm, root, n, head, array, place)
    if comm.rank == root:
        return tuple(None if one is None else take_rows(one, own) for one in held)
    return tuple(
        _joined(place, head) if isinstance(place, list) else place
        for place, head in zip(received, heads, strict=True)
    )


def _scatter(comm: Any, root: int, n: int, head: Any, array: Any, place: Any) -> None:
    """Send each rank its rows of an array, or receive them."""
    for rank in range(comm.size):
        if rank == root:
            continue
        if comm.rank == root:
            _send(comm, array, _part(n, rank, comm.size), rank)
        elif comm.rank == rank:
            _receive(comm, place, _part(n, rank, comm.size), head, root)


def _rows(array: Any) -> Any:
    if array is None:
        return None
    return as_csr(array, "an array") if sp.issparse(array) else np.asarray(array)


def _part(n: int, rank: int, size: int) -> slice:
    return slice(n * rank // size, n * (rank + 1) // size)


def _as_objects(head: Any) -> bool:
    return sp.issparse(head) or head.dtype.hasobject


def _chunks(part: slice, row_bytes: float) -> Iterator[slice]:
    size = max(1, int(CHUNK_BYTES / max(row_bytes, 1)))
    for start in range(part.start, part.stop, size):
        yield slice(start, min(start + size, part.stop))


def _row_bytes(head: Any, n_values: int) -> float:
    return head.dtype.itemsize * n_values


def _send(comm: Any, rows: Any, part: slice, rank: int) -> None:
    for chunk in _chunks(part, _row_bytes(rows, int(np.prod(rows.shape[1:])))):
        piece = take_rows(rows, chunk)
        if _as_objects(rows):
            comm.send(piece, rank)
        else:
            comm.Send(np.ascontiguousarray(piece).reshape(-1).view(np.uint8), rank)


def _receive(comm: Any, place: Any, part: slice, head: Any, root: int) -> None:
    for chunk in _chunks(part, _row_bytes(head, int(np.prod(head.shape[1:])))):
        if isinstance(place, list):
            place.append(comm.recv(source=root))
        else:
            rows = place[chunk.start - part.start : chunk.stop - part.start]
            comm.Recv(rows.reshape(-1).view(np.uint8), root)


def _joined(parts: list[Any], head: Any) -> Any:
    parts = [head, *parts]
    return sp.vstack(parts, format="csr") if sp.issparse(head) else np.concatenate(parts)


def _map(path: Path) -> NDArray[Any]:
    if path.suffix == ".npy":
        rows = np.load(path, mmap_mode="r")
    elif path.suffix == ".gz":
        raise ValueError(f"{path} is compressed, so that no part can be read alone: unpack it.")
    else:
        with open(path, "rb") as file:
            n_dims = (file.read(4) + bytes(4))[3]
        rows = read_idx(path, n_dims)
    return rows.reshape(len(rows), -1) if rows.ndim > 1 else rows
