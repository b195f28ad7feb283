"""Executors of a Spark cluster, which fold the rows where they lie."""

from __future__ import annotations

import copy
import gc
import math
import os
import pickle
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from numbers import Integral
from operator import add, itemgetter
from threading import Lock
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from parallel_ridge.backends._base import Backend, BackendUnavailable, Plan, V
from parallel_ridge.backends.openmp import OpenMPBackend, default_threads
from parallel_ridge.discovery import StatisticsOptions, SurveyReduction
from parallel_ridge.frames import (
    SparkSource,
    check_columns,
    column,
    feature_columns,
    is_number,
    is_rdd,
    is_spark,
    read_frame,
    read_rdd,
)
from parallel_ridge.labels import as_labels
from parallel_ridge.partitions import BatchReader, BlockReader, Groups, PartitionSource, Reader
from parallel_ridge.reductions import Reduction, RowsReduction, complete
from parallel_ridge.sources import Block, Source, Target, Validate, check_rows, places

T = TypeVar("T")
S = TypeVar("S")

INSTALL = (
    "install parallel_ridge[spark] in the Python that executors use: a cluster image with it, or an "
    "environment archive (see docs/spark.md), and PYSPARK_PYTHON"
)
STOPPED = "The Spark session has been stopped: make a new one, and the DataFrame anew from it."
# Results of a DataFrame's partitions that the driver merges as fast as one more round of tasks would.
FEW = 16
# Under Spark Connect the number of partitions is not known: the last round has this many tasks.
UNKNOWN = 8
# Arrow batches that stay in a cache on their way, which Spark's own do not: half the time, of vectors.
BATCH_KEY = "spark.sql.execution.arrow.maxBytesPerBatch"
BATCH_BYTES = "8388608b"
# Errors that another attempt at the same rows would meet again.
LASTING = (ValueError, TypeError, ArithmeticError, IndexError, KeyError)


class Reads(Protocol):
    """Items of a partition to blocks: a `Reader`, or one of blocks as they are."""

    def blocks(self, items: Iterable[Any]) -> Iterator[Block]:
        """Blocks, in order."""


