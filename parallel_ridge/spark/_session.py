"""Spark sessions: what they must have, and what their errors mean."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from threading import Lock
from typing import Any, ClassVar

from parallel_ridge.exceptions import BackendUnavailable

INSTALL = (
    "install parallel_ridge[spark] in the Python that executors use: a cluster image with it, or an "
    "environment archive (see docs/spark.md), and PYSPARK_PYTHON"
)
STOPPED = "The Spark session has been stopped: make a new one, and the DataFrame anew from it."
# Arrow batches of this size stay in cache, unlike Spark's default: half the time for vectors.
BATCH_KEY = "spark.sql.execution.arrow.maxBytesPerBatch"
BATCH_BYTES = "8388608b"


def import_pyspark() -> Any:
    """Import PySpark.

    Raises
    ------
    BackendUnavailable
        If it, or what it needs to exchange batches, cannot be imported.
    """
    try:
        import pandas  # noqa: F401  # which mapInArrow asks for
        import pyarrow  # noqa: F401
        import pyspark
        import pyspark.sql
    except ImportError as error:
        raise BackendUnavailable(
            f"backend='spark' could not import {error.name} ({error}). Install parallel_ridge[spark] "
            "(pyspark, pyarrow and pandas), or choose backend='openmp'."
        ) from error
    return pyspark


def check_java() -> None:
    """Raise unless there is a Java to start a session with."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java") if not home else os.path.exists(os.path.join(home, "bin", "java"))
    if not found and "SPARK_REMOTE" not in os.environ:
        where = f"JAVA_HOME={home} has no bin/java" if home else "there is no java on PATH"
        raise BackendUnavailable(
            f"backend='spark' needs Java, and {where}. Install Java 17 or newer (on Debian or "
            "Ubuntu: apt install openjdk-17-jre-headless), or set JAVA_HOME."
        )


def is_connect(session: Any) -> bool:
    """Whether a session is one of Spark Connect, which has no RDDs."""
    return "connect" in type(session).__module__.split(".")


def session_of(rows: Any) -> Any:
    """The session of a DataFrame, or one of an RDD's context."""
    if hasattr(rows, "sparkSession"):
        return rows.sparkSession
    if rows.context._jsc is None:
        raise ValueError(STOPPED)
    return import_pyspark().sql.SparkSession(rows.context)


def check_session(session: Any) -> None:
    """Raise if a session was stopped."""
    if is_connect(session):
        stopped = bool(getattr(session, "is_stopped", False))
    else:
        context = session.sparkContext._jsc
        stopped = context is None or context.sc().isStopped()
    if stopped:
        raise ValueError(STOPPED)


class _Batches:
    """Number of running passes that shortened batches, per session."""

    lock: ClassVar[Lock] = Lock()
    folds: ClassVar[Counter[str]] = Counter()


@contextmanager
def short_batches(session: Any) -> Iterator[None]:
    """Let jobs that start in this context send batches of `BATCH_BYTES` to Python.

    Does nothing if the user has set the option, or if the session does not know it or does not allow
    changing it.
    """
    key = session.session_id if is_connect(session) else str(id(session._jsparkSession))
    with _Batches.lock:
        mine = _Batches.folds[key] > 0 or _shorten_batches(session)
        _Batches.folds[key] += mine
    try:
        yield
    finally:
        with _Batches.lock:
            _Batches.folds[key] -= mine
            if mine and not _Batches.folds[key]:
                with suppress(Exception):  # the server may have stopped
                    session.conf.unset(BATCH_KEY)


def _shorten_batches(session: Any) -> bool:
    """Set the size of Arrow batches, unless it is set or cannot be; return whether it was set here."""
    try:
        unset = session.conf.isModifiable(BATCH_KEY) and session.conf.get(BATCH_KEY, None) is None
        if unset:
            session.conf.set(BATCH_KEY, BATCH_BYTES)
        return bool(unset)
    except Exception:  # some services fix their settings
        return False


def count_partitions(rows: Any) -> int:
    """Upper bound of a DataFrame's partitions; from the plan if possible, so that no shuffle runs."""
    query = rows._jdf.queryExecution()
    plan = query.executedPlan()
    if plan.nodeName() == "AdaptiveSparkPlan":
        plan = plan.inputPlan()
    planned = int(plan.outputPartitioning().numPartitions())
    # The plan does not know about files and caches, which need no shuffle.
    return planned or int(query.toRdd().getNumPartitions())


