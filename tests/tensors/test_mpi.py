"""Ranks that each fold their tensors get the fit to the tensors of all."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MPIR_CVAR_POLLS_BEFORE_YIELD": "1",
    # Open MPI refuses to run as root, which is who tests in a container.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
CODE = """
    import warnings

    import numpy as np
    import torch
    from mpi4py import MPI

    from _mpi import assert_close, fits, make_data, part, raises, searches, weights_of
    from parallel_ridge import MPIBackend, ParallelRidgeClassifier, TorchBackend

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The best alpha")
    comm = MPI.COMM_WORLD
    for device in (None, "cpu"):
        backend = MPIBackend(local=TorchBackend(device=device))
        for target in ("integers", "strings", "multilabel"):
            for dtype in ("float64", "uint8"):
                X, y = make_data(dtype=dtype, target=target)
                X = torch.from_numpy(X)
                for weights in (None, weights_of(len(X))):
                    for cut in ("even", "first empty"):
                        fits(comm, {"alpha": 2.0}, X, y, weights, cut, 1e-10, backend)
                fits(comm, {"solver": "cg"}, X, y, None, "even", 1e-8, backend)
                fits(comm, {"solver": "svd"}, X, y, None, "even", 1e-8, backend)
        X, y = make_data(30, 50)
        shared, alone = fits(comm, {}, torch.from_numpy(X), y, None, "uneven", 1e-8, backend)
        assert shared.solver_ == "dual"
        X, y = make_data(target="integers")
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        s = part(comm, len(X))
        model = ParallelRidgeClassifier(backend=backend).fit(X[s], y[s])
        assert isinstance(model.predict(X[s]), torch.Tensor)
        assert model.score(X[s], y[s]) == ParallelRidgeClassifier().fit(X, y).score(X, y)
        bad = X.clone()
        bad[200, 3] = np.nan
        fit = ParallelRidgeClassifier(backend=backend).fit
        raises(comm, ValueError, ["NaN", "column 3", "rank 1"], lambda: fit(bad[s], y[s]))
        sparse = X[s].to_sparse() if comm.rank else X[s]
        raises(comm, TypeError, ["SciPy's CSR", "rank 1"], lambda: fit(sparse, y[s]))
    from parallel_ridge import ParallelRidgeClassifierCV
    for cv in (3, None):
        shared = ParallelRidgeClassifierCV([1.0, 10.0, 100.0], cv=cv, backend=backend).fit(X[s], y[s])
        alone = ParallelRidgeClassifierCV([1.0, 10.0, 100.0], cv=cv).fit(X, y)
        assert shared.alpha_ == alone.alpha_
        assert_close(shared.coef_, alone.coef_, 1e-9)
    assert repr(MPIBackend(local="torch")._local()).startswith("TorchBackend")
    assert MPIBackend(local="torch")._local().process == comm.rank
    raises(comm, ValueError, ["one process"], lambda: MPIBackend(local="mpi").reduce(None, None))
    print("all good")
"""


def test_two_ranks_fold_tensors():
    pytest.importorskip("mpi4py", reason="needs parallel-ridge[mpi-embedded]")
    launcher = Path(sys.executable).with_name("mpiexec")
    command = [str(launcher) if launcher.exists() else "mpiexec", "-n", "2", sys.executable]
    done = subprocess.run(
        [*command, "-c", textwrap.dedent(CODE)],
        env={**os.environ, **ENVIRONMENT},
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("all good") == 2
