"""Tables of Arrow: what can be asked for batches of some of its columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from parallel_ridge.streams._base import read_once

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of a batch: enough to amortise a read, and few enough that several take little memory.
BATCH_BYTES = 2**23
# Rows of a batch whose size in bytes is not known, or which has no features.
BATCH_ROWS = 2**13
LABEL_ROWS = 2**17


class Table(ABC):
    """Columns of Arrow that can be read in batches.

    Attributes
    ----------
    schema : pyarrow.Schema
    description : str
        What the user passed, for error messages.
    once : bool
        Whether batches can be read only once.
    ordered : bool
        Whether each read is sure to give the rows in the same order.
    reads_ahead : bool
        Whether threads of its own read batches before they are asked for.
    """

    schema: pa.Schema
    description: str
    once: bool = False
    ordered: bool = True
    reads_ahead: bool = False

    @abstractmethod
    def batches(self, columns: Sequence[str], n_rows: int | None) -> Iterator[pa.RecordBatch]:
        """Batches of these columns, of about ``n_rows`` rows, or of `BATCH_BYTES` if that is None."""

    def share(self, rank: int, size: int) -> Table:
        """The part that one of several processes reads: tables are each process's own, files are not."""
        return self


class MemoryTable(Table):
    """A `pyarrow.Table` in memory."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.schema = table.schema
        self.description = "table"

    def batches(self, columns: Sequence[str], n_rows: int | None) -> Iterator[pa.RecordBatch]:
        """Views of the table."""
        table = self.table.select(list(columns))
        if n_rows is None:
            n_rows = max(1, BATCH_BYTES * table.num_rows // max(1, table.nbytes))
        yield from table.to_batches(max_chunksize=n_rows)


class StreamedTable(Table):
    """Anything that gives a reader of record batches each time it is asked.

    Parameters
    ----------
    open_reader : callable
        ``open_reader(columns)``: a `pyarrow.RecordBatchReader` of at least these columns, or of all
        columns if they are None.
    """

    ordered = False

    def __init__(
        self,
        open_reader: Callable[[Sequence[str] | None], Any],
        schema: pa.Schema,
        description: str,
    ) -> None:
        self.open_reader = open_reader
        self.schema = schema
        self.description = description

    def batches(self, columns: Sequence[str], n_rows: int | None) -> Iterator[pa.RecordBatch]:
        """Batches as they come."""
        for batch in self.open_reader(columns):
            yield batch.select(list(columns))


class OneReader(Table):
    """A `pyarrow.RecordBatchReader`, which can be read once."""

    once = True
    ordered = False

    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self.schema = reader.schema
        self.description = "RecordBatchReader"
        self.begun = False

    def batches(self, columns: Sequence[str], n_rows: int | None) -> Iterator[pa.RecordBatch]:
        """Batches as they come."""
        if self.begun:
            raise read_once(self.description)
        self.begun = True
        for batch in self.reader:
            yield batch.select(list(columns))


def open_table(X: Any) -> Table:
    """A table of anything in memory that speaks Arrow."""
    import pyarrow as pa

    if isinstance(X, pa.RecordBatchReader):
        return OneReader(X)
    if isinstance(X, pa.RecordBatch):
        return MemoryTable(pa.Table.from_batches([X]))
    if isinstance(X, pa.Table):
        return MemoryTable(X)
    package = type(X).__module__.partition(".")[0]
    if package == "pandas":
        return MemoryTable(pa.Table.from_pandas(X, preserve_index=False))
    if package == "polars":
        return MemoryTable(X.to_arrow())

    def open_reader(columns: Sequence[str] | None) -> Any:
        some = X
        if package == "duckdb" and columns is not None:
            some = X.project(", ".join('"' + name.replace('"', '""') + '"' for name in columns))
        return pa.RecordBatchReader.from_stream(some)

    return StreamedTable(open_reader, open_reader(None).schema, type(X).__name__)


def open_lazy_frame(X: Any) -> Table:
    """A table of a polars LazyFrame, through its streaming engine."""
    if not hasattr(X, "collect_batches"):
        raise TypeError(
            "This version of polars does not stream a LazyFrame in batches: pass X.collect(), or "
            "update polars."
        )

    def open_reader(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        some = X if columns is None else X.select(list(columns))
        for frame in some.collect_batches(maintain_order=True):
            yield from frame.to_arrow().to_batches()

    schema = X.head(0).collect().to_arrow().schema
    return StreamedTable(open_reader, schema, "LazyFrame")
