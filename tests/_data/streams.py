"""The same rows in every form that a stream reads."""

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

PIECE = 137  # rows of a batch or a row group: no divisor of anything


def digits(dtype=np.uint8, n=700):
    """Rows, labels and weights; weights and labels of several kinds come from them."""
    X, y = load_digits(return_X_y=True)
    return X[:n].astype(dtype), y[:n]


def table(X, y, **columns):
    """A table with one column of lists, `label`, and more columns."""
    flat = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    return pa.table({"pixels": flat, "label": y, **columns})


def wide_table(X, y, **columns):
    """A table with one column for each feature."""
    features = {f"x{j}": np.ascontiguousarray(X[:, j]) for j in range(X.shape[1])}
    return pa.table({**features, "label": y, **columns})


def batches(X, y, weights=None, size=PIECE):
    """A list of batches."""
    parts = [X, y] if weights is None else [X, y, weights]
    return [tuple(part[i : i + size] for part in parts) for i in range(0, len(X), size)]


class Anew:
    """Batches that each iteration makes anew, as a loader does."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def in_folder(rows, folder, n_files=3, row_group_size=PIECE):
    """A table written to several Parquet files; their folder."""
    edges = np.linspace(0, rows.num_rows, n_files + 1).astype(int)
    for i in range(n_files):
        part = rows.slice(edges[i], edges[i + 1] - edges[i])
        pq.write_table(part, folder / f"part-{i}.parquet", row_group_size=row_group_size)
    return folder


def hdf5(X, folder, chunks=(50, 64)):
    import h5py

    file = h5py.File(folder / "rows.h5", "w")
    return file.create_dataset("X", data=X, chunks=chunks)


def zarr_array(X, folder, chunks=(50, 64)):
    import zarr

    rows = zarr.create_array(
        store=str(folder / "rows.zarr"), shape=X.shape, dtype=X.dtype, chunks=chunks
    )
    rows[:] = X
    return rows


def duck(rows):
    import duckdb

    return duckdb.connect().from_arrow(rows)


# What to pass as X and y, by the form of the rows; each takes a table and a folder.
FORMS = {
    "table": lambda rows, folder: rows,
    "batch": lambda rows, folder: rows.combine_chunks().to_batches()[0],
    "folder": lambda rows, folder: str(in_folder(rows, folder)),
    "path": lambda rows, folder: in_folder(rows, folder, n_files=1) / "part-0.parquet",
    "glob": lambda rows, folder: f"{in_folder(rows, folder)}/part-*.parquet",
    "dataset": lambda rows, folder: ds.dataset(in_folder(rows, folder)),
    "feather": lambda rows, folder: feather(rows, folder),
    "polars": lambda rows, folder: polars(rows),
    "lazy": lambda rows, folder: polars(rows).lazy(),
    "duckdb": lambda rows, folder: duck(rows),
}


def feather(rows, folder):
    import pyarrow.feather

    path = folder / "rows.feather"
    pyarrow.feather.write_feather(rows, path, chunksize=PIECE)
    return path


def polars(rows):
    import polars

    return polars.from_arrow(rows)
