"""Data and comparisons that tests of kernels share."""

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge import sufficient_statistics
from parallel_ridge.kernels import _fold

LEVELS = _fold.levels()


KERNEL_DTYPES = ["uint8", "int8", "int16", "float32", "float64"]  # one a kind of kernel


# Around the edges of a quad (4), of panels (4 to 96 columns) and of a stripe (96), at every level.
WIDTHS = [1, 2, 3, 4, 5, 15, 16, 17, 23, 24, 25, 47, 48, 49, 95, 96, 97, 191, 193, 784]


PATTERNS = [
    "random", "dense", "largest", "smallest", "zero", "scattered", "runs", "zero columns",
    "zero rows", "first stripe zero", "last stripe zero",
]  # fmt: skip


def make_rows(n, d, dtype, pattern="random", seed=0):
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "f":
        low, high = -3.0, 3.0
        X = rng.uniform(low, high, size=(n, d)).astype(dtype)
    elif dtype.kind == "b":
        low, high = False, True
        X = rng.random((n, d)) < 0.5
    else:  # the whole range up to 16 bits, then what stays exact
        low, high = (int(f(np.iinfo(dtype))) for f in (lambda i: i.min, lambda i: i.max))
        low, high = max(low, -(2**20)), min(high, 2**20)
        X = rng.integers(low, high, size=(n, d), dtype=dtype, endpoint=True)
    if pattern == "dense":
        X[X == 0] = 1
    elif pattern in ("largest", "smallest", "zero"):
        X[...] = {"largest": high, "smallest": low, "zero": 0}[pattern]
    elif pattern == "scattered":
        X[rng.random((n, d)) < 0.9] = 0
    elif pattern == "runs":
        keep = rng.random((n // 7 + 1, d // 9 + 1)) < 0.3
        X[~np.kron(keep, np.ones((7, 9), bool))[:n, :d]] = 0
    elif pattern == "zero columns":
        X[:, rng.random(d) < 0.5] = 0
    elif pattern == "zero rows":
        X[rng.random(n) < 0.7] = 0
    elif pattern == "first stripe zero":
        X[:, :96] = 0
    elif pattern == "last stripe zero":
        X[:, 96:] = 0
    return X


def make_labels(n, k=3, seed=0):
    return np.random.default_rng(seed).integers(0, k, size=n)


def make_sparse(n, d, dtype="float64", density=0.1, seed=0):
    X = sp.random(n, d, density, format="csr", random_state=np.random.default_rng(seed))
    X.data = (X.data * 200 - 0 if np.dtype(dtype).kind == "u" else X.data - 0.5).astype(dtype)
    return X


def of(X, y=None, **kwargs):
    """Statistics about zero, on one thread, unless asked otherwise."""
    n, d = X.shape
    y = make_labels(n) if y is None else y
    options = {"classes": np.arange(3), "shift": np.zeros(d), "n_jobs": 1} | kwargs
    return sufficient_statistics(X, y, **options)


def exact_product(A, B):
    """``A.T @ B`` of integers, in int64."""
    bound = len(A) * float(abs(A).max(initial=0)) * float(abs(B).max(initial=0))
    if bound < 2.0**53:  # so that BLAS may do it
        return (A.T.astype(np.float64) @ B.astype(np.float64)).astype(np.int64)
    assert bound < 2.0**63
    return A.T @ B


def assert_sums(statistics, X, y, weights=None, rtol=None):
    """Check the sums about zero against NumPy: to the bit where they are integers."""
    n, d = X.shape
    members = y if np.ndim(y) == 2 else y[:, None] == np.arange(3)
    upper = np.triu_indices(d)
    assert statistics.n_samples == n
    assert_array_equal(statistics.class_counts, members.sum(axis=0))
    if statistics.exact:
        rows, members = X.astype(np.int64), members.astype(np.int64)
        assert weights is None
        assert statistics.weight_sum == n
        assert_array_equal(statistics.gram[upper], exact_product(rows, rows)[upper])
        assert_array_equal(statistics.class_sums, exact_product(members, rows))
        assert_array_equal(statistics.feature_sums, rows.sum(axis=0))
        return
    if rtol is None:
        rtol = 1e-5 if statistics.dtype == np.float32 else 1e-13
    weights = np.ones(n) if weights is None else weights
    rows = X.astype(np.float64)
    gram = (rows * weights[:, None]).T @ rows
    scale = np.sqrt(gram.diagonal())
    assert_allclose(statistics.weight_sum, weights.sum(), rtol=1e-13)
    assert_allclose(statistics.class_weights, weights @ members, rtol=1e-13)
    error = np.abs(statistics.gram - gram)[upper]
    assert (error <= rtol * np.outer(scale, scale)[upper]).all(), error.max()
    sizes = weights @ np.abs(rows)
    error = np.abs(statistics.class_sums - (members * weights[:, None]).T @ rows)
    assert (error <= rtol * sizes).all(), error.max()
    assert (np.abs(statistics.feature_sums - weights @ rows) <= rtol * sizes).all()


def fold_dense(X, labels, n_classes=3, n_lanes=1, n_threads=1, shift=None, weights=None, into=None):
    """Sums over the lanes, from a workspace that was full of something else."""
    d = X.shape[1]
    exact = X.dtype.kind in "ui"
    totals = np.int64 if exact else np.float64
    grams, class_sums = into or (
        [np.zeros((d, d), totals) for _ in range(n_lanes)],
        np.zeros((n_lanes, n_classes, d), totals),
    )
    need = _fold.workspace_bytes(X.dtype, exact, d, n_lanes, n_threads)
    buffer = np.full(need + 128, 0xA5, np.uint8)
    start = -buffer.ctypes.data % 64
    _fold.fold_dense(
        X, shift, weights, labels, None, grams, class_sums, buffer[start : start + need], n_threads
    )
    assert (buffer[:start] == 0xA5).all()
    assert (buffer[start + need :] == 0xA5).all()
    return sum(grams), class_sums.sum(axis=0)
