"""A program of a user passes strict type checkers, names every public name, and runs."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import parallel_ridge

PROGRAM = Path(__file__).parent / "typed_user.py"
ROOT = Path(parallel_ridge.__file__).parent


def run(*command):
    # The checkout, where it is installed in editable mode, which mypy does not see.
    env = {**os.environ, "MYPYPATH": str(ROOT.parent)}
    found = subprocess.run(
        command, capture_output=True, text=True, cwd=PROGRAM.parent, env=env, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_it_names_every_public_name():
    names = {
        node.id for node in ast.walk(ast.parse(PROGRAM.read_text())) if isinstance(node, ast.Name)
    }
    assert set(parallel_ridge.__all__) <= names


def test_it_runs():
    run(sys.executable, str(PROGRAM))


def test_mypy(tmp_path):
    pytest.importorskip("mypy")
    run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", "--ignore-missing-imports",
        f"--cache-dir={tmp_path}", "--follow-imports=silent", str(PROGRAM),
    )  # fmt: skip


def test_pyright():
    if shutil.which("pyright", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("pyright cannot be found: pip install 'pyright[nodejs]'")
    run(sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(PROGRAM))


@pytest.mark.parametrize("path", sorted((ROOT / "kernels").glob("*.pyx")), ids=lambda p: p.stem)
def test_stubs_name_every_function(path):
    """Functions that Python sees: ``def`` and ``cpdef`` without an underscore."""
    defined = set(re.findall(r"^(?:cp)?def (?:[\w\[\], *]+ )?([a-z]\w*)\(", path.read_text(), re.M))
    stub = ast.parse(path.with_suffix(".pyi").read_text())
    named = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert defined == named