@dataclass
class SparkBackend(Backend):
    """Fold in the executors of a Spark cluster.

    Parameters
    ----------
    session : pyspark.sql.SparkSession, default=None
        Where arrays are spread to, and solves run; None: that of the data, else the active one, else
        a new one. Sessions of Spark Connect too. Not pickled.
    depth : int, default=2
        Levels of the tree that merges the partitions' results, by `RDD.treeAggregate` those of an RDD
        and by the like for a DataFrame: 2 is one round of merging before the driver's, 1 is none. Up
        to 16 results of a DataFrame go straight to the driver unless ``depth`` is greater than 2.
    features : str or sequence of str, default=None
        Columns of a DataFrame that hold the features: one of whole rows (`VectorUDT`, array of
        numbers, or binary: a byte a feature), or many of numbers. None: the one column of whole
        rows, or else all columns of numbers that have no other role.
    n_jobs : int, default=None
        Threads of a task; None is ``spark.task.cpus``.
    solves : {"auto", "tasks", "driver"}, default="auto"
        Where the solves of a search run: a task each, or in threads of the driver. "auto" is the driver
        where the whole cluster is this machine (``local[...]``): statistics need not travel then.

    Notes
    -----
    A fold reads small partitions of a DataFrame together, in fewer tasks: to parts of at most
    ``spark.sql.adaptive.advisoryPartitionSizeInBytes``, but for all cores, unless
    ``spark.sql.adaptive.coalescePartitions.enabled`` is false or executors come and go
    (``spark.dynamicAllocation.enabled``). While it runs, the session's
    ``spark.sql.execution.arrow.maxBytesPerBatch`` is 8 MB, unless it was set. The Pythons of executors
    leave what they have imported out of garbage collections (`gc.freeze`): Spark collects after each
    task.
    """

    session: Any = None
    depth: int = 2
    features: str | Sequence[str] | None = None
    n_jobs: int | None = None
    solves: str = "auto"
    _plan: Plan = field(default=Plan(), init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "session": None}

    def fold(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Fold in the executors; sums of floats have the same bits in the same tasks."""
        if isinstance(source, SparkSource):
            if isinstance(reduction, RowsReduction):
                raise ValueError(
                    "solver='dual' needs all rows in one process, and they lie in Spark: choose "
                    "'auto', 'cholesky' or 'svd'."
                )
            known = source.known(reduction)
            if known is not None:
                return known
            return self.fold_rows(reduction, source.rows, source.reader())
        blocks = source.blocks(reduction.block_rows)
        session = self.live_session()
        if is_connect(session):
            tasks = replace(self, solves="tasks")
            values = tasks.map(_BlockFold(reduction, self.n_jobs), blocks)
            return _sum(values, reduction)
        context = session.sparkContext
        some = list(blocks)
        n_slices = max(1, min(len(some), context.defaultParallelism))
        return self.fold_rows(reduction, context.parallelize(some, n_slices), _AsTheyAre())

    def fold_rows(self, reduction: Reduction[Any, V], rows: Any, reader: Reads) -> V:
        """Fold the rows of a DataFrame of the reader's columns, or of an RDD of what it reads."""
        session = session_of(rows)
        check_session(session)
        check_executors(session)
        if not isinstance(self.depth, int) or self.depth < 1:
            raise ValueError(f"depth must be a positive integer; got {self.depth!r}.")
        task = _Task(reduction, reader, self.n_jobs)
        with clear_errors():
            if is_connect(session):
                total = _tree_of_frames(rows, task, _rounds(None, self.depth)).total()
            else:
                # A broadcast goes once to each executor, and not with every task.
                shared = session.sparkContext.broadcast(task)
                try:
                    fold = self._fold_rdd if is_rdd(rows) else self._fold_frame
                    total = fold(rows, lambda *some: shared.value(*some))
                finally:
                    shared.unpersist()
        return _checked(total, reduction)

    def _fold_rdd(self, rows: Any, task: Callable[[int, Iterable[Any]], bytes]) -> Any:
        results = rows.mapPartitionsWithIndex(
            lambda index, items: [Partials([(index, task(index, items))])]
        )
        return results.treeAggregate(Partials([]), add, add, self.depth).total()

    def _fold_frame(self, rows: Any, task: Callable[[int, Iterable[Any]], bytes]) -> Any:
        n_partitions = count_partitions(rows)
        fewer = count_tasks(rows, n_partitions)
        if fewer < n_partitions:
            together = rows.coalesce(fewer)
            total = _tree_of_frames(together, task, _rounds(fewer, self.depth)).total()
            if not isinstance(total, Failure):
                return total
            # Where an error is, is told of the partitions that the user has.
        return _tree_of_frames(rows, task, _rounds(n_partitions, self.depth)).total()

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on items, each in a task of its own; a single one in this process."""
        items = list(items)
        if self.solves not in ("auto", "tasks", "driver"):
            raise ValueError(
                f"solves={self.solves!r} is not known; choose 'auto', 'tasks' or 'driver'."
            )
        if len(items) < 2 or self.solves == "driver":
            return OpenMPBackend().map(function, items)
        session = self.live_session()
        if self.solves == "auto" and not is_connect(session):
            master = session.sparkContext.master
            if master == "local" or master.startswith("local["):
                return OpenMPBackend().map(function, items)
        check_executors(session)
        from pyspark import cloudpickle

        # By value where it has no name to find it by.
        call = _Call(cloudpickle.dumps(function))  # type: ignore[no-untyped-call]
        with clear_errors():
            if is_connect(session):
                results = _mapped_by_frames(session, call, items)
            else:
                context = session.sparkContext
                packed = [(i, pickle.dumps(item, 5)) for i, item in enumerate(items)]
                shared = context.broadcast(call)
                try:
                    results = (
                        context.parallelize(packed, len(packed))
                        .map(lambda item: shared.value(item))
                        .collect()
                    )
                finally:
                    shared.unpersist()
        values = [pickle.loads(result) for _, result in sorted(results)]
        for value in values:
            if isinstance(value, Failure):
                value.throw()
        return values

    def planned(self, plan: Plan) -> SparkBackend:
        """The same backend, told what will be folded of the next source."""
        backend = copy.copy(self)
        backend._plan = plan
        return backend

    def source(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        classes: Any = None,
        validate: Validate = check_rows,
        options: Callable[[], dict[str, str]] = dict,
    ) -> tuple[Source, Target]:
        """Rows of arrays, or of a DataFrame or an RDD, which one pass surveys.

        Parameters
        ----------
        X : DataFrame, RDD of ``(X, y)`` or ``(X, y, sample_weight)``, or array
        y, sample_weight : str
            Columns of a DataFrame; None for an RDD.
        """
        if not is_spark(X):
            return super().source(
                X, y, sample_weight=sample_weight, classes=classes, validate=validate
            )
        import_pyspark()
        check_session(session_of(X))
        plan = self._plan
        rows: Any
        reader: Reader
        if is_rdd(X):
            rows, reader = self._read_rdd(X, y, sample_weight)
        else:
            rows, reader = self._read_frame(X, y, sample_weight)
        names = reader.features if isinstance(reader, BatchReader) else ()
        of_columns = len(names) > 1 or (len(names) == 1 and is_number(X.schema, names[0]))
        statistics = None
        if plan.statistics:
            statistics = StatisticsOptions(
                plan.centre,
                plan.double,
                plan.near,
                np.array(names, dtype=object) if of_columns else None,
            )
        n_groups = 1 if reader.groups is None else len(reader.groups.values)
        survey = self.fold_rows(SurveyReduction(n_groups, statistics), rows, reader)
        if survey.target is None:
            raise ValueError("There are no rows: the DataFrame or RDD is empty.")
        target = survey.target
        if classes is not None:
            target = Target(as_labels(classes), target.multilabel)
            places(survey.target.classes, target.classes)
        # What the estimator checks of arrays, of one row like these.
        row: Any = np.zeros((1, survey.n_features))
        if of_columns:
            import pandas as pd

            row = pd.DataFrame(row, columns=list(names))
        validate(row, target.classes[:1], False)
        return SparkSource(rows, reader, survey, target, statistics), target

    def _read_frame(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, BatchReader]:
        plan, roles = self._plan, {"y": y, "sample_weight": sample_weight}
        if isinstance(plan.cv, str):
            roles["cv"] = plan.cv
        if plan.groups is not None:
            roles["groups"] = plan.groups
        for role, name in roles.items():
            if not isinstance(name, str) and (name is not None or role == "y"):
                raise ValueError(
                    f"{role} of a DataFrame is the name of a column; got {type(name).__name__} "
                    f"{name!r}."
                )
        names = [name for name in roles.values() if name is not None]
        check_columns(X.schema, names)
        features = feature_columns(X.schema, self.features, names)
        if plan.cv is None:
            return read_frame(X, features, y, sample_weight)
        from pyspark.sql import functions as F

        if isinstance(plan.cv, str):
            if plan.groups is not None:
                raise ValueError(
                    f"groups={plan.groups!r} has no use beside the folds of the column {plan.cv!r}."
                )
            # As strings, which are told apart in executors as here, whatever they are of.
            fold = column(plan.cv).cast("string")
            with clear_errors():
                rows = X.select(column(plan.cv), fold).distinct().collect()
            if any(text is None for _, text in rows):
                raise ValueError(f"Column {plan.cv!r}, which names folds, has nulls.")
            try:
                rows = sorted(rows)  # folds are numbered in the order of their values
            except TypeError as error:
                raise ValueError(
                    f"Column {plan.cv!r} names folds by values that do not order: {error}."
                ) from error
            values = np.array([text for _, text in rows], dtype=object)
        elif isinstance(plan.cv, Integral):
            keys = [plan.groups] if plan.groups is not None else features
            fold = F.pmod(F.xxhash64(*map(column, keys)), F.lit(int(plan.cv)))
            values = np.arange(int(plan.cv))
        else:
            raise ValueError(
                f"cv={plan.cv!r} needs positions of rows, which a DataFrame has not: pass a number of "
                "folds, or the name of a column that holds each row's fold."
            )
        groups = Groups(values, tuple(range(len(values))))
        return read_frame(X, features, y, sample_weight, fold, groups)

    def _read_rdd(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, BlockReader]:
        if y is not None or sample_weight is not None:
            raise ValueError(
                "The items of an RDD are (X, y) or (X, y, sample_weight): pass the RDD alone."
            )
        cv = self._plan.cv
        if self._plan.groups is not None or not (cv is None or isinstance(cv, Integral)):
            raise ValueError(
                f"cv={cv!r}, groups={self._plan.groups!r}: rows of an RDD are split into a number of "
                "folds, by their content."
            )
        return X, read_rdd(0 if cv is None else int(cv))

    def solve_threads(self) -> int:
        """Threads that a solve in the driver may use."""
        return default_threads()

    def live_session(self) -> Any:
        """The session to use.

        Raises
        ------
        BackendUnavailable
            If PySpark or Java is missing.
        ValueError
            If the session was stopped.
        """
        session = self.session
        if session is None:
            SparkSession = import_pyspark().sql.SparkSession
            session = SparkSession.getActiveSession()
            if session is None:
                check_java()
                with clear_errors():
                    session = SparkSession.builder.getOrCreate()
        check_session(session)
        return session


def import_pyspark() -> Any:
    """PySpark.

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
    """Sessions in which folds run that have made batches shorter, and how many."""

    lock: ClassVar[Lock] = Lock()
    folds: ClassVar[Counter[str]] = Counter()


@contextmanager
def short_batches(session: Any) -> Iterator[None]:
    """Jobs that start meanwhile send batches of `BATCH_BYTES` to Python.

    Unless the session has a setting of its own, or knows none, or lets none be made.
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
                with suppress(Exception):  # a server that is no more
                    session.conf.unset(BATCH_KEY)


def _shorten_batches(session: Any) -> bool:
    """Whether the size of batches was not set, and now is."""
    try:
        unset = session.conf.isModifiable(BATCH_KEY) and session.conf.get(BATCH_KEY, None) is None
        if unset:
            session.conf.set(BATCH_KEY, BATCH_BYTES)
        return bool(unset)
    except Exception:  # a service that fixes its settings
        return False


# ------------------------------------------------------------------------------------ in executors


@cache
def settle_worker() -> None:
    """Leave all that is imported out of garbage collections, once in each Python of an executor.

    Spark collects garbage after each task, and looks through NumPy, SciPy, scikit-learn and pandas each
    time: longer than some tasks take.
    """
    gc.freeze()


@dataclass(frozen=True)
class Failure:
    """An error in a partition: a result like others, so that no executor tries the same again."""

    kind: type[Exception]
    message: str

    @classmethod
    def of(cls, error: Exception, where: str) -> Failure:
        """What to tell of an error."""
        kind = next(kind for kind in LASTING if isinstance(error, kind))
        return cls(kind, f"{error} ({where})")

    def throw(self) -> None:
        """Raise it here."""
        raise self.kind(self.message)


@dataclass(frozen=True)
class Partials:
    """Results of some partitions, packed.

    When they travel, which is when a task is done, they add up in the order of partitions: so the
    sums of floats do not depend on which result came first.
    """

    parts: list[tuple[int, Any]]

    def __add__(self, other: Partials) -> Partials:
        """Results of both."""
        return Partials(self.parts + other.parts)

    def __reduce__(self) -> tuple[Any, ...]:
        if len(self.parts) < 2:
            return Partials, (self.parts,)
        first = min(index for index, _ in self.parts)
        return Partials, ([(first, pickle.dumps(self.total(), 5))],)

    def total(self) -> Any:
        """Sum of the results; a `Failure` if there is any; None of no results."""
        value = None
        for index, packed in sorted(self.parts, key=itemgetter(0)):
            one = pickle.loads(packed)
            if isinstance(one, Failure):
                return one
            try:
                value = one if value is None else value + one
            except LASTING as error:
                return Failure.of(error, f"in adding the rows of partition {index}")
        return value


@dataclass(frozen=True)
class _Task:
    """What an executor does with a partition."""

    reduction: Any
    reader: Any
    n_jobs: int | None

    def __call__(self, index: int, items: Iterable[Any]) -> bytes:
        """The packed result of a partition."""
        settle_worker()
        try:
            source: Any = PartitionSource(self.reader.blocks(items))
            value: Any = OpenMPBackend(self.n_jobs or task_threads()).fold(self.reduction, source)
        except LASTING as error:
            value = Failure.of(error, f"partition {index}")
        except Exception as error:
            # Another attempt may do better: Spark decides.
            raise RuntimeError(f"task {index}: {type(error).__name__}: {error}") from error
        return pickle.dumps(value, 5)


@dataclass(frozen=True)
class _Call:
    """What an executor does with an item of `map`."""

    function: bytes

    def __call__(self, item: tuple[int, bytes]) -> tuple[int, bytes]:
        """The packed result of a numbered item."""
        number, packed = item
        settle_worker()
        try:
            value: Any = pickle.loads(self.function)(pickle.loads(packed))
        except LASTING as error:
            value = Failure.of(error, f"item {number}")
        return number, pickle.dumps(value, 5)


@dataclass(frozen=True)
class _BlockFold:
    """Fold of one block, for `map`."""

    reduction: Any
    n_jobs: int | None

    def __call__(self, block: Block) -> Any:
        source: Any = PartitionSource([block])
        return OpenMPBackend(self.n_jobs or task_threads()).fold(self.reduction, source)


class _AsTheyAre:
    """Reader of an RDD of blocks."""

    def blocks(self, items: Iterable[Block]) -> Iterator[Block]:
        """The blocks."""
        return iter(items)


def task_threads() -> int:
    """Cores that Spark gives to each task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 1 if context is None else max(1, context.cpus())


def _rounds(n_partitions: int | None, depth: int) -> list[int]:
    """Numbers of merging tasks, round by round: those of `RDD.treeAggregate`, but for few results."""
    if n_partitions is None:
        return [UNKNOWN**level for level in reversed(range(1, depth))]
    few = FEW if depth <= 2 else 0
    scale = max(math.ceil(n_partitions ** (1 / depth)), 2)
    rounds = []
    while n_partitions > max(few, scale + math.ceil(n_partitions / scale)):
        n_partitions //= scale
        rounds.append(n_partitions)
    return rounds


def count_partitions(rows: Any) -> int:
    """Partitions of a DataFrame, at most; asked of the plan where it tells, so that no shuffle runs."""
    query = rows._jdf.queryExecution()
    plan = query.executedPlan()
    if plan.nodeName() == "AdaptiveSparkPlan":
        plan = plan.inputPlan()
    planned = int(plan.outputPartitioning().numPartitions())
    # It does not tell of files and caches, which need no shuffle.
    return planned or int(query.toRdd().getNumPartitions())


def count_tasks(rows: Any, n_partitions: int) -> int:
    """Tasks for the partitions of a DataFrame: fewer, where these are small.

    A result may have more bytes than a small partition has, and a task takes its time. For such reasons
    Spark's adaptive execution reads small partitions together after a shuffle, up to a size that is a
    setting, if that is not turned off: here so are all, and there are as many tasks for each core. Sizes
    are what Spark's optimizer believes; if it knows nothing, that is the largest number. Where executors
    come as tasks wait, there is no saying how many cores there will be.
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


def _row(pa: Any, index: int, value: bytes) -> Any:
    arrays = [pa.array([index], pa.int32()), pa.array([value], pa.binary())]
    return pa.RecordBatch.from_arrays(arrays, names=["partition", "value"])


def _items(batches: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Rows of a number and bytes (a buffer of them, which is a copy of its own)."""
    for batch in batches:
        numbers, values = batch.columns
        yield from (
            (n.as_py(), value.as_buffer()) for n, value in zip(numbers, values, strict=True)
        )


def _collected(frame: Any) -> list[tuple[int, Any]]:
    """Rows of a number and bytes, here."""
    if hasattr(frame, "toArrow"):  # PySpark 4: three times as fast as pickled rows
        return list(_items(frame.toArrow().to_batches()))
    return [(row[0], bytes(row[1])) for row in frame.collect()]


def _tree_of_frames(
    rows: Any, task: Callable[[int, Iterable[Any]], bytes], rounds: Sequence[int]
) -> Partials:
    """The results of a DataFrame's partitions, merged in rounds of these many tasks.

    What `RDD.treeAggregate` does, by DataFrames, so that results travel as Arrow: through an RDD a
    task takes some 40 ms more (two sockets that wait for each other), and its result two more copies.
    """
    from pyspark.sql import functions as F

    schema = "partition int, value binary"

    def fold(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from pyspark import TaskContext

        context = TaskContext.get()
        index = context.partitionId() if context else 0
        yield _row(pa, index, task(index, batches))

    def merge(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        parts = Partials(list(_items(batches)))
        if parts.parts:
            first = min(index for index, _ in parts.parts)
            yield _row(pa, first, pickle.dumps(parts.total(), 5))

    frame = rows.mapInArrow(fold, schema)
    for n_tasks in rounds:
        key = F.pmod(F.col("partition"), F.lit(n_tasks))
        frame = frame.repartition(n_tasks, key).mapInArrow(merge, schema)
    with short_batches(rows.sparkSession):
        return Partials(_collected(frame))


def _mapped_by_frames(session: Any, call: _Call, items: Sequence[Any]) -> list[tuple[int, bytes]]:
    """Results of numbered items without RDDs."""
    schema = "number int, item binary"
    packed = [(i, bytearray(pickle.dumps(item, 5))) for i, item in enumerate(items)]
    frame = session.createDataFrame(packed, schema).repartition(len(items), "number")

    def results(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for item in _items(batches):
            number, value = call(item)
            arrays = [pa.array([number], pa.int32()), pa.array([value], pa.binary())]
            yield pa.RecordBatch.from_arrays(arrays, names=["number", "item"])

    return _collected(frame.mapInArrow(results, schema))


def _sum(values: Sequence[Any], reduction: Reduction[Any, V]) -> V:
    total = None
    for value in values:
        total = value if total is None else total + value
    return _checked(total, reduction)


def _checked(value: Any, reduction: Reduction[Any, V]) -> V:
    """The value of a fold, or its error; that of no rows if there were no partitions."""
    if isinstance(value, Failure):
        value.throw()
    value = reduction.finish(reduction.zero(1)) if value is None else value
    return complete(reduction, value)


# ------------------------------------------------------------------------------ what executors have


class _Checked:
    """Applications whose executors were found to have what a fold needs."""

    applications: ClassVar[set[str]] = set()


def check_executors(session: Any) -> None:
    """Raise unless the executors have this Python, this package and this version of it.

    One small job, once for each application.

    Raises
    ------
    BackendUnavailable
        The message shows what executors have, and what the driver has.
    """
    application = _application(session)
    if application in _Checked.applications:
        return
    mine = (*sys.version_info[:2], version("parallel-ridge"))

    # Nested, so that it is pickled by value: executors may lack this very module.
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
    """Say what Spark's errors mean, where that is known."""
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
