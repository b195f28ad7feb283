"""Random convolutions of time series over the ranks of an MPI program
===================================================================

    mpiexec -n 2 python examples/mpi_rocket.py

Each rank makes its own series, and features of a block of them at a time (MiniRocket: Dempster,
Schmidt and Webb, 2021). The convolutions are drawn once, by rank 0, from series of all ranks; every
rank holds the same model at the end. Needs ``aeon``.
"""

import numpy as np

from parallel_ridge import MPIBackend, ParallelRidgeClassifierCV, make_block_pipeline


def series(n, seed):
    """Noisy waves of three frequencies, shape (n, 1, 100), and which of them each is."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    phase, time = rng.uniform(0, 6, (n, 1)), np.arange(100)
    X = np.sin((0.2 + 0.05 * y[:, None]) * time + phase) + rng.normal(size=(n, 100))
    return X[:, None, :], y


def main():
    """Fit and score on all ranks; rank 0 reports."""
    from aeon.transformations.collection.convolution_based import MiniRocket

    backend = MPIBackend()
    comm = backend.communicator()
    X, y = series(2000 // comm.size, seed=comm.rank)
    X_test, y_test = series(1000 // comm.size, seed=100 + comm.rank)
    model = make_block_pipeline(
        MiniRocket(n_kernels=1000, random_state=0),
        ParallelRidgeClassifierCV(np.logspace(-2, 6, 9), cv=5, backend=backend),
    )
    model.fit(X, y)
    accuracy = model.score(X_test, y_test)
    if comm.rank == 0:
        n_features = model[-1].n_features_in_
        print(
            f"{comm.size} ranks, {n_features} features made in blocks, alpha={model[-1].alpha_:g}"
        )
        print(f"test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
