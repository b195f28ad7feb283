"""The Spark backend: executors reduce the rows where they lie."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from operator import add
from typing import Any, TypeVar

import numpy as np

from parallel_ridge.backends import Backend, OpenMPBackend, Request
from parallel_ridge.reductions import Reduction, RowsReduction, Value
from parallel_ridge.sources import Source, Target, as_labels, places
from parallel_ridge.spark._answers import answer, score
from parallel_ridge.spark._columns import (
    Samples,
    check_roles,
    column,
    feature_columns,
    is_number,
    is_rdd,
    is_spark,
    read_frame,
    read_rdd,
)
from parallel_ridge.spark._readers import BatchReader, BlockReader, Groups, Reader
from parallel_ridge.spark._session import (
    check_executors,
    check_java,
    check_session,
    clear_errors,
    count_partitions,
    count_tasks,
    import_pyspark,
    is_connect,
    session_of,
)
from parallel_ridge.spark._source import SparkSource
from parallel_ridge.spark._stream import ClusterStream
from parallel_ridge.spark._survey import SurveyReduction
from parallel_ridge.spark._tasks import (
    BlockFold,
    BlocksAsTheyAre,
    Failure,
    ItemCall,
    Partials,
    PartitionTask,
    ReadsItems,
    checked,
    mapped_by_frames,
    merging_rounds,
    sum_values,
    tree_of_frames,
)
from parallel_ridge.streams import Roles, Stream, find_reader, is_path
from parallel_ridge.threads import default_threads

S = TypeVar("S")
T = TypeVar("T")
V = TypeVar("V", bound=Value)


@dataclass
class SparkBackend(Backend):
    """Run passes in the executors of a Spark cluster.

    Parameters
    ----------
    session : pyspark.sql.SparkSession, default=None
        Session for arrays and solves. None is the session of the data, otherwise the active one,
        otherwise a new one. May be a session of Spark Connect. Not pickled.
    depth : int, default=2
        Levels of the tree that merges the partitions' results: `RDD.treeAggregate` for an RDD, an
        equivalent tree for a DataFrame. depth=1 merges in the driver only; depth=2 adds one round in
        the executors. Up to 16 results of a DataFrame go straight to the driver unless ``depth``
        exceeds 2.
    features : str or sequence of str, default=None
        Feature columns of a DataFrame: one column of whole rows (`VectorUDT`, array of numbers, or
        binary with one byte per feature), or several columns of numbers. None is the only column of
        whole rows, otherwise all columns of numbers without another role.
    n_jobs : int, default=None
        Threads per task; None is ``spark.task.cpus``.
    solves : {"auto", "tasks", "driver"}, default="auto"
        Where the solves of a search run: in one task each, or in threads of the driver. "auto" is the
        driver if the whole cluster is this machine (``local[...]``), so that statistics need not
        travel.

    Notes
    -----
    A pass coalesces small partitions of a DataFrame into fewer tasks, up to
    ``spark.sql.adaptive.advisoryPartitionSizeInBytes`` and with work for all cores. It does not if
    ``spark.sql.adaptive.enabled`` or ``spark.sql.adaptive.coalescePartitions.enabled`` is false, or if
    ``spark.dynamicAllocation.enabled`` is true. During a pass the session's
    ``spark.sql.execution.arrow.maxBytesPerBatch`` is 8 MB, unless it was set. Executors' Python
    processes exclude imported modules from garbage collection (`gc.freeze`), because Spark collects
    after each task.
    """

    session: Any = None
    depth: int = 2
    features: str | Sequence[str] | None = None
    n_jobs: int | None = None
    solves: str = "auto"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "session": None}

    def reduce(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Reduce in the executors; the same tasks give the same bits of float sums."""
        if isinstance(source, SparkSource):
            if isinstance(reduction, RowsReduction):
                raise ValueError(
                    "solver='dual' needs all rows in one process, and they lie in Spark: choose "
                    "'auto', 'cholesky' or 'svd'."
                )
            known = source.known(reduction)
            if known is not None:
                return known
            return self.reduce_rows(reduction, source.rows, source.reader())
        blocks = source.blocks(reduction.block_rows)
        session = self.live_session()
        if is_connect(session):
            tasks = replace(self, solves="tasks")
            values = tasks.map(BlockFold(reduction, self.n_jobs), blocks)
            return sum_values(values, reduction)
        context = session.sparkContext
        some = list(blocks)
        n_slices = max(1, min(len(some), context.defaultParallelism))
        return self.reduce_rows(reduction, context.parallelize(some, n_slices), BlocksAsTheyAre())

    def reduce_rows(self, reduction: Reduction[Any, V], rows: Any, reader: ReadsItems) -> V:
        """Reduce a DataFrame with the reader's columns, or an RDD of the reader's items."""
        session = session_of(rows)
        check_session(session)
        check_executors(session)
        if not isinstance(self.depth, int) or self.depth < 1:
            raise ValueError(f"depth must be a positive integer; got {self.depth!r}.")
        task = PartitionTask(reduction, reader, self.n_jobs)
        with clear_errors():
            if is_connect(session):
                total = tree_of_frames(rows, task, merging_rounds(None, self.depth)).total()
            else:
                # A broadcast goes to each executor once, not with every task.
                shared = session.sparkContext.broadcast(task)
                try:
                    fold = self._fold_rdd if is_rdd(rows) else self._fold_frame
                    total = fold(rows, lambda *some: shared.value(*some))
                finally:
                    shared.unpersist()
        return checked(total, reduction)

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
            total = tree_of_frames(together, task, merging_rounds(fewer, self.depth)).total()
            if not isinstance(total, Failure):
                return total
            # Run again on the original partitions, so that the error names the user's.
        return tree_of_frames(rows, task, merging_rounds(n_partitions, self.depth)).total()

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on each item in its own task; on a single item in this process."""
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

        # By value if it has no importable name.
        call = ItemCall(cloudpickle.dumps(function))  # type: ignore[no-untyped-call]
        with clear_errors():
            if is_connect(session):
                results = mapped_by_frames(session, call, items)
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

    def can_read(self, X: Any) -> bool:
        """Whether X is a DataFrame or an RDD; an error for one of pandas on Spark."""
        return is_spark(X)

    def source(self, request: Request) -> tuple[Source, Target]:
        """A source of arrays, or of a DataFrame or RDD, which one pass surveys.

        ``y`` and ``sample_weight`` are columns of a DataFrame; None for an RDD of ``(X, y)`` or
        ``(X, y, sample_weight)``.
        """
        samples = Samples.of(request.X)
        X = samples.rows
        if not is_spark(X):
            _refuse_streams(X, isinstance(request.y, str))
            return super().source(request)
        import_pyspark()
        check_session(session_of(X))
        request = replace(request, X=X)
        rows: Any
        reader: Reader
        if is_rdd(X):
            rows, reader = self._read_rdd(request)
        else:
            rows, reader = self._read_frame(request, samples.columns)
        reader = replace(reader, making=samples.making)
        names = reader.names or ()
        of_columns = len(names) > 1 or (len(names) == 1 and is_number(X.schema, names[0]))
        statistics = request.statistics
        if statistics is not None:
            named = np.array(names, dtype=object) if of_columns else None
            statistics = replace(statistics, feature_names=named)
        n_groups = 1 if reader.groups is None else len(reader.groups.values)
        survey = self.reduce_rows(SurveyReduction(n_groups, statistics), rows, reader)
        if survey.target is None:
            raise ValueError("There are no rows: the DataFrame or RDD is empty.")
        target = survey.target
        if request.classes is not None:
            target = Target(as_labels(request.classes), target.multilabel)
            places(survey.target.classes, target.classes)
        # The estimator's checks of arrays, on one row like these.
        row: Any = np.zeros((1, survey.n_features))
        if of_columns:
            import pandas as pd

            row = pd.DataFrame(row, columns=list(names))
        request.validate(row, target.classes[:1], False)
        return SparkSource(rows, reader, survey, target, statistics), target

    def open(
        self, X: Any, roles: Roles | None, columns: Sequence[str] | None = None
    ) -> Stream | None:
        """A stream of rows that the driver reads, for a DataFrame or an RDD."""
        if is_spark(X):
            if roles is not None and is_rdd(X):
                self._read_rdd(Request(X, roles.y, roles.sample_weight, groups=roles.groups))
            return ClusterStream(self, X, roles)
        _refuse_streams(X, roles is not None and isinstance(roles.y, str))
        return super().open(X, roles, columns)

    def _read_frame(
        self, request: Request, columns: Sequence[str] | None
    ) -> tuple[Any, BatchReader]:
        X, y, sample_weight = request.X, request.y, request.sample_weight
        names = check_roles(
            X.schema,
            y,
            sample_weight=sample_weight,
            cv=request.cv if isinstance(request.cv, str) else None,
            groups=request.groups,
        )
        features = feature_columns(X.schema, columns or self.features, names)
        if request.cv is None:
            return read_frame(X, features, y, sample_weight)
        fold, values = _cross_validation_folds(request, features)
        groups = Groups(values, tuple(range(len(values))))
        return read_frame(X, features, y, sample_weight, fold, groups)

    def _read_rdd(self, request: Request) -> tuple[Any, BlockReader]:
        if request.y is not None or request.sample_weight is not None:
            raise ValueError(
                "The items of an RDD are (X, y) or (X, y, sample_weight): pass the RDD alone."
            )
        cv = request.cv
        if request.groups is not None or not (cv is None or isinstance(cv, Integral)):
            raise ValueError(
                f"cv={cv!r}, groups={request.groups!r}: rows of an RDD are split into a number of "
                "folds, by their content."
            )
        return request.X, read_rdd(0 if cv is None else int(cv))

    def predict(self, model: Any, method: str, X: Any, column: str) -> Any:
        """A DataFrame with an extra column, or an RDD of arrays; for arrays, an array."""
        samples = Samples.of(X)
        if not is_spark(samples.rows):
            _refuse_streams(X, False)
            return super().predict(model, method, X, column)
        check_session(session_of(samples.rows))
        return answer(self, model, samples, method, column)

    def score(self, model: Any, X: Any, y: Any, sample_weight: Any) -> float:
        """Accuracy of the predictions, in one pass; NaN if the rows have no weight."""
        samples = Samples.of(X)
        if not is_spark(samples.rows):
            _refuse_streams(X, isinstance(y, str))
            return super().score(model, X, y, sample_weight)
        check_session(session_of(samples.rows))
        return score(self, model, samples, y, sample_weight)

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


def _refuse_streams(X: Any, named: bool) -> None:
    """Raise for rows that this process alone would read: a path, a dataset, batches."""
    reader = find_reader(X, named)
    if reader is None:
        return
    if is_path(X):
        path = os.fspath(X)
        kind = next((kind for kind in ("csv", "orc") if path.endswith(f".{kind}")), "parquet")
        raise TypeError(
            f"X={path!r} is a path, and backend='spark' takes a DataFrame: pass "
            f"spark.read.{kind}({path!r}), or choose backend='openmp' to read it in this process."
        )
    raise TypeError(
        f"X is {reader.kind} ({type(X).__name__}), which this process would read, and backend='spark' "
        "takes a DataFrame or an RDD: pass spark.read.parquet(...) or spark.createDataFrame(...), or "
        "choose backend='openmp'."
    )


def _cross_validation_folds(request: Request, features: tuple[str, ...]) -> tuple[Any, Any]:
    """The column of each row's cross-validation fold, and its values."""
    from pyspark.sql import functions as F

    if isinstance(request.cv, str):
        if request.groups is not None:
            raise ValueError(
                f"groups={request.groups!r} has no use beside the folds of the column {request.cv!r}."
            )
        # As strings, which compare alike in executors and here, whatever the type.
        fold = column(request.cv).cast("string")
        with clear_errors():
            rows = request.X.select(column(request.cv), fold).distinct().collect()
        if any(text is None for _, text in rows):
            raise ValueError(f"Column {request.cv!r}, which names folds, has nulls.")
        try:
            rows = sorted(rows)  # folds are numbered in the order of their values
        except TypeError as error:
            raise ValueError(
                f"Column {request.cv!r} names folds by values that do not order: {error}."
            ) from error
        values = np.array([text for _, text in rows], dtype=object)
    elif isinstance(request.cv, Integral):
        keys = [request.groups] if request.groups is not None else features
        fold = F.pmod(F.xxhash64(*map(column, keys)), F.lit(int(request.cv)))
        values = np.arange(int(request.cv))
    else:
        raise ValueError(
            f"cv={request.cv!r} needs positions of rows, which a DataFrame has not: pass a number of "
            "folds, or the name of a column that holds each row's fold."
        )
    return fold, values
