"""MPI: ranks that fit together, and rows for them."""

from parallel_ridge.mpi._backend import MPIBackend, Report, named
from parallel_ridge.mpi._rows import local_slice, open_rows, run_on_all_ranks, scatter_rows

__all__ = [
    "MPIBackend",
    "Report",
    "local_slice",
    "named",
    "open_rows",
    "run_on_all_ranks",
    "scatter_rows",
]
