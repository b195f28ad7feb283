"""The package builds and works where something is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parallel_ridge import ParallelRidgeClassifier

CHECKOUT = Path(__file__).parents[1]
WITHOUT_OPENMP = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
import parallel_ridge
assert parallel_ridge.__file__.startswith({folder!r}), parallel_ridge.__file__
parallel_ridge.show_versions()
rng = np.random.default_rng(0)
X, y = rng.standard_normal((3000, 200)), rng.integers(0, 3, 3000)
np.save({result!r}, parallel_ridge.ParallelRidgeClassifier(n_jobs=3).fit(X, y).coef_)
"""


def python(code, **environment):
    """Run code in a fresh interpreter that knows no editable installs."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(
    not (CHECKOUT / "meson.build").exists() or shutil.which("cc") is None,
    reason="needs a checkout and a C compiler",
)
def test_a_build_without_openmp_gives_the_same_bits_with_one_thread(tmp_path):
    pytest.importorskip("mesonpy", reason="needs the build tools of the dev extra")
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    build = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            "--config-settings=setup-args=-Dopenmp=disabled",
            f"--config-settings=build-dir={tmp_path / 'build'}",
            *("--wheel-dir", str(tmp_path), str(CHECKOUT)),
        ],
        env={**os.environ, "PATH": tools},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    folder = tmp_path / "installed"
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), folder, format="zip")
    result = tmp_path / "coef.npy"
    code = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Meson' not in type(f).__name__]"
    run = python(code + WITHOUT_OPENMP.format(folder=str(folder), result=str(result)))
    assert run.returncode == 0, run.stderr
    assert "no: built without, so one thread" in run.stdout

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3000, 200)), rng.integers(0, 3, 3000)
    np.testing.assert_array_equal(np.load(result), ParallelRidgeClassifier().fit(X, y).coef_)


def test_importing_the_package_imports_no_optional_library():
    optional = "{'mpi4py', 'pyspark', 'matplotlib', 'PIL', 'tqdm'}"
    run = python(
        f"import sys, sklearn.linear_model; before = set(sys.modules)\n"
        f"import parallel_ridge\nprint((set(sys.modules) - before) & {optional})"
    )
    assert run.stdout.strip() == "set()", run.stdout + run.stderr


def test_show_versions_names_the_kernel(capsys):
    import parallel_ridge

    parallel_ridge.show_versions()
    printed = capsys.readouterr().out
    for name in ("parallel-ridge", "scikit-learn", "kernel", "OpenMP", "thread pool 1"):
        assert name in printed
