"""MNIST over the ranks of an MPI program
======================================

    mpiexec -n 2 python examples/mpi_mnist.py

Rank 0 has the images and deals them out; every rank then fits to its own and holds the same model.
Where each rank can read a file, `parallel_ridge.mpi.open_rows` takes the place of `scatter_rows`.
Without MNIST it uses the digits that scikit-learn bundles.
"""

import time

import numpy as np
from sklearn.datasets import load_digits

from parallel_ridge import MPIBackend, ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.datasets import find_data, load_mnist
from parallel_ridge.mpi import run_on_all_ranks, scatter_rows


def load():
    """Training and test images with their labels, as rows of bytes."""
    if find_data("mnist") is not None:
        mnist = load_mnist()
        return mnist.data, mnist.target, mnist.data_test, mnist.target_test
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.uint8)
    return X[:1500], y[:1500], X[1500:], y[1500:]


def main():
    """Fit, search and score on all ranks; rank 0 reports."""
    backend = MPIBackend()
    comm = backend.communicator()
    arrays = run_on_all_ranks(lambda: load() if comm.rank == 0 else (None,) * 4)
    X, y, X_test, y_test = (*scatter_rows(*arrays[:2]), *scatter_rows(*arrays[2:]))

    start = time.perf_counter()
    model = ParallelRidgeClassifier(alpha=100.0, backend=backend).fit(X, y)
    seconds = time.perf_counter() - start
    # Each rank has its own report; the slowest one tells.
    reports = backend.gather(lambda: backend.report)
    accuracy = model.score(X_test, y_test)  # of the test rows of all ranks

    search_backend = MPIBackend()
    start = time.perf_counter()
    search = ParallelRidgeClassifierCV(np.logspace(2, 8, 7), cv=5, backend=search_backend).fit(X, y)
    search_seconds = time.perf_counter() - start
    threads = backend.gather(backend.solve_threads)
    rows = backend.gather(lambda: len(X))
    if comm.rank:
        return
    print(f"{comm.size} rank{'s' * (comm.size > 1)} with {threads} threads and {rows} rows")
    print(f"{min(threads)} thread{'s' * (min(threads) > 1)} per rank at least")
    for name in ("fold", "reduce", "solve"):
        slowest = max(getattr(report, f"{name}_seconds") for report in reports)
        print(f"{name:>8}: {1e3 * slowest:8.1f} ms")
    print(f"     fit: {1e3 * seconds:8.1f} ms in all")
    reduced = reports[0].reduced
    print(
        f"a rank sent {sum(reduced) / 1e6:.2f} MB to {len(reduced)} reductions and "
        f"{reports[0].exchanged_bytes / 1e6:.3f} MB in agreement"
    )
    print(f"test accuracy {accuracy:.4f}")
    print(
        f"5 folds x {len(search.alphas)} penalties in {search_seconds:.2f} s: "
        f"alpha={search.alpha_:g}, held-out accuracy {search.best_score_:.4f}"
    )


if __name__ == "__main__":
    main()
