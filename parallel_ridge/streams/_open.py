"""The table of readers: which one reads what a user passes as X, where that is no array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from parallel_ridge.sources import FeatureRows
from parallel_ridge.streams._base import Stream
from parallel_ridge.streams._batches import BatchStream, is_batches
from parallel_ridge.streams._chunked import ChunkedStream, is_chunked
from parallel_ridge.streams._datasets import DatasetTable, is_path, open_path
from parallel_ridge.streams._table_stream import Roles, TableStream
from parallel_ridge.streams._tables import Table, open_lazy_frame, open_table

FEATURES_OPTION = "OpenMPBackend(features=...)"


class Reader(NamedTuple):
    """How rows of one kind are read.

    Attributes
    ----------
    kind : str
        What X is, in words.
    reads : callable
        ``reads(X, named)``: whether X is of this kind; ``named`` says that labels or features were named
        as its columns. Imports nothing to find out.
    table : callable, or None
        ``table(X)``: the columns; None for rows without columns.
    stream : callable, or None
        ``stream(X, roles, labelled)``, for rows without columns.
    """

    kind: str
    reads: Callable[[Any, bool], bool]
    table: Callable[[Any], Table] | None = None
    stream: Callable[[Any, Roles, bool], Stream] | None = None


def _is(X: Any, package: str, *names: str) -> bool:
    """Whether X is an instance of a class of a package with one of these names."""
    return any(
        base.__name__ in names and base.__module__.partition(".")[0] == package
        for base in type(X).__mro__
    )


def _speaks_arrow(X: Any, named: bool) -> bool:
    # Frames that are arrays as well stay arrays unless their columns have roles.
    return hasattr(type(X), "__arrow_c_stream__") and (named or not hasattr(X, "__array__"))


READERS = (
    Reader("a path", lambda X, named: is_path(X), table=open_path),
    Reader(
        "a dataset",
        lambda X, named: _is(X, "pyarrow", "Dataset"),
        table=lambda X: DatasetTable(X, "dataset"),
    ),
    Reader(
        "a table of Arrow",
        lambda X, named: _is(X, "pyarrow", "Table", "RecordBatch", "RecordBatchReader"),
        table=open_table,
    ),
    Reader("a LazyFrame", lambda X, named: _is(X, "polars", "LazyFrame"), table=open_lazy_frame),
    Reader("a table", _speaks_arrow, table=open_table),
    Reader(
        "an array on disk",
        lambda X, named: is_chunked(X),
        stream=lambda X, roles, labelled: ChunkedStream(X, roles),
    ),
    Reader("batches", lambda X, named: is_batches(X), stream=BatchStream),
)


def find_reader(X: Any, named: bool = False) -> Reader | None:
    """The reader of X; None for arrays and whatever else scikit-learn takes for one."""
    return next((reader for reader in READERS if reader.reads(X, named)), None)


def open_stream(
    X: Any, roles: Roles | None, features: str | Sequence[str] | None = None
) -> Stream | None:
    """X as a stream; None for arrays.

    Parameters
    ----------
    X : object
        A stream is taken as it is, with the roles that it was opened with.
    roles : Roles, or None
        None if no labels are needed, as for predictions.
    features : str, sequence of str, or None
        Columns of features.

    Raises
    ------
    ValueError
        If a column is missing, or if labels are; the message names what is there.
    ImportError
        If a file needs pyarrow, and it is not installed.
    """
    if isinstance(X, FeatureRows):
        return None
    if isinstance(X, Stream):
        return X
    reader = find_reader(X, bool(roles.named()) if roles is not None else features is not None)
    if reader is None:
        return None
    if reader.stream is not None:
        return reader.stream(X, roles or Roles(), roles is not None)
    assert reader.table is not None
    try:
        table = reader.table(X)
    except ImportError as error:
        raise ImportError(
            f"X is {reader.kind}, and reading it needs pyarrow: pip install 'parallel-ridge[arrow]'."
        ) from error
    if roles is not None and roles.y is None:
        raise ValueError(
            f"y is missing. X is {reader.kind} with the columns {list(table.schema.names)}: name the one "
            "that holds the labels, or pass an array of them."
        )
    return TableStream(table, roles or Roles(), features, FEATURES_OPTION)
