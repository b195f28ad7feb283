"""What the ranks of the MPI benchmarks run: one job, over and over, whenever a file asks for it.

Run as ``mpiexec -n RANKS python -m benchmarks.mpi_program FOLDER THREADS JOB ROWS DTYPE FEATURES``.
Idle ranks of MPI spin, and would slow what is measured meanwhile; so these sleep and look for a file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.single_machine import Images
from parallel_ridge import (
    MPIBackend,
    ParallelRidgeClassifier,
    sufficient_statistics,
)
from parallel_ridge.mpi import local_slice
from parallel_ridge.solvers import NormalEquations, Problem
from parallel_ridge.threads import blas_threads

LOOK = 0.002
"""Seconds between two looks for a file."""


def job(
    name: str, backend: MPIBackend, n_rows: int, dtype: str, n_features: int
) -> Callable[[], object]:
    """A call that all ranks make together, with all that it needs made before."""
    images = Images()
    comm = backend.communicator()
    columns = slice(0, n_features)
    # Model parallel: each rank has the statistics, and is dealt penalties.
    if name.startswith("solves"):
        alphas = np.logspace(2, 6, int(name.split()[1]))
        statistics = sufficient_statistics(images.X[:n_rows, columns], images.y[:n_rows])

        def solve(alpha: float) -> Any:
            system = NormalEquations(statistics, Problem())
            factor = system.factorise(alpha, True, system.limit(alpha))
            return factor.solution(factor.solve(system.rhs))

        def solves() -> object:
            with blas_threads(backend.solve_threads()):
                return backend.map(solve, alphas)

        return solves
    if name == "allreduce":  # of as many float64 numbers as there are rows
        from mpi4py import MPI

        numbers = np.ones(n_rows)
        return lambda: comm.Allreduce(MPI.IN_PLACE, numbers)
    own = local_slice(n_rows, comm)
    rows = np.arange(own.start, own.stop) % len(
        images.X
    )  # more than there are: again from the first
    X = np.ascontiguousarray(images.X[rows, columns], dtype=dtype)
    y = images.y[rows]
    if name == "fold":
        return lambda: sufficient_statistics(X, y, backend=backend)
    return lambda: ParallelRidgeClassifier(100.0, backend=backend).fit(X, y)


def main() -> None:
    """Answer requests until one says "end"."""
    folder, threads, name, n_rows, dtype, n_features = sys.argv[1:]
    backend = MPIBackend(n_threads=int(threads))
    comm = backend.communicator()
    call = job(name, backend, int(n_rows), dtype, int(n_features))
    call()
    number = 0
    while True:
        if comm.rank == 0:
            Path(folder, f"ready-{number}").touch()
        request = Path(folder, f"request-{number}")
        while not request.exists():
            time.sleep(LOOK)
        if request.read_text() == "end":
            return
        comm.Barrier()
        before = len(backend.report.reduced)
        start = time.perf_counter()
        call()
        comm.Barrier()
        seconds = time.perf_counter() - start
        if comm.rank == 0:
            answer = {"seconds": seconds, "reduced": backend.report.reduced[before:]}
            partial = Path(folder, f"answer-{number}.part")
            partial.write_text(json.dumps(answer))
            partial.rename(Path(folder, f"answer-{number}"))
        number += 1


if __name__ == "__main__":
    main()