def count_tasks(rows: Any, n_partitions: int) -> int:
    """Number of tasks for the partitions of a DataFrame: fewer if these are small.

    A result may be larger than a small partition, and every task has a fixed cost. As adaptive execution
    does after a shuffle, small partitions are coalesced up to the advisory size, with an equal number of
    tasks per core, unless that is turned off. Sizes are the optimizer's estimates, the largest number if
    it has none. With dynamic allocation the number of cores is not known in advance.
    """
    session = rows.sparkSession
    context, prefix = session.sparkContext, "spark.sql.adaptive"

    def says(value: str, key: str, otherwise: str) -> bool:
        return str(session.conf.get(key, otherwise)).strip().lower() == value

    if (
        says("false", f"{prefix}.enabled", "true")
        or says("false", f"{prefix}.coalescePartitions.enabled", "true")
        or says("true", "spark.dynamicAllocation.enabled", "false")
    ):
        return n_partitions
    in_bytes = context._jvm.org.apache.spark.network.util.JavaUtils.byteStringAsBytes
    wanted = max(1, in_bytes(session.conf.get(f"{prefix}.advisoryPartitionSizeInBytes")))
    size = int(rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())
    cores = context.defaultParallelism
    return min(n_partitions, cores * max(1, -(-size // (cores * wanted))))


class _Checked:
    """Applications whose executors have passed the check."""

    applications: ClassVar[set[str]] = set()


def check_executors(session: Any) -> None:
    """Raise unless the executors have this Python and this version of the package.

    Runs one small job per application.

    Raises
    ------
    BackendUnavailable
        The message shows the versions of executors and driver.
    """
    application = _application(session)
    if application in _Checked.applications:
        return
    mine = (*sys.version_info[:2], version("parallel-ridge"))

    # Nested, so that it is pickled by value: executors may lack this module.
    def report(_: Any) -> str:
        import sys
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("parallel-ridge")
            import parallel_ridge  # noqa: F401
        except PackageNotFoundError:
            found = "missing"
        except Exception as error:
            found = f"broken ({type(error).__name__}: {error})"
        return "|".join((sys.executable, str(sys.version_info[0]), str(sys.version_info[1]), found))

    def in_arrow(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for _ in batches:
            pass
        yield pa.RecordBatch.from_arrays([pa.array([report(None)])], names=["report"])

    with clear_errors():
        if is_connect(session):
            rows = session.range(0, 4, 1, 4).mapInArrow(in_arrow, "report string").collect()
            reports = {row[0] for row in rows}
        else:
            context = session.sparkContext
            n = max(1, context.defaultParallelism)
            reports = set(context.parallelize(range(n), n).map(report).collect())
    for text in sorted(reports):
        executable, major, minor, found = text.split("|", 3)
        if (int(major), int(minor), found) != mine:
            raise BackendUnavailable(
                f"Executors run {executable} (Python {major}.{minor}, parallel-ridge {found}), and "
                f"the driver {sys.executable} (Python {mine[0]}.{mine[1]}, parallel-ridge {mine[2]}). "
                f"To have the same in both, {INSTALL}."
            )
    _Checked.applications.add(application)


def _application(session: Any) -> str:
    if is_connect(session):
        return str(session.session_id)
    return str(session.sparkContext.applicationId)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Translate known errors of Spark."""
    try:
        yield
    except Exception as error:
        text = str(error)
        if "PYTHON_VERSION_MISMATCH" in text or "different version than that in driver" in text:
            raise BackendUnavailable(
                "Executors run another version of Python than the driver, "
                f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable}). Workers take python3 "
                f"from PATH unless PYSPARK_PYTHON is set: {INSTALL}."
            ) from error
        if "No module named 'parallel_ridge'" in text or "No module named 'pyarrow'" in text:
            raise BackendUnavailable(
                f"Executors lack {'pyarrow' if 'pyarrow' in text else 'parallel_ridge'}: {INSTALL}."
            ) from error
        if "JAVA_GATEWAY_EXITED" in text or "Java gateway process exited" in text:
            raise BackendUnavailable(
                "Spark could not be started: its Java process ended. PySpark 4 needs Java 17 or newer; "
                "see what it printed above."
            ) from error
        if "SparkContext was shut down" in text or "stopped SparkContext" in text:
            raise ValueError(STOPPED) from error
        found = [line for line in text.splitlines() if "RuntimeError: task " in line]
        if found:
            raise RuntimeError(found[0].strip().removeprefix("RuntimeError: ")) from error
        raise
