"""Rows from anywhere: files larger than memory, against the rate at which their library reads them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import (
    SEES_MEMORY,
    Comparison,
    Group,
    Options,
    anonymous_added,
    at_most,
    faster,
    in_fresh_process,
    timed,
)
from benchmarks.single_machine import Images
from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

ROWS, QUICK_ROWS = 2_000_000, 20_000
FILES = 8
GROUP_ROWS = 8192  # 6 MiB of pixels
ALPHAS = np.logspace(3, 9, 10)


def _columns(X: NDArray[np.uint8], y: NDArray[Any], kind: str) -> Any:
    import pyarrow as pa

    if kind == "binary":
        buffers = [None, pa.py_buffer(np.ascontiguousarray(X).data)]
        pixels = pa.FixedSizeBinaryArray.from_buffers(pa.binary(X.shape[1]), len(X), buffers)
    else:
        pixels = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    return pa.table({"pixels": pixels, "label": y})


def write_folder(folder: Path, images: Images, n_rows: int, kind: str) -> None:
    """Images drawn at random, in files of some row groups."""
    import pyarrow.parquet as pq

    for number, rows in enumerate(_drawn(images, n_rows)):
        with pq.ParquetWriter(
            folder / f"part-{number}.parquet", _columns(images.X[:1], images.y[:1], kind).schema
        ) as writer:
            for start in range(0, len(rows), GROUP_ROWS):
                some = rows[start : start + GROUP_ROWS]
                writer.write_table(_columns(images.X[some], images.y[some], kind))


def _drawn(images: Images, n_rows: int) -> Iterator[NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    for _ in range(FILES):
        yield rng.integers(0, len(images.X), n_rows // FILES)


def scan(folder: str) -> None:
    """Read the pixels and the labels, and touch no value."""
    import pyarrow.dataset as ds

    for batch in ds.dataset(folder).to_batches(columns=["pixels", "label"]):
        batch.get_total_buffer_size()


def fit(folder: str) -> None:
    """A fit to a folder."""
    ParallelRidgeClassifier().fit(folder, "label")


def search(folder: str) -> None:
    """5 folds x 10 penalties on a folder."""
    ParallelRidgeClassifierCV(ALPHAS, cv=5).fit(folder, "label")


def _peak(folder: str, call: Callable[[str], None]) -> float:
    return anonymous_added(partial(call, folder))


def parquet(options: Options) -> Iterator[Comparison]:
    """Folders of Parquet files.

    Rows of MNIST drawn at random, 784 bytes each, in eight files with row groups of 8,192 rows: as one
    fixed-size binary value per row, and as a list of integers. The peer reads the same columns by
    `pyarrow.dataset` with its defaults and touches no value; a search is compared with three fits.
    Memory is what a process adds that is no file's, at its peak.
    """
    images = Images(options.images)
    n_rows = QUICK_ROWS if options.quick else ROWS
    for kind in options.kinds(("binary", "lists")):
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            write_folder(Path(folder), images, n_rows, kind)
            name = f"{n_rows:,} rows, {kind}"
            yield Comparison(
                f"`fit`, {name}",
                timed(partial(fit, folder)),
                timed(partial(scan, folder)),
                "a scan",
                faster(0.7),
                images.caution,
            )
            yield Comparison(
                f"5 folds x 10, {name}",
                timed(partial(search, folder)),
                timed(lambda folder=folder: [fit(folder) for _ in range(3)]),  # type: ignore[misc]
                "three fits",
                faster(1.0),
            )
            if SEES_MEMORY:
                yield Comparison(
                    f"memory of `fit`, {name}",
                    in_fresh_process(_peak, folder, fit),
                    target=at_most(300),
                    unit="MiB",
                    once=True,
                )


def _copy(rows: Any, images: Images, n_rows: int) -> NDArray[Any]:
    """Fill an array on disk with images; return their labels."""
    labels, start = [], 0
    for drawn in _drawn(images, n_rows):
        rows[start : start + len(drawn)] = images.X[drawn]
        labels.append(images.y[drawn])
        start += len(drawn)
    return np.concatenate(labels)


def _read(rows: Any, step: int) -> None:
    for start in range(0, rows.shape[0], step):
        np.asarray(rows[start : start + step])


def chunked(options: Options) -> Iterator[Comparison]:
    """Arrays on disk.

    The same rows in one array of HDF5 and of Zarr, in compressed chunks of 8,192 rows. The peer reads
    slices of whole chunks one after another by the library itself.
    """
    import h5py
    import zarr

    images = Images(options.images)
    n_rows = (QUICK_ROWS if options.quick else ROWS) // FILES * FILES
    shape, chunks = (n_rows, images.X.shape[1]), (GROUP_ROWS, images.X.shape[1])
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        file = h5py.File(Path(folder, "rows.h5"), "w")
        arrays = {
            "HDF5": file.create_dataset("X", shape, np.uint8, chunks=chunks, compression="gzip"),
            "Zarr": zarr.create_array(
                store=str(Path(folder, "rows.zarr")), shape=shape, chunks=chunks, dtype="uint8"
            ),
        }
        for name, rows in arrays.items():
            y = _copy(rows, images, n_rows)
            yield Comparison(
                f"`fit`, {n_rows:,} rows, {name}",
                timed(lambda rows=rows, y=y: ParallelRidgeClassifier().fit(rows, y)),  # type: ignore[misc]
                timed(partial(_read, rows, GROUP_ROWS)),
                f"{name}'s own reads",
                faster(0.8),
                images.caution,
            )
        file.close()


GROUPS: dict[str, Group] = {"streams parquet": parquet, "streams arrays": chunked}
