"""Spark on one machine: fits against Spark's own, the fold against what transfer allows, searches."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from operator import add
from typing import Any

import numpy as np

from benchmarks.cells import cell
from benchmarks.measure import Comparison, Group, Options, Row, Table, faster, in_turns, timed
from benchmarks.peers import Fit, Linear
from benchmarks.single_machine import N_CLASSES, Images
from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    SufficientStatistics,
    sufficient_statistics,
)
from parallel_ridge.solvers import Problem, solve_path

ALPHAS = np.logspace(-2, 10, 13)
FOLDS = 5
PARTITIONS = 4
TREE = 8  # partitions whose results `treeAggregate` merges in one round before the driver
COPIES = 4  # of the training rows, where only the fold is measured
QUICK_ROWS = 1000
WARM_CALLS = 3  # of each side, before what a group measures first
CLUSTER = "local[2]"
INNER, OUTER, SERIAL = "inner loop of 2017", "outer loop of 2017", "serial"
ONE_PASS = "inner loop with one pass"


@cache
def _session() -> Any:
    """The session that all groups share, so that it is warm."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "6g",
        "spark.sql.shuffle.partitions": "4",
        # To make DataFrames of pandas'.
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # For the baseline that sends whole matrices.
        "spark.driver.maxResultSize": "4g",
    }
    builder = SparkSession.builder.master(CLUSTER).appName("parallel_ridge benchmarks")
    for key, value in options.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    atexit.register(session.stop)
    return session


class Frames:
    """MNIST as cached DataFrames with a column of rows and one of labels."""

    def __init__(self, options: Options) -> None:
        import pandas as pd
        from pyspark.ml.functions import array_to_vector
        from pyspark.sql import functions as F

        session = _session()
        images = Images()
        self.caution = images.caution
        n = QUICK_ROWS if options.quick else len(images.X)
        self.X, self.y = images.X[:n], images.y[:n].astype(np.int64)
        table = pd.DataFrame({"features": [row.tobytes() for row in self.X], "label": self.y})
        frame = session.createDataFrame(table, "features binary, label long")
        self.binary = frame.repartition(PARTITIONS).cache()
        table["features"] = list(self.X.astype(np.float32))
        floats = session.createDataFrame(table, "features array<float>, label long")
        self.floats = floats.repartition(PARTITIONS).cache()
        self.vectors = self.floats.select(
            array_to_vector(F.col("features").cast("array<double>")).alias("features"), "label"
        ).cache()
        for frame in (self.binary, self.floats, self.vectors):
            frame.count()
        self.X_test, self.y_test = images.X_test, images.y_test.astype(np.int64)


@cache
def _frames(quick: bool) -> Frames:
    return Frames(Options(quick))


def _warm(options: Options, *calls: Callable[[], Any]) -> None:
    """Call before measuring: the JVM compiles what it has run for a second or so."""
    for _ in range(1 if options.quick else WARM_CALLS):
        for call in calls:
            call()


def _missing() -> str:
    """Why nothing can be measured; empty if all can."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        return "Java is not on this machine."
    try:
        import pyspark  # noqa: F401
    except ImportError:
        return "PySpark is not installed."
    return ""


def _or_reason(group: Group) -> Group:
    """The group, or one row that says why there is none."""

    def measured(options: Options) -> Iterator[Any]:
        reason = _missing()
        if reason:
            yield Comparison("all", None, note=reason)
        else:
            warnings.simplefilter("ignore")
            yield from group(options)

    measured.__doc__ = group.__doc__
    return measured


def _fit(frame: Any) -> Callable[[], Any]:
    return lambda: ParallelRidgeClassifier().fit(frame, "label")


def _logistic(frame: Any) -> Linear:
    from pyspark.ml.classification import LogisticRegression

    model = LogisticRegression(maxIter=10).fit(frame)
    return Linear(model.coefficientMatrix.toArray().T, model.interceptVector.toArray())


def _one_against_rest(frame: Any, n_classes: int = N_CLASSES) -> Linear:
    """Least-squares fits by Spark's normal equations, one per class."""
    from pyspark.ml.regression import LinearRegression
    from pyspark.sql import functions as F

    models = [
        LinearRegression(solver="normal", regParam=1e-6).fit(
            frame.select(
                "features", F.when(F.col("label") == c, 1.0).otherwise(-1.0).alias("label")
            )
        )
        for c in range(n_classes)
    ]
    coefs = np.array([model.coefficients.toArray() for model in models])
    return Linear(coefs.T, np.array([model.intercept for model in models]))


