"""Spark with processes of its own: a cluster, Spark Connect, and what goes wrong between them."""

import importlib.util
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("spark_jobs.py")


@pytest.fixture
def run(spark_environment, tmp_path):
    """``run(job)``: what a job of a new process found."""

    def run(job, **environment):
        outcome = subprocess.run(
            [sys.executable, str(SCRIPT), job, str(tmp_path)],
            env={**os.environ, **spark_environment, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=900,
        )
        lines = outcome.stdout.strip().splitlines()
        assert outcome.returncode == 0 and lines, outcome.stdout[-2000:] + outcome.stderr[-6000:]
        return json.loads(lines[-1])

    return run


def test_a_cluster_of_processes_and_a_killed_executor(run, tmp_path):
    # Executors of a local cluster write to a folder of Spark's, which may be read-only.
    found = run("cluster", SPARK_WORKER_DIR=str(tmp_path / "work"))
    assert found["fit"] and found["arrays"]
    assert found["executors"] == 2
    assert found["search"] > 0.9
    assert found["score"][0] == pytest.approx(found["score"][1])
    assert found["killed"], "no executor was killed"
    assert found["after a kill"] and found["after errors"]


def test_a_tree_of_results_needs_little_of_the_driver(run):
    found = run("results")
    assert found["tree"]
    assert found["flat"] is not None and "maxResultSize" in found["flat"][1]


def test_a_stopped_session_is_an_error_that_says_so(run):
    found = run("stopped")
    for kind, message in found.values():
        assert kind == "ValueError"
        assert "The Spark session has been stopped" in message


def test_executors_without_the_package_are_refused(run, tmp_path):
    # The same libraries from the same places, but for this one.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    for name in ("numpy", "pyarrow", "pandas", "pyspark"):
        folder = Path(importlib.util.find_spec(name).origin).parent
        (site / name).symlink_to(folder)
        libraries = folder.with_name(f"{name}.libs")
        if libraries.exists():
            (site / libraries.name).symlink_to(libraries)
    found = run("stranger", PYSPARK_PYTHON=str(python))
    kind, message = found["error"]
    assert kind == "BackendUnavailable"
    assert f"Executors run {python}" in message and "parallel-ridge missing" in message
    assert "docs/spark.md" in message


def test_spark_connect_needs_data_frames_alone(run):
    for name in ("grpc", "grpc_status", "google.protobuf"):
        try:
            importlib.import_module(name)
        except ImportError:
            pytest.skip(f"Spark Connect needs {name}: parallel_ridge[connect]")
    found = run("connect")
    assert "connect" in found["module"]
    assert found["fit"] and found["deep"] and found["predict"] and found["arrays"]
    assert found["score"][0] == pytest.approx(found["score"][1])
    assert found["search"] > 0.9
    assert found["map"] == [0, 1, 4, 9, 16]
    kind, message = found["null"]
    assert kind == "ValueError" and "Column 'features' is null in row" in message
    assert "partition" in message
    assert found["statistics"] == 1797
    assert found["stopped"][0] == "ValueError" and "has been stopped" in found["stopped"][1]
