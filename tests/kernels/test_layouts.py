"""Memory layouts and threads."""

import numpy as np
import pytest
from _data.kernels import KERNEL_DTYPES, make_rows, make_sparse, of
from numpy.testing import assert_array_equal

from parallel_ridge.kernels import _fold


def unaligned(X):
    return np.frombuffer(b"-" + X.tobytes(), X.dtype, offset=1).reshape(X.shape)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "fortran": np.asfortranarray,
    "columns of a wider array": lambda X: np.hstack([X, X, X])[:, X.shape[1] : 2 * X.shape[1]],
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "every third row": lambda X: np.repeat(X, 3, axis=0)[::3],
    "rows backwards": lambda X: X[::-1].copy()[::-1],
    "columns backwards": lambda X: X[:, ::-1].copy()[:, ::-1],
    "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "read-only": read_only,
    "unaligned": unaligned,
    "unaligned rows": lambda X: unaligned(np.hstack([X, X]))[:, : X.shape[1]],
}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_changes_no_bit(layout, dtype, level):
    X = make_rows(300, 30, dtype)
    other = LAYOUTS[layout](X)
    assert_array_equal(other, X)
    assert of(other) == of(X)
    assert_array_equal(other, X)  # still


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_repeated_and_mapped_rows(dtype, tmp_path):
    row = make_rows(1, 30, dtype)
    assert of(np.broadcast_to(row, (300, 30))) == of(np.repeat(row, 300, axis=0))
    X = make_rows(300, 30, dtype)
    X.tofile(tmp_path / "rows")
    assert of(np.memmap(tmp_path / "rows", dtype, "r", shape=X.shape)) == of(X)


@pytest.fixture
def seen(monkeypatch):
    """Arrays of rows that reach the kernel."""
    arrays, fold = [], _fold.fold_dense

    def spy(X, *args):
        arrays.append(X)
        fold(X, *args)

    monkeypatch.setattr(_fold, "fold_dense", spy)
    return arrays


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_kernel_sees_aligned_rows_only(layout, dtype, seen):
    of(LAYOUTS[layout](make_rows(20, 5, dtype)))
    assert all(X.flags.aligned and X.dtype.isnative for X in seen)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "float32", "float64"])
@pytest.mark.parametrize(
    "layout", ["columns of a wider array", "every third row", "read-only", "plain"]
)
def test_rows_are_used_where_they_are(layout, dtype, seen):
    X = LAYOUTS.get(layout, np.array)(make_rows(300, 5, dtype))  # enough for float32 products
    of(X)
    assert all(np.shares_memory(rows, X) for rows in seen)
    assert len(seen) == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5000, 30), (1500, 200), (600, 700)])
@pytest.mark.parametrize("kind", [*KERNEL_DTYPES, "sparse float32", "sparse float64"])
def test_number_of_threads_changes_no_bit(kind, shape, weighted):
    dtype = kind.split()[-1]
    X = make_sparse(*shape, dtype) if kind.startswith("sparse") else make_rows(*shape, dtype)
    weights = np.random.default_rng(1).uniform(size=shape[0]) if weighted else None
    one, *more = (of(X, sample_weight=weights, shift=None, n_jobs=t) for t in (1, 2, 3, 5))
    assert all(statistics == one for statistics in more)


def test_no_threads_at_all_are_refused():
    with pytest.raises(ValueError, match="n_jobs"):
        of(np.empty((0, 5)), np.empty(0, int), n_jobs=0)
