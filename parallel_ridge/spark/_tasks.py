"""What runs in executors, and how results are merged."""

from __future__ import annotations

import gc
import math
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol, TypeVar

from parallel_ridge.backends import OpenMPBackend
from parallel_ridge.reductions import Reduction, Value, complete
from parallel_ridge.sources import Block
from parallel_ridge.spark._readers import PartitionSource
from parallel_ridge.spark._session import short_batches

V = TypeVar("V", bound=Value)

# Up to this many results the driver merges as fast as one more round of tasks.
DRIVER_MERGES = 16
# Tasks of the last merging round under Spark Connect, where the number of partitions is unknown.
CONNECT_TASKS = 8
# Errors that a retry on the same rows would raise again.
PERMANENT_ERRORS = (ValueError, TypeError, ArithmeticError, IndexError, KeyError)


class ReadsItems(Protocol):
    """Turns the items of a partition into blocks."""

    def blocks(self, items: Iterable[Any]) -> Iterator[Block]:
        """Blocks, in order."""


class _Settled:
    """Number of imported modules at the last freeze."""

    n_modules = 0


def settle_worker() -> None:
    """Exclude imported modules from garbage collection in an executor's Python.

    Spark collects garbage after each task, and would traverse NumPy, SciPy, scikit-learn and pandas each
    time, which takes longer than some tasks. A task may import more than the one before.
    """
    if len(sys.modules) > _Settled.n_modules:
        gc.freeze()
        _Settled.n_modules = len(sys.modules)


@dataclass(frozen=True)
class Failure:
    """An error in a partition, returned as a result so that Spark does not retry the task."""

    kind: type[Exception]
    message: str

    @classmethod
    def of(cls, error: Exception, where: str) -> Failure:
        """The failure for an error, with its place."""
        kind = next(kind for kind in PERMANENT_ERRORS if isinstance(error, kind))
        return cls(kind, f"{error} ({where})")

    def throw(self) -> None:
        """Raise the error."""
        raise self.kind(self.message)


@dataclass(frozen=True)
class Partials:
    """Packed results of some partitions.

    They are added in the order of partitions when a task is done and they travel, so float sums do not
    depend on which result came first.
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
        """Sum of the results; a `Failure` if there is one; None without results."""
        value = None
        for index, packed in sorted(self.parts, key=itemgetter(0)):
            one = pickle.loads(packed)
            if isinstance(one, Failure):
                return one
            try:
                value = one if value is None else value + one
            except PERMANENT_ERRORS as error:
                return Failure.of(error, f"in adding the rows of partition {index}")
        return value


@dataclass(frozen=True)
class PartitionTask:
    """What an executor does with a partition."""

    reduction: Any
    reader: Any
    n_jobs: int | None

    def __call__(self, index: int, items: Iterable[Any]) -> bytes:
        """The packed result of a partition."""
        settle_worker()
        try:
            source: Any = PartitionSource(self.reader.blocks(items))
            value: Any = OpenMPBackend(self.n_jobs or task_threads()).reduce(self.reduction, source)
        except PERMANENT_ERRORS as error:
            value = Failure.of(error, f"partition {index}")
        except Exception as error:
            # A retry may succeed: leave it to Spark.
            raise RuntimeError(f"task {index}: {type(error).__name__}: {error}") from error
        return pickle.dumps(value, 5)


@dataclass(frozen=True)
class ItemCall:
    """What an executor does with an item of `map`."""

    function: bytes

    def __call__(self, item: tuple[int, bytes]) -> tuple[int, bytes]:
        """The packed result of a numbered item."""
        number, packed = item
        settle_worker()
        try:
            value: Any = pickle.loads(self.function)(pickle.loads(packed))
        except PERMANENT_ERRORS as error:
            value = Failure.of(error, f"item {number}")
        return number, pickle.dumps(value, 5)


@dataclass(frozen=True)
class BlockFold:
    """Reduces one block, for `map`."""

    reduction: Any
    n_jobs: int | None

    def __call__(self, block: Block) -> Any:
        source: Any = PartitionSource([block])
        return OpenMPBackend(self.n_jobs or task_threads()).reduce(self.reduction, source)


class BlocksAsTheyAre:
    """Reader of an RDD of blocks."""

    def blocks(self, items: Iterable[Block]) -> Iterator[Block]:
        """The blocks."""
        return iter(items)


def task_threads() -> int:
    """Cores that Spark gives to each task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 1 if context is None else max(1, context.cpus())


def merging_rounds(n_partitions: int | None, depth: int) -> list[int]:
    """Number of merging tasks per round, as in `RDD.treeAggregate`; no rounds for few results."""
    if n_partitions is None:
        return [CONNECT_TASKS**level for level in reversed(range(1, depth))]
    few = DRIVER_MERGES if depth <= 2 else 0
    scale = max(math.ceil(n_partitions ** (1 / depth)), 2)
    rounds = []
    while n_partitions > max(few, scale + math.ceil(n_partitions / scale)):
        n_partitions //= scale
        rounds.append(n_partitions)
    return rounds


def _row(pa: Any, index: int, value: bytes) -> Any:
    arrays = [pa.array([index], pa.int32()), pa.array([value], pa.binary())]
    return pa.RecordBatch.from_arrays(arrays, names=["partition", "value"])


def _items(batches: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Rows of a number and bytes, as buffers."""
    for batch in batches:
        numbers, values = batch.columns
        yield from (
            (n.as_py(), value.as_buffer()) for n, value in zip(numbers, values, strict=True)
        )


def _collected(frame: Any) -> list[tuple[int, Any]]:
    """Collect rows of a number and bytes."""
    if hasattr(frame, "toArrow"):  # PySpark 4: three times as fast as pickled rows
        return list(_items(frame.toArrow().to_batches()))
    return [(row[0], bytes(row[1])) for row in frame.collect()]


def tree_of_frames(
    rows: Any, task: Callable[[int, Iterable[Any]], bytes], rounds: Sequence[int]
) -> Partials:
    """The results of a DataFrame's partitions, merged in rounds of the given numbers of tasks.

    This is `RDD.treeAggregate` with DataFrames, so that results travel as Arrow: through an RDD a
    task takes about 40 ms more (two sockets that wait for each other), and its result two more copies.
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


def mapped_by_frames(session: Any, call: ItemCall, items: Sequence[Any]) -> list[tuple[int, bytes]]:
    """Results of numbered items, without RDDs."""
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


def sum_values(values: Sequence[Any], reduction: Reduction[Any, V]) -> V:
    total = None
    for value in values:
        total = value if total is None else total + value
    return checked(total, reduction)


def checked(value: Any, reduction: Reduction[Any, V]) -> V:
    """The value of a pass; raise its error; the value of no rows if there were no partitions."""
    if isinstance(value, Failure):
        value.throw()
    value = reduction.finish(reduction.zero(1)) if value is None else value
    return complete(reduction, value)