def spark(options: Options) -> Iterator[Comparison]:
    """Spark: whole fits.

    MNIST's 60,000 training images as a cached DataFrame of four partitions, `local[2]`, one session, all
    warm; `fit` from a column of raw bytes and from one of vectors, with every job that it takes, against
    Spark ML on the vectors, which may be measured once. Accuracy is that on the 10,000 test
    images, of what was timed.
    """
    frames = _frames(options.quick)
    _warm(options, *map(_fit, (frames.binary, frames.vectors)))
    against = "Spark ML, `LogisticRegression(maxIter=10)`"
    ten = 'Spark ML, ten `LinearRegression(solver="normal")`'

    def of(fit: Callable[[], Any]) -> Fit:
        return Fit(fit, frames.X_test, frames.y_test)

    def compared(
        name: str, rows: Any, peer: Any, other: str, times: float, once: bool = False
    ) -> Comparison:
        ours, theirs = of(_fit(rows)), of(lambda: peer(frames.vectors))
        return Comparison(
            name,
            ours.seconds,
            theirs.seconds,
            other,
            faster(times),
            frames.caution,
            peer_once=once,
            accuracies=(ours.accuracy, theirs.accuracy),
        )

    kinds = [("bytes", frames.binary, 8), ("vectors", frames.vectors, 4)]
    for kind, frame, times in options.kinds(kinds):
        yield compared(f"`fit`, {kind}", frame, _logistic, against, times, once=kind == "vectors")
    # Spark takes a second for each class, however few the images.
    peer = partial(_one_against_rest, n_classes=2 if options.quick else N_CLASSES)
    yield compared("`fit`, bytes", frames.binary, peer, ten, 20, once=True)


def _touch(batches: Iterator[Any]) -> Iterator[Any]:
    """Look at each buffer, and give back the number of rows."""
    import pyarrow as pa

    rows, bytes_ = 0, 0
    for batch in batches:
        rows += batch.num_rows
        for column in batch.columns:
            for buffer in column.buffers():
                if buffer is not None and buffer.size:
                    bytes_ += int(np.frombuffer(buffer, np.uint8)[::4096].max())
    yield pa.RecordBatch.from_arrays([pa.array([rows + 0 * bytes_])], names=["rows"])


