"""Datasets of files: Parquet, Feather and CSV, in a file, a folder, or by a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from parallel_ridge.streams._ahead import read_parts
from parallel_ridge.streams._tables import BATCH_BYTES, BATCH_ROWS, Table
from parallel_ridge.threads import default_threads

if TYPE_CHECKING:
    import pyarrow as pa

# Formats by the ending of a file's name; others are taken for Parquet.
FORMATS = {
    ".feather": "feather", ".arrow": "feather", ".ipc": "feather", ".csv": "csv", ".orc": "orc",
    ".csv.gz": "csv",
}  # fmt: skip
# Formats that another reader opens, and what to write.
ELSEWHERE = {
    ".h5": "h5py.File({path!r})['X']", ".hdf5": "h5py.File({path!r})['X']",
    ".zarr": "zarr.open_array({path!r})", ".npy": "np.load({path!r}, mmap_mode='r')",
}  # fmt: skip


class DatasetTable(Table):
    """A `pyarrow.dataset.Dataset`, scanned file by file.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
    description : str
    """

    reads_ahead = True

    def __init__(self, dataset: Any, description: str) -> None:
        self.dataset = dataset
        self.schema = dataset.schema
        self.description = description

    def batches(self, columns: Sequence[str], n_rows: int | None) -> Iterator[pa.RecordBatch]:
        """Batches in the order of the files, which several threads read ahead.

        Each thread scans one part of a file. A scan of the whole dataset reads ahead too, but by up to
        1 GiB, whatever its options say.
        """
        check_schemas(self.dataset, columns)
        batch_rows = self._batch_rows(columns) if n_rows is None else n_rows
        fragments = _fragments(self.dataset)
        parts = chain.from_iterable(_parts(fragment, columns) for fragment in fragments)
        scans = (partial(self._scan, part, columns, batch_rows) for part in parts)
        yield from read_parts(scans, default_threads())

    def _scan(self, part: Any, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of a part of a file, which the thread that asks for them decodes."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        options: dict[str, Any] = {
            "columns": list(columns),
            "batch_size": batch_rows,
            "batch_readahead": 0,
            "use_threads": False,
        }
        filesystem = getattr(part, "filesystem", None)
        if isinstance(part, ds.ParquetFileFragment):
            # Ranges of a remote file are asked for together; those of a local one need no memory.
            remote = getattr(filesystem, "type_name", "local") != "local"
            options["fragment_scan_options"] = ds.ParquetFragmentScanOptions(pre_buffer=remote)
        try:
            yield from part.to_batches(schema=self.schema, **options)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"The file {part.path} cannot be read: {error}") from error

    def share(self, rank: int, size: int) -> Table:
        """Consecutive row groups (or files of other formats), about the same bytes for each process."""
        import pyarrow.dataset as ds

        units = [unit for fragment in _fragments(self.dataset) for unit in _units(fragment)]
        ends = list(accumulate(n_bytes for _, n_bytes in units))
        total = ends[-1] if ends else 0
        mine = [
            unit
            for (unit, n_bytes), end in zip(units, ends, strict=True)
            # A unit belongs to the process in whose share its middle lies.
            if (2 * end - n_bytes) * size // (2 * total) == rank
        ]
        if not mine:
            return _EmptyTable(self)
        first = mine[0]
        part = ds.FileSystemDataset(mine, self.schema, first.format, first.filesystem)
        return DatasetTable(part, self.description)

    def _batch_rows(self, columns: Sequence[str]) -> int:
        """Rows of these columns that take about `BATCH_BYTES`, from the first file's statistics."""
        fragment = next(iter(_fragments(self.dataset)), None)
        metadata = getattr(fragment, "metadata", None)
        if metadata is None or not metadata.num_row_groups or not metadata.num_rows:
            return BATCH_ROWS
        group = metadata.row_group(0)
        n_bytes = _bytes_of(group, {column.partition(".")[0] for column in columns})
        return max(1, BATCH_BYTES * group.num_rows // max(1, n_bytes))


class _EmptyTable(Table):
    """A share without rows."""

    def __init__(self, whole: DatasetTable) -> None:
        self.whole = whole
        self.schema = whole.schema
        self.description = whole.description

    def batches(self, columns: Sequence[str], n_rows: int | None) -> Iterator[pa.RecordBatch]:
        """None."""
        return iter(())


def _fragments(dataset: Any) -> list[Any]:
    # A union, or a dataset in memory, has fragments without a path.
    return list(dataset.get_fragments())


def _parts(fragment: Any, columns: Sequence[str]) -> Iterator[Any]:
    """A file in parts of consecutive row groups; each has about a batch of these columns, or more."""
    groups = getattr(fragment, "row_groups", None)
    if not groups:
        yield fragment
        return
    roots = {column.partition(".")[0] for column in columns}
    metadata = fragment.metadata
    chosen, n_bytes = [], 0
    for group in groups:
        chosen.append(group.id)
        n_bytes += _bytes_of(metadata.row_group(group.id), roots)
        if n_bytes >= BATCH_BYTES:
            yield fragment.subset(row_group_ids=chosen)
            chosen, n_bytes = [], 0
    if chosen:
        yield fragment.subset(row_group_ids=chosen)


def _bytes_of(group: Any, roots: set[str]) -> int:
    """Bytes of the columns with these names in a row group, before compression."""
    chunks = (group.column(i) for i in range(group.num_columns))
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema.partition(".")[0] in roots
    )


