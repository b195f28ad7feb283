"""Arrays on disk: read by whole chunks, each once, never whole, ahead of the fold."""

import itertools
import threading
import time
from functools import partial

import numpy as np
import pytest
from _data.streams import digits, hdf5, zarr_array
from numpy.testing import assert_array_equal

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.streams import read_parts


class Sliced:
    """An array of which slices are counted."""

    def __init__(self, X, chunks):
        self.X, self.chunks, self.asked = X, (chunks, *X.shape[1:]), []
        self.shape, self.dtype = X.shape, X.dtype

    def __getitem__(self, rows):
        self.asked.append(rows)
        return self.X[rows]


def test_slices_are_whole_chunks_and_cover_the_rows_once(monkeypatch):
    monkeypatch.setattr("parallel_ridge.streams._chunked.BATCH_BYTES", 64 * 130)
    X, y = digits()
    rows = Sliced(X, 50)
    model = ParallelRidgeClassifier().fit(rows, y)
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)
    fold = rows.asked[-5:]  # the first look has read a piece or some
    assert fold[0].start == 0 and fold[-1].stop == 700
    assert all(a.stop == b.start and a.start % 150 == 0 for a, b in itertools.pairwise(fold))
    assert all(piece.stop - piece.start in (150, 100) for piece in rows.asked)


@pytest.mark.parametrize("make", [hdf5, zarr_array])
def test_arrays_of_libraries(make, tmp_path):
    X, y = digits()
    rows = make(X, tmp_path)
    model = ParallelRidgeClassifierCV(np.logspace(0, 5, 6), cv=4).fit(rows, y)
    other = ParallelRidgeClassifierCV(np.logspace(0, 5, 6), cv=4).fit(X, y)
    assert_array_equal(model.coef_, other.coef_)
    assert_array_equal(model.predict(rows), other.predict(X))
    assert_array_equal(model.decision_function(rows), other.decision_function(X))
    assert model.score(rows, y) == other.score(X, y)


def test_labels_may_be_on_disk_too(tmp_path):
    import h5py

    X, y = digits()
    with h5py.File(tmp_path / "both.h5", "w") as file:
        rows, labels = file.create_dataset("X", data=X), file.create_dataset("y", data=y)
        model = ParallelRidgeClassifier().fit(rows, labels)
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)


@pytest.mark.parametrize("dtype", [np.float16, bool, np.int32, np.uint64])
def test_dtypes(dtype, tmp_path):
    X, y = digits()
    X = (X > 7) if dtype is bool else X.astype(dtype)
    model = ParallelRidgeClassifier().fit(Sliced(X, 64), y)
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)


def test_bad_arrays():
    X, y = digits()
    for rows, labels, message in (
        (Sliced(X, 50), y[:-1], "700 rows, and y.* has 699"),
        (Sliced(X, 50), "label", "X is a Sliced, which has none"),
        (Sliced(X, 50), None, "y is missing"),
        (Sliced(X.reshape(-1, 8, 8), 50), y, "flatten each sample"),
        (Sliced(X[:0], 50), y[:0], "no rows"),
        (Sliced(X.astype(str), 50), y, "must hold numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            ParallelRidgeClassifier().fit(rows, labels)


def test_an_error_of_a_read_comes_to_the_caller(monkeypatch):
    monkeypatch.setattr("parallel_ridge.streams._chunked.BATCH_BYTES", 64 * 100)

    class Broken(Sliced):
        def __getitem__(self, rows):
            if rows.start > 300:
                raise OSError(f"rows from {rows.start} are gone")
            return super().__getitem__(rows)

    X, y = digits()
    rows = Broken(X, 100)
    with pytest.raises(OSError, match="are gone"):
        ParallelRidgeClassifier().fit(rows, y)


# ------------------------------------------------------------------------------------------------
# Reading ahead
# ------------------------------------------------------------------------------------------------


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


@pytest.mark.parametrize("n_readers", [1, 3])
def test_a_bounded_number_of_items_is_read_ahead(n_readers):
    read = []

    def items(part):
        for i in range(20 * part, 20 * part + 20):
            read.append(i)
            yield i

    ahead = read_parts((partial(items, part) for part in range(5)), n_readers)
    for i in range(50):
        assert next(ahead) == i
        time.sleep(0.01)
        begun = min(5, i // 20 + n_readers)
        # Of each part that is being read, two items wait and the next one waits to be asked for.
        assert i < len(read) <= i + 1 + 3 * (begun - i // 20)
    assert len(readers()) == n_readers
    ahead.close()
    assert not readers()


def test_items_and_errors_come_in_order():
    closed = []

    def items(part):
        try:
            yield part
            if part == 3:
                raise KeyError("third")
        finally:
            closed.append(part)

    ahead = read_parts((partial(items, part) for part in range(1, 9)), 2)
    assert [next(ahead) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(KeyError, match="third"):
        next(ahead)
    assert closed == [1, 2, 3, 4] and not readers()
    assert list(read_parts([], 2)) == []
