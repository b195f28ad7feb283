"""The archive that `docs/emr/build_archive.sh` makes, on a standalone cluster of two workers."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEEL = os.environ.get("RIDGE_WHEEL")

pytestmark = pytest.mark.skipif(
    not WHEEL, reason="RIDGE_WHEEL names no wheel to put into the archive: make test-cluster does"
)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    script = ROOT / "docs" / "emr" / "build_archive.sh"
    subprocess.run([str(script), WHEEL, sys.executable], cwd=folder, check=True)
    return folder / "ridge.tar.gz"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a master with two workers on loopback."""
    import pyspark

    home = Path(pyspark.__file__).parent
    start = [str(home / "bin" / "spark-class"), "org.apache.spark.deploy"]
    folder, port = tmp_path_factory.mktemp("cluster"), free_port()
    address = f"spark://127.0.0.1:{port}"
    ports = ["--host", "127.0.0.1", "--webui-port", "0"]
    workers = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder)]
    commands = [
        [start[0], f"{start[1]}.master.Master", "--port", str(port), *ports],
        *[[start[0], f"{start[1]}.worker.Worker", *workers, *ports, address]] * 2,
    ]
    logs = [(folder / f"{i}.log").open("w") for i in range(3)]
    running = [
        subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "SPARK_HOME": str(home)}
        )
        for command, log in zip(commands, logs, strict=True)
    ]
    try:
        until = time.monotonic() + 60
        while (folder / "0.log").read_text().count("Registering worker") < 2:
            assert time.monotonic() < until, (folder / "0.log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        for process in running:
            process.terminate()
        for process, log in zip(running, logs, strict=True):
            process.wait()
            log.close()


def test_executors_use_the_archive(archive, cluster, tmp_path):
    import pyspark

    program = tmp_path / "program.py"
    program.write_text("""
import sys
import numpy as np
from pyspark.sql import SparkSession
from sklearn.datasets import load_digits
from parallel_ridge import ParallelRidgeClassifier

session = SparkSession.builder.getOrCreate()
X, y = load_digits(return_X_y=True)
rows = [(bytearray(x.tobytes()), int(label)) for x, label in zip(X.astype(np.uint8), y)]
frame = session.createDataFrame(session.sparkContext.parallelize(rows, 4), "pixels binary, label int")
model = ParallelRidgeClassifier().fit(frame, "label")
same = ParallelRidgeClassifier().fit(X.astype(np.uint8), y)
def where(_):
    import parallel_ridge
    yield parallel_ridge.__file__
places = session.sparkContext.parallelize(range(4), 4).mapPartitions(where).collect()
print("same coefficients:", (model.coef_ == same.coef_).all())
print("executors import", *sorted(set(places)))
session.stop()
""")
    found = subprocess.run(
        [
            str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master", cluster,
            "--archives", f"{archive}#environment", "--conf", "spark.driver.host=127.0.0.1",
            "--executor-memory", "1g", "--driver-memory", "1g", str(program),
        ],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
        env={
            **os.environ,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "PYSPARK_PYTHON": "./environment/bin/python",
        },
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-4000:]
    assert "same coefficients: True" in found.stdout
    places = re.search(r"executors import (.*)", found.stdout)[1].split()
    assert places and all("/environment/lib/" in place for place in places)