def _units(fragment: Any) -> list[tuple[Any, int]]:
    """Parts of a file that can be read by themselves, and their bytes."""
    if hasattr(fragment, "split_by_row_group"):
        parts = fragment.split_by_row_group()
        return [(part, sum(g.total_byte_size for g in part.row_groups) or 1) for part in parts]
    if not hasattr(fragment, "filesystem"):
        raise ValueError(
            "A dataset in memory cannot be shared out over processes: pass a dataset of files, or each "
            "process's own table."
        )
    return [(fragment, fragment.filesystem.get_file_info(fragment.path).size or 1)]


def check_schemas(dataset: Any, columns: Sequence[str]) -> None:
    """Raise unless all files have the columns with the same types.

    A column that the first file lacks is one of the names of folders.

    Raises
    ------
    ValueError
        With the paths of both files.
    """
    import pyarrow as pa

    first: Any = None
    for fragment in _fragments(dataset):
        path = getattr(fragment, "path", None)
        if path is None:
            return
        try:
            schema = fragment.physical_schema
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"The file {path} cannot be read: {error}") from error
        if first is None:
            first = path, schema
            continue
        for name in columns:
            types = [
                one.field(name).type if name in one.names else None for one in (first[1], schema)
            ]
            if types[0] != types[1]:
                a, b = ("no such column" if kind is None else kind for kind in types)
                raise ValueError(
                    f"Files differ in column {name!r}: {a} in {first[0]}, and {b} in {path}. Convert one "
                    "of them."
                )


def is_path(X: Any) -> bool:
    """Whether X is a path or a pattern of paths."""
    return isinstance(X, str | os.PathLike)


def open_path(X: Any) -> DatasetTable:
    """A dataset of the files at a path, in a folder, or of a pattern.

    Raises
    ------
    ValueError
        If there is no file, or if the files are of a kind that another library opens.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    path = os.fspath(X)
    for ending, opener in ELSEWHERE.items():
        if path.endswith(ending):
            raise ValueError(f"X={path!r} is a path: pass {opener.format(path=path)} instead.")
    paths: Any = path
    if "://" not in path and not os.path.exists(path):
        paths = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
        if not paths:
            raise ValueError(
                f"X={path!r} names no file: a string is the path, folder or pattern of Parquet files. "
                f"The current folder is {os.getcwd()}."
            )
    names = [paths] if isinstance(paths, str) else paths
    sample = next((name for name in _files(names[0]) if not _is_hidden(name)), names[0])
    kind = next((kind for end, kind in FORMATS.items() if sample.endswith(end)), "parquet")
    try:
        dataset = ds.dataset(paths, format=kind, partitioning="hive")
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"X={path!r} cannot be read as {kind}: {error}") from error
    if not len(dataset.files):
        raise ValueError(f"X={path!r} has no files of {kind}.")
    return DatasetTable(dataset, f"dataset {path!r}")


def _files(path: str) -> Iterator[str]:
    """The file at a path, or all in a folder, in order."""
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(names))


def _is_hidden(path: str) -> bool:
    return os.path.basename(path).startswith((".", "_"))
