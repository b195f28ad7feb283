"""Run as ``mpiexec -n N python -m _mpi FOLDER`` in the folder of the tests.

Rank 0 writes what each check raised, on whatever rank, to ``results.json`` in the folder, and the name of
the check that runs to ``running``.
"""

import json
import sys
import time
import traceback
import warnings
from pathlib import Path

import _mpi.agreement
import _mpi.fits
import _mpi.pipelines
import _mpi.streams  # noqa: F401  # they register their checks
from _mpi import CHECKS


def main():
    """Run all checks on this rank."""
    from mpi4py import MPI

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The best alpha")
    comm, folder = MPI.COMM_WORLD, Path(sys.argv[1])
    results = {}
    for name, function in CHECKS.items():
        if comm.rank == 0:
            (folder / "running").write_text(name)
        start, trouble = time.perf_counter(), None
        place = folder / name
        if comm.rank == 0:
            place.mkdir()
        comm.barrier()
        try:
            function(comm, place)
        except Exception:
            trouble = traceback.format_exc()
        troubles = comm.allgather(trouble)
        told = [f"rank {i}:\n{text}" for i, text in enumerate(troubles) if text]
        results[name] = {"trouble": "\n".join(told), "seconds": time.perf_counter() - start}
        if comm.rank == 0:
            (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
