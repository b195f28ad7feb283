"""MPI programs of one to four ranks, started from here; what they check is in `tests/_mpi`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import _mpi.agreement
import _mpi.fits
import _mpi.pipelines
import _mpi.streams  # noqa: F401  # they register their checks
import numpy as np
import pytest
from _mpi import CHECKS

import parallel_ridge
from parallel_ridge import BackendUnavailable, ParallelRidgeClassifier
from parallel_ridge.mpi import _backend as mpi

TESTS = Path(__file__).parents[1]
TIME_LIMIT = 300  # some 20 s on an idle machine; a deadlock waits for ever
RANKS = (1, 2, 3, 4)
# Ranks that wait give way to those that work: there may be more of them than cores.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPIR_CVAR_POLLS_BEFORE_YIELD": "1",
}


def mpiexec():
    """The launcher beside this interpreter, which is that of the library that mpi4py finds there."""
    found = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which(
        "mpiexec"
    )
    assert found, "no mpiexec: pip install 'parallel-ridge[test]' brings one"
    return found


def run(command, limit=TIME_LIMIT, **more):
    """Outcome of a command and all that it started; past the limit all of these are killed."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD, **more},
        cwd=TESTS,  # not where the package's sources would be imported
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return None, out, err
    return process.returncode, out, err


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Results of all checks under some number of ranks; each is launched once."""

    @cache
    def launch(ranks):
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        code, out, err = run([mpiexec(), "-n", ranks, sys.executable, "-m", "_mpi", folder])
        file = folder / "results.json"
        results = json.loads(file.read_text()) if file.exists() else {}
        running = (folder / "running").read_text() if (folder / "running").exists() else "start-up"
        end = f"{ranks} ranks ended with {code} (None: time limit) in {running}\n{out[-999:]}{err}"
        return results, end

    return launch


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("ranks", RANKS)
def test_ranks(ranks, name, launched):
    results, end = launched(ranks)
    assert name in results, end
    assert not results[name]["trouble"], results[name]["trouble"]


def test_a_rank_that_dies_ends_the_program():
    code = """
        import os
        import numpy as np
        from mpi4py import MPI
        from parallel_ridge import ParallelRidgeClassifier
        if MPI.COMM_WORLD.rank == 1:
            os.kill(os.getpid(), 9)
        ParallelRidgeClassifier(backend="mpi").fit(np.eye(4), [0, 1, 0, 1])
        print("survived")
    """
    code, out, _ = run([mpiexec(), "-n", 2, sys.executable, "-c", textwrap.dedent(code)], 60)
    assert code not in (None, 0) and "survived" not in out


def test_a_launcher_of_another_library_is_refused():
    code = """
        import numpy as np
        from parallel_ridge import BackendUnavailable, ParallelRidgeClassifier
        try:
            ParallelRidgeClassifier(backend="mpi").fit(np.eye(4), [0, 1, 0, 1])
        except BackendUnavailable as error:
            print("refused:", error)
    """
    for name in ("OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        outcome = run([sys.executable, "-c", textwrap.dedent(code)], 60, **{name: "3"})
        assert outcome[0] == 0, outcome[2]
        assert re.search(f"refused: .* 3 processes .{name}=3.* sees one", outcome[1])


@pytest.mark.parametrize("missing", ["mpi4py", "mpi4py.MPI"])
def test_without_mpi_the_error_names_the_extra(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "mpi4py":
        monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    model = ParallelRidgeClassifier(backend="mpi")
    with pytest.raises(BackendUnavailable, match=r"parallel-ridge\[mpi-embedded\]") as caught:
        model.fit(np.eye(4), [0, 1, 0, 1])
    assert isinstance(caught.value.__cause__, ImportError)
    assert not hasattr(model, "coef_")


def test_importing_the_backend_initialises_nothing():
    code = "import sys, parallel_ridge.mpi; parallel_ridge.get_backend('mpi'); " + (
        "assert 'mpi4py.MPI' not in sys.modules and 'mpi4py' not in sys.modules"
    )
    outcome = run([sys.executable, "-c", code], 60)
    assert outcome[0] == 0, outcome[2]


def test_a_fitted_model_predicts_where_there_is_no_mpi(monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    model = ParallelRidgeClassifier().fit(X, y).set_params(backend="mpi")
    for name in ("mpi4py", "mpi4py.MPI"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(model.predict(X)) == 40


def test_threads_before_mpi_starts_are_those_of_the_launcher(monkeypatch):
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    monkeypatch.setattr(mpi, "default_threads", lambda: 8)
    monkeypatch.setattr(mpi, "_cores", lambda: set(range(8)))
    for name in mpi.NEIGHBOURS:
        monkeypatch.delenv(name, raising=False)
    assert mpi.MPIBackend().solve_threads() == 8
    monkeypatch.setenv("MPI_LOCALNRANKS", "3")
    assert mpi.MPIBackend().solve_threads() == 2
    assert mpi.MPIBackend(n_threads=5).solve_threads() == 5


@pytest.mark.parametrize(
    ("affinities", "usable", "threads"),
    [
        ([range(8)], 8, [8]),
        ([range(8)] * 2, 8, [4, 4]),
        ([range(4), range(4, 8)], 4, [4, 4]),  # pinned
        ([range(8)] * 3, 8, [2, 2, 2]),
        ([range(2)] * 4, 2, [1, 1, 1, 1]),
        ([range(64)] * 2, 4, [2, 2]),  # a container's quota
    ],
)
def test_ranks_on_one_machine_share_its_cores(affinities, usable, threads, monkeypatch):
    class Node:
        size = len(affinities)
        rank = 0

        def Split_type(self, kind):
            return self

        def allgather(self, mine):
            return [set(cores) for cores in affinities]

        def Free(self):
            pass

    class MPI:
        COMM_TYPE_SHARED = 0

    monkeypatch.setattr("joblib.cpu_count", lambda: usable)
    found = []
    for cores in affinities:
        monkeypatch.setattr(mpi, "_cores", lambda cores=cores: set(cores))
        found.append(mpi._fair_threads(Node(), MPI)[0])
    assert found == threads


def test_the_example_runs():
    script = TESTS.parent / "examples" / "mpi_mnist.py"
    code, out, err = run([mpiexec(), "-n", 2, sys.executable, script], 120)
    assert code == 0, err
    for word in ("2 ranks", "1 thread", "fold", "reduce", "solve", "MB", "accuracy"):
        assert word in out, (word, out)
    assert float(re.search(r"accuracy[^0-9]*([0-9.]+)", out)[1]) > 0.8


def test_the_example_of_convolutions_runs():
    pytest.importorskip("aeon")
    script = TESTS.parent / "examples" / "mpi_rocket.py"
    code, out, err = run([mpiexec(), "-n", 2, sys.executable, script], 120)
    assert code == 0, err
    assert "2 ranks, 924 features made in blocks" in out
    assert float(re.search(r"accuracy ([0-9.]+)", out)[1]) > 0.9


def test_the_public_name_is_there():
    assert parallel_ridge.MPIBackend is mpi.MPIBackend
