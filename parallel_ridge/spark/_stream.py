"""Rows of a cluster that come to the driver, a partition at a time."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from parallel_ridge.sources import Block
from parallel_ridge.spark._columns import (
    check_roles,
    feature_columns,
    is_number,
    is_rdd,
    read_frame,
    read_rdd,
)
from parallel_ridge.spark._readers import Reader
from parallel_ridge.spark._session import check_session, clear_errors, session_of
from parallel_ridge.spark._tasks import PERMANENT_ERRORS, Failure, settle_worker
from parallel_ridge.streams import Piece, Roles, Sample, SampleReduction, Stream, found_target

if TYPE_CHECKING:
    from parallel_ridge.spark._backend import SparkBackend


class ClusterStream(Stream):
    """Rows of a DataFrame or an RDD, for what must see them one after another.

    Parameters
    ----------
    backend : SparkBackend
    X : DataFrame or RDD
    roles : Roles, or None
        None if nothing will be read.
    """

    here = False

    def __init__(self, backend: SparkBackend, X: Any, roles: Roles | None) -> None:
        self.backend = backend
        self.X = X
        self.roles = roles
        self.description = type(X).__name__
        if roles is None or is_rdd(X):
            return
        named = {role: value for role, value in vars(roles).items() if role != "y"}
        names = check_roles(X.schema, roles.y, **named)
        self.columns = feature_columns(X.schema, backend.features, names)
        self.features_named = is_number(X.schema, self.columns[0])

    def pieces(self, features: bool = True) -> Iterator[Piece]:
        """Pieces as executors read them; the driver has those of a partition at a time."""
        start = 0
        for block in self._blocks():
            target, n = found_target(block), block.X.shape[0]
            yield Piece(start, start + n, block.X, block.labels, target, place=f"row {start}")
            start += n

    def sample(self, n_rows: int) -> Sample:
        """A sample that the executors draw."""
        rows, reader = self._read
        return self.backend.reduce_rows(SampleReduction(n_rows), rows, reader)

    @cached_property
    def _read(self) -> tuple[Any, Reader]:
        """The rows with the columns that are read, and their reader."""
        check_session(session_of(self.X))
        if is_rdd(self.X):
            return self.X, replace(read_rdd(), any_shape=True)
        assert self.columns is not None and self.roles is not None
        return read_frame(self.X, self.columns, self.roles.y)

    def _blocks(self) -> Iterator[Block]:
        rows, reader = self._read
        packed = _PackedBlocks(reader)
        with clear_errors():
            if is_rdd(rows):
                items = rows.mapPartitionsWithIndex(packed).toLocalIterator()
            else:
                frame = rows.mapInArrow(packed.of_batches, "block binary")
                items = (bytes(row[0]) for row in frame.toLocalIterator())
            for item in items:
                block = pickle.loads(item)
                if isinstance(block, Failure):
                    block.throw()
                yield block


@dataclass(frozen=True)
class _PackedBlocks:
    """Packed blocks of a partition; a `Failure` ends them."""

    reader: Reader

    def __call__(self, index: int, items: Iterable[Any]) -> Iterator[bytes]:
        settle_worker()
        try:
            for block in self.reader.blocks(items):
                yield pickle.dumps(block, 5)
        except PERMANENT_ERRORS as error:
            yield pickle.dumps(Failure.of(error, f"partition {index}"), 5)

    def of_batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same for batches of Arrow."""
        import pyarrow as pa
        from pyspark import TaskContext

        context = TaskContext.get()
        for block in self(context.partitionId() if context else 0, batches):
            yield pa.RecordBatch.from_arrays([pa.array([block], pa.binary())], names=["block"])
