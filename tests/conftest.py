"""Fixtures shared by the tests."""

import os
import shutil
import sys

import pytest

from parallel_ridge import register_backend
from parallel_ridge.datasets import find_data, load_mnist

# Engines that must give the same answers; tests of the estimator run on each.
BACKENDS = ["openmp"]
try:
    from dask_backend import DaskBackend  # from docs: the one that the pages show
except ImportError:  # without the pages, or without Dask
    pass
else:
    register_backend("dask", DaskBackend)
    BACKENDS.append("dask")


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    """Name of a backend."""
    return request.param


@pytest.fixture(scope="session")
def mnist():
    """The MNIST digits."""
    if find_data("mnist") is None:
        pytest.skip("MNIST is not on this machine (PARALLEL_RIDGE_DATA)")
    return load_mnist()


@pytest.fixture(autouse=True)
def threads_for_small_work(monkeypatch):
    """Let threads share the small problems of tests, which would not pay for them."""
    monkeypatch.setattr("parallel_ridge.reductions._statistics.THREAD_PRODUCTS", 1)


def missing_for_spark():
    """Why Spark cannot be started here; empty if it can."""
    home = os.environ.get("JAVA_HOME")
    if not (os.path.exists(os.path.join(home, "bin", "java")) if home else shutil.which("java")):
        return "Java is not on this machine (PATH, JAVA_HOME)"
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
        import pyspark  # noqa: F401
    except ImportError as error:
        return f"PySpark cannot be imported: {error}"
    return ""


@pytest.fixture(scope="session")
def spark_environment():
    """Environment variables with which Spark's processes use this Python, and this machine alone."""
    reason = missing_for_spark()
    if reason:
        pytest.skip(reason)
    return {
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


SPARK_OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    "spark.driver.memory": "1g",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100",
    "spark.sql.adaptive.coalescePartitions.enabled": "false",  # tests make small partitions
}


@pytest.fixture(scope="session")
def spark(spark_environment, tmp_path_factory):
    """A session with two tasks at a time, in this process."""
    from pyspark.sql import SparkSession

    before = dict(os.environ)
    os.environ.update(spark_environment)
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for key, value in SPARK_OPTIONS.items():
        builder = builder.config(key, value)
    folder = tmp_path_factory.mktemp("spark")
    session = builder.config("spark.sql.warehouse.dir", str(folder)).getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
    os.environ.clear()
    os.environ.update(before)