def _reading(reader: Any, reduction: Any = None) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Read the rows of each batch, and fold them too if there is a reduction; give back their number."""

    def rows(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        from parallel_ridge.backends import OpenMPBackend
        from parallel_ridge.spark._readers import PartitionSource

        if reduction is None:
            n = sum(len(block.labels) for block in reader.blocks(batches))
        else:
            source: Any = PartitionSource(reader.blocks(batches))
            n = int(OpenMPBackend(1).reduce(reduction, source).n_rows.sum())
        yield pa.RecordBatch.from_arrays([pa.array([n])], names=["rows"])

    return rows


class Folds:
    """The steps of a fold, each with those before it, on the batches and in the tasks of a fold."""

    def __init__(self, frame: Any) -> None:
        from parallel_ridge.reductions import StatisticsOptions
        from parallel_ridge.spark import SparkBackend
        from parallel_ridge.spark._columns import read_frame
        from parallel_ridge.spark._session import count_partitions, count_tasks
        from parallel_ridge.spark._survey import SurveyReduction

        self.frame = frame
        self.rows, self.reader = read_frame(frame, ("features",), "label")
        self.together = self.rows.coalesce(count_tasks(self.rows, count_partitions(self.rows)))
        self.backend, self.reduction = SparkBackend(), SurveyReduction(1, StatisticsOptions())

    def job(self) -> Any:
        """A job like the others, without rows."""
        return self._mapped(_touch, self.rows.where("false"))

    def touch(self) -> Any:
        """Batches to Python."""
        return self._mapped(_touch)

    def touch_partitions(self) -> Any:
        """Batches to Python, a task for each partition."""
        return self._mapped(_touch, self.rows)

    def read(self) -> Any:
        """Batches to blocks."""
        return self._mapped(_reading(self.reader))

    def kernel(self) -> Any:
        """Blocks to sums, which stay in the executors."""
        return self._mapped(_reading(self.reader, self.reduction))

    def fold(self) -> Any:
        """All of the fold."""
        return self.backend.reduce_rows(self.reduction, self.rows, self.reader)

    def fit(self) -> Any:
        """The fold and the solve."""
        return ParallelRidgeClassifier().fit(self.frame, "label")

    def _mapped(self, function: Any, rows: Any = None) -> Any:
        from parallel_ridge.spark._session import short_batches

        with short_batches(_session()):
            rows = self.together if rows is None else rows
            return rows.mapInArrow(function, "rows long").collect()


def spark_fold(options: Options) -> Iterator[Comparison]:
    """Spark: the fold.

    Sums of four times the training images (240,000 rows), 16 partitions, against a `mapInArrow` that only
    looks at each buffer: what Spark's way to Python allows. A fold reads small partitions together, in
    fewer tasks; the second comparison is with a `mapInArrow` in as few.
    """
    frames = _frames(options.quick)
    kinds = options.kinds([("bytes", frames.binary), ("`array<float>`", frames.floats)])
    for name, frame in kinds:
        many = frame
        for _ in range(COPIES - 1):
            many = many.union(frame)
        folds = Folds(many)
        _warm(options, folds.fold, folds.touch, folds.touch_partitions)
        ways = [(folds.touch_partitions, "", faster(0.6)), (folds.touch, ", in as few tasks", None)]
        for touch, tasks, target in ways:
            yield Comparison(
                f"sums, {name}",
                timed(folds.fold),
                timed(touch),
                f"batches to Python alone{tasks}",
                target,
                frames.caution,
            )


def spark_steps(options: Options) -> Iterator[Row]:
    """Spark: where the time goes.

    Each row is all steps up to it, on the 60,000 training images in four partitions, which are read in as
    many tasks as a fold makes of them: a job without rows; batches from the JVM to Python (Arrow);
    batches to blocks; blocks to sums; sums merged; and `fit`, which solves too. Those of a kind of column
    are measured in turns.
    """
    frames = _frames(options.quick)
    kinds = [("bytes", frames.binary), ("`array<float>`", frames.floats)]
    columns = {}
    for name, frame in options.kinds([*kinds, ("vectors", frames.vectors)]):
        folds = Folds(frame)
        _warm(options, folds.fit)
        calls = (folds.job, folds.touch, folds.read, folds.kernel, folds.fold, folds.fit)
        times = in_turns([timed(call) for call in calls], [options.repetitions] * len(calls))
        columns[name] = [cell(some, "s") for some in times]
    steps = "a job", "JVM to Arrow", "Arrow to blocks", "kernel", "merge", "solve (`fit`)"
    lines = [list(line) for line in zip(steps, *columns.values(), strict=True)]
    yield Table("up to each step", ["all steps up to", *columns], lines, frames.caution)


def spark_search(options: Options) -> Iterator[Comparison]:
    """Spark: searches, and the variants of 2017.

    Thirteen penalties and five folds on the 60,000 training images in bytes. Below, 13 models without
    folds, from an RDD of 30 blocks of rows in eight partitions, against two variants of the study
    (Clements, Cusworth and Maasakkers, 2017) made with parts of this library. *`treeAggregate`* is the
    library's own: a fold of each partition's blocks, results merged by `RDD.treeAggregate`, and one
    path of solves. *Inner loop*: blocks are mapped to their statistics, which a flat `reduce` brings to
    the driver, anew for each penalty, as in the study's program; *with one pass*, once for all
    penalties. *Outer loop*: each task has all rows, and fits the models of its
    penalties. *Serial* is a fit a penalty, in one thread of this process, without Spark.
    """
    frames = _frames(options.quick)
    binary, note = frames.binary, frames.caution

    def search() -> Any:
        return ParallelRidgeClassifierCV(ALPHAS, cv=FOLDS).fit(binary, "label")

    _warm(options, search, _fit(binary))
    yield Comparison(
        f"{len(ALPHAS)} penalties x {FOLDS} folds",
        timed(search),
        timed(_fit(binary)),
        "one `fit`",
        faster(1 / 2.5),
        note,
    )
    context = _session().sparkContext
    parts = np.array_split(np.arange(len(frames.y)), max(TREE, len(frames.y) // 2000))
    blocks = context.parallelize([(frames.X[p], frames.y[p]) for p in parts], TREE).cache()
    blocks.count()
    shared = context.broadcast((frames.X, frames.y))

    def tree() -> Any:
        statistics = sufficient_statistics(blocks)
        return solve_path(statistics, ALPHAS.tolist(), Problem())

    def statistics_of(block: Any) -> SufficientStatistics:
        return sufficient_statistics(*block, backend="openmp", n_jobs=1)

    def inner_loop() -> Any:
        return [
            solve_path(blocks.map(statistics_of).reduce(add), [alpha], Problem())
            for alpha in ALPHAS.tolist()
        ]

    def one_pass() -> Any:
        return solve_path(blocks.map(statistics_of).reduce(add), ALPHAS.tolist(), Problem())

    def outer_loop() -> Any:
        def fit(alpha: float) -> Any:
            X, y = shared.value
            return ParallelRidgeClassifier(alpha, backend="openmp", n_jobs=1).fit(X, y).coef_

        return context.parallelize(ALPHAS.tolist(), len(ALPHAS)).map(fit).collect()

    def serial() -> Any:
        return [
            ParallelRidgeClassifier(alpha, backend="openmp", n_jobs=1).fit(frames.X, frames.y).coef_
            for alpha in ALPHAS.tolist()
        ]

    peers = {INNER: inner_loop, OUTER: outer_loop, ONE_PASS: one_pass, SERIAL: serial}
    for way, call in peers.items():
        name, target = f"{len(ALPHAS)} penalties, `treeAggregate`", None
        if way in (INNER, OUTER):
            target = faster(1)
        once = way == INNER  # it takes seconds
        yield Comparison(name, timed(tree), timed(call), way, target, note, peer_once=once)


GROUPS: dict[str, Group] = {
    group.__name__: _or_reason(group) for group in (spark, spark_fold, spark_steps, spark_search)
}
