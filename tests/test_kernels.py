"""Folds of rows into sums: against NumPy at every CPU level here, to the bit for integers."""

import os
import signal
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge import SufficientStatistics
from parallel_ridge.kernels import _fold, _triangle

LEVELS = _fold.levels()
KERNEL_DTYPES = ["uint8", "int8", "int16", "float32", "float64"]  # one a kind of kernel
OTHER_DTYPES = ["bool", "uint16", "int32", "uint32", "int64", "uint64", "float16"]
# Around the edges of a quad (4), of panels (4 to 96 columns) and of a stripe (96), at every level.
WIDTHS = [1, 2, 3, 4, 5, 15, 16, 17, 23, 24, 25, 47, 48, 49, 95, 96, 97, 191, 193, 784]
# Around the edges of groups (2 and 4), words of a mask (64 groups), chunks (256 and 512) and blocks.
HEIGHTS = [1, 2, 3, 4, 5, 63, 64, 65, 127, 129, 255, 256, 257, 511, 512, 513, 2047, 2048, 2049]
PATTERNS = [
    "random", "dense", "largest", "smallest", "zero", "scattered", "runs", "zero columns",
    "zero rows", "first stripe zero", "last stripe zero",
]  # fmt: skip


@pytest.fixture(params=LEVELS)
def level(request, monkeypatch):
    monkeypatch.setenv("PARALLEL_RIDGE_CPU", request.param)
    return request.param


def use_level(name):
    """The same for a test that calls itself many times."""
    return mock.patch.dict(os.environ, PARALLEL_RIDGE_CPU=name)


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
    return SufficientStatistics.from_data(X, y, **options)


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


# ------------------------------------------------------------------------------------------------
# CPU levels
# ------------------------------------------------------------------------------------------------


def test_levels_end_with_the_portable_one_and_can_be_chosen(level):
    assert LEVELS[-1] == "portable"
    assert len(set(LEVELS)) == len(LEVELS)
    assert _fold.level() == level


@pytest.mark.parametrize("value", [None, ""])
def test_the_best_level_is_the_default(value, monkeypatch):
    monkeypatch.delenv("PARALLEL_RIDGE_CPU", raising=False)
    if value is not None:
        monkeypatch.setenv("PARALLEL_RIDGE_CPU", value)
    assert _fold.level() == LEVELS[0]


def test_an_unknown_level_is_refused_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("PARALLEL_RIDGE_CPU", "sse9")
    for call in (_fold.level, lambda: of(make_rows(3, 2, "uint8")), lambda: of(np.ones((3, 2)))):
        with pytest.raises(ValueError, match=r"PARALLEL_RIDGE_CPU='sse9'.*'portable'"):
            call()


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(1, 1100),
    d=st.integers(1, 210),
    dtype=st.sampled_from(["uint8", "int8", "int16"]),
    pattern=st.sampled_from(PATTERNS),
    seed=st.integers(0, 99),
)
def test_integer_sums_have_the_same_bits_at_every_level(n, d, dtype, pattern, seed):
    X = make_rows(n, d, dtype, pattern, seed)
    y = make_labels(n, seed=seed)
    for name in LEVELS:
        with use_level(name):
            assert_sums(of(X, y), X, y)


# ------------------------------------------------------------------------------------------------
# Sums against NumPy
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("d", WIDTHS)
def test_sums_at_every_width(d, dtype, level):
    n = 259 if d > 200 else 517
    X, y = make_rows(n, d, dtype, seed=d), make_labels(n)
    assert_sums(of(X, y), X, y)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("n", HEIGHTS)
def test_sums_at_every_height(n, dtype, level):
    X, y = make_rows(n, 99, dtype, seed=n), make_labels(n)
    assert_sums(of(X, y), X, y)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_skipped_zeros_change_nothing(pattern, dtype, level):
    X, y = make_rows(700, 200, dtype, pattern), make_labels(700)
    assert_sums(of(X, y), X, y)


@pytest.mark.parametrize("dtype", OTHER_DTYPES)
@pytest.mark.parametrize("pattern", ["random", "scattered"])
def test_sums_of_dtypes_that_are_converted(dtype, pattern):
    X, y = make_rows(600, 50, dtype, pattern), make_labels(600)
    statistics = of(X, y)
    assert statistics.exact == (np.dtype(dtype).kind in "bui")
    assert statistics.dtype == (np.float32 if dtype == "float16" else np.float64)
    assert_sums(statistics, X, y)


@pytest.mark.parametrize("dtype", [*KERNEL_DTYPES, *OTHER_DTYPES])
def test_no_rows_give_zeros(dtype):
    statistics = of(np.empty((0, 4), dtype), np.empty(0, int))
    assert statistics.n_samples == 0
    assert statistics.gram.shape == (4, 4)
    for sums in (statistics.gram, statistics.feature_sums, statistics.class_sums):
        assert not sums.any()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_sums_over_several_blocks(dtype):
    # 700 columns: blocks of 2048 rows
    X, y = make_rows(4500, 700, dtype, "scattered"), make_labels(4500)
    assert_sums(of(X, y, n_jobs=2), X, y)


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 255), ("int8", -128), ("int16", -(2**15)), ("uint16", 2**16 - 1)]
)
@pytest.mark.parametrize("n", [16_513, 33_026, 65_794, 131_073])
def test_extreme_rows_do_not_overflow(n, dtype, value, level):
    # One call for all rows: 32-bit sums of pairs would overflow after 33,024 rows of 255.
    X = np.full((n, 6), value, dtype)
    if dtype in ("uint8", "int8"):
        gram, class_sums = fold_dense(X, np.zeros(n, np.int32), n_classes=1)
    else:
        statistics = of(X, np.zeros(n, int), classes=[0])
        gram, class_sums = statistics.gram, statistics.class_sums
    assert_array_equal(gram[np.triu_indices(6)], n * value**2)
    assert_array_equal(class_sums, n * value)


@pytest.mark.parametrize("largest", [2**21, 2**21 + 1])
def test_wide_integers_are_exact_up_to_a_limit(largest, level):
    rng = np.random.default_rng(0)
    X = rng.integers(largest - 9, largest, size=(1030, 5), endpoint=True)
    X[::2] *= -1
    X[0] = largest
    y = make_labels(1030)
    statistics = of(X, y)
    assert statistics.exact == (largest == 2**21)
    assert_sums(statistics, X, y)


@pytest.mark.parametrize("low", [-(2**63), 2**62])
def test_integers_too_large_for_exact_sums_are_folded_as_floats(low):
    X = np.array([[low, 1], [low + 2**50, 2], [low, 3]])
    y = np.array([0, 1, 2])
    statistics = of(X, y)
    assert not statistics.exact
    assert_sums(statistics, X, y)


def test_float32_sums_of_many_features_keep_the_digits_of_float32(level):
    # From 1,536 features on more products are added in float32 before they go to float64.
    rng = np.random.default_rng(0)
    X = (rng.random((5000, 1600)) + 0.5).astype("f4")  # of one sign: the worst case
    statistics = SufficientStatistics.from_data(X, np.arange(5000) % 2, shift=np.zeros(1600))
    expected = X.astype("f8").T @ X.astype("f8")
    upper = np.triu_indices(1600)
    error = np.abs(statistics.gram[upper] / expected[upper] - 1.0)
    assert error.max() < 2e-6
    assert np.sqrt(np.mean(error**2)) < 2e-7


def test_many_classes():
    n, k = 3000, 500
    X, y = make_rows(n, 20, "uint8"), np.random.default_rng(0).permutation(n) % k
    statistics = of(X, y, classes=None)
    expected = np.zeros((k, 20), np.int64)
    np.add.at(expected, y, X)
    assert_array_equal(statistics.class_sums, expected)


# ------------------------------------------------------------------------------------------------
# Memory layouts
# ------------------------------------------------------------------------------------------------


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


# ------------------------------------------------------------------------------------------------
# Threads
# ------------------------------------------------------------------------------------------------


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


# ------------------------------------------------------------------------------------------------
# Weights, multilabel targets, shifts
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("d", [5, 130])
def test_weighted_sums(d, dtype, level):
    n = 700
    X, y = make_rows(n, d, dtype, "runs"), make_labels(n)
    weights = np.random.default_rng(2).exponential(size=n)
    weights[::5] = 0.0
    statistics = of(X, y, sample_weight=weights)
    assert not statistics.exact
    assert_sums(statistics, X, y, weights)


@pytest.mark.parametrize("sparse_targets", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "sparse"])
def test_multilabel_sums(kind, weighted, sparse_targets):
    n, d = 900, 110
    X = make_sparse(n, d) if kind == "sparse" else make_rows(n, d, kind)
    Y = (np.random.default_rng(3).random((n, 3)) < [0.1, 0.5, 0.8]).astype(int)
    Y[:300] = 0  # rows of no class count too
    weights = np.random.default_rng(2).exponential(size=n) if weighted else None
    targets = sp.csr_matrix(Y) if sparse_targets else Y
    statistics = of(X, targets, sample_weight=weights)
    assert statistics.multilabel
    assert_sums(statistics, X.toarray() if kind == "sparse" else X, Y, weights)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_shifted_sums(weighted, dtype, level):
    n, d = 600, 60
    X, y = make_rows(n, d, dtype), make_labels(n)
    shift = np.arange(d) / 4  # exact in float32
    weights = np.random.default_rng(2).exponential(size=n) if weighted else None
    statistics = of(X, y, shift=shift, sample_weight=weights)
    assert_array_equal(statistics.shift, shift)
    assert_sums(statistics, X.astype(np.float64) - shift, y, weights)


# ------------------------------------------------------------------------------------------------
# Sparse rows
# ------------------------------------------------------------------------------------------------


def shuffled_within_rows(X):
    """The same matrix with indices in no order."""
    X = X.copy()
    for begin, end in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        order = np.random.default_rng(begin).permutation(end - begin)
        X.indices[begin:end] = X.indices[begin:end][order]
        X.data[begin:end] = X.data[begin:end][order]
    X.has_sorted_indices = False
    return X


def with_duplicates(X):
    parts = X.tocoo()
    data = np.concatenate([parts.data - parts.data // 2, parts.data // 2])
    n_entries = np.diff(X.indptr)
    order = np.argsort(np.tile(np.repeat(np.arange(X.shape[0]), n_entries), 2), kind="stable")
    return sp.csr_matrix((data[order], np.tile(X.indices, 2)[order], 2 * X.indptr), shape=X.shape)


def with_wide_indices(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def with_mixed_indices(X):
    X = X.copy()
    X.indices = X.indices.astype(np.int64)
    return X


def with_explicit_zeros(X):
    X = X.copy()
    X.data[::3] = 0
    return X


def with_strided_values(X):
    X = X.copy()
    X.data, X.indices = np.repeat(X.data, 2)[::2], np.repeat(X.indices, 2)[::2]
    return X


SPARSE_FORMS = {
    "plain": lambda X: X,
    "sparse array": sp.csr_array,
    "unsorted": shuffled_within_rows,
    "duplicates": with_duplicates,
    "int64 indices": with_wide_indices,
    "mixed indices": with_mixed_indices,
    "explicit zeros": with_explicit_zeros,
    "strided values": with_strided_values,
    "csc": sp.csc_matrix,
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("form", SPARSE_FORMS)
def test_sparse_rows_give_the_sums_of_dense_ones(form, dtype):
    n, d = 700, 130
    X = make_sparse(n, d, dtype)
    X.data[X.indptr[5] : X.indptr[40]] = 0
    X.eliminate_zeros()  # now there are rows with no entries
    X, y = SPARSE_FORMS[form](X), make_labels(n)
    before = X.data.copy(), X.indices.copy(), X.indptr.copy()
    statistics = of(X, y)
    assert statistics.dtype == (np.float32 if dtype == "float32" else np.float64)
    assert_sums(statistics, X.toarray(), y, rtol=1e-12)
    weights = np.random.default_rng(2).exponential(size=n)
    assert_sums(of(X, y, sample_weight=weights), X.toarray(), y, weights, rtol=1e-12)
    for now, then in zip((X.data, X.indices, X.indptr), before, strict=True):
        assert_array_equal(now, then)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("density", [0.02, 1.0])
def test_sparse_sums_at_every_width(d, density):
    X, y = make_sparse(257, d, density=density), make_labels(257)
    assert_sums(of(X, y), X.toarray(), y, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 600])
def test_sparse_rows_without_entries(n):
    X = sp.csr_matrix((n, 7))
    statistics = of(X, make_labels(n))
    assert statistics.n_samples == n
    assert not statistics.gram.any()
    assert not statistics.class_sums.any()


@pytest.mark.parametrize("value", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("n_lanes", [1, 3])
def test_every_sparse_kernel(n_lanes, index, value):
    n, d = 900, 101
    X, labels = make_sparse(n, d, value), make_labels(n).astype(np.int32)
    grams = [np.zeros((d, d)) for _ in range(n_lanes)]
    class_sums = np.zeros((n_lanes, 3, d))
    _fold.fold_csr(
        X.indptr.astype(index), X.indices.astype(index), X.data, d, None, labels, None,
        grams, class_sums, 2,
    )  # fmt: skip
    dense = X.toarray().astype(np.float64)
    assert_allclose(sum(grams), np.triu(dense.T @ dense), rtol=1e-12, atol=1e-12)
    expected = (labels[:, None] == np.arange(3)).T.astype(float) @ dense
    assert_allclose(class_sums.sum(axis=0), expected, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------
# Rows that are not finite, or too large
# ------------------------------------------------------------------------------------------------

BAD_VALUES = [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]


def refused(row, column, name):
    return pytest.raises(ValueError, match=rf"contains {name}: row {row}, column {column}\b")


@pytest.mark.parametrize(("value", "name"), BAD_VALUES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (256, 96), (599, 129)])
def test_a_value_that_is_not_finite_is_named(row, column, dtype, value, name, level):
    X = make_rows(600, 130, dtype)
    X[row, column] = value
    for kwargs in ({}, {"shift": None}, {"sample_weight": np.arange(600.0)}, {"n_jobs": 2}):
        with refused(row, column, name):
            of(X, **kwargs)
    with refused(row, column, name):
        of(X, np.zeros((600, 2), int), classes=None)  # rows of no class
    if dtype != "float16":  # which SciPy has no sparse matrices of
        for kwargs in ({}, {"sample_weight": np.arange(600.0)}):
            with refused(row, column, name):
                of(sp.csr_matrix(X), **kwargs)


@pytest.mark.parametrize(("value", "name"), BAD_VALUES[:2])
@pytest.mark.parametrize("kind", ["float32", "float64", "sparse"])
def test_a_value_in_a_late_block_is_named(kind, value, name):
    n, d, row = 25_000, 200, 24_321  # 200 columns: blocks of 16,384 rows
    X = np.zeros((n, d), "float32" if kind == "float32" else "float64")
    X[row, 3] = X[row, 150] = X[row + 9, 0] = value
    X = sp.csr_matrix(X) if kind == "sparse" else X
    with refused(row, 3, name):
        of(X)


def test_infinities_of_both_signs_are_named():
    X = make_rows(600, 5, "float64")
    X[300, 2], X[301, 2] = np.inf, -np.inf
    with refused(300, 2, "infinity"):
        of(X)


def test_rows_of_no_weight_are_checked_too():
    X = make_rows(20, 5, "float64")
    X[7, 4] = np.nan
    with refused(7, 4, "NaN"):
        of(X, sample_weight=np.arange(20) != 7)


@pytest.mark.parametrize("weights", [None, np.full(300, 2.0)])
def test_values_too_large_for_their_products_are_refused(weights, level):
    X = make_rows(300, 50, "float32")
    X[:, 31] *= np.float32(1e30)
    with pytest.raises(ValueError, match=r"Column 31 .*too large .*float32.*pass X as float64"):
        of(X, sample_weight=weights)
    assert_sums(of(X.astype(np.float64), sample_weight=weights), X, make_labels(300), weights)
    assert np.isfinite(of(sp.csr_matrix(X), sample_weight=weights).gram).all()  # float64 products
    X = X.astype(np.float64)
    X[:, 31] *= 1e140
    for rows in (X, sp.csr_matrix(X)):
        with pytest.raises(ValueError, match=r"Column 31 .*too large .*float64"):
            of(rows, sample_weight=weights)


def test_values_too_large_for_their_sums_are_refused():
    X = np.full((300, 2), 1.7e308)
    for rows in (X, sp.csr_matrix(X)):
        with pytest.raises(ValueError, match=r"rows 0 to 299 .*too large"):
            of(rows)


# ------------------------------------------------------------------------------------------------
# The doorway itself
# ------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float64"])
@pytest.mark.parametrize("n_lanes", [1, 2, 7])
@pytest.mark.parametrize("n_threads", [1, 2, 3])  # fewer than lanes, as many, and more
@pytest.mark.parametrize(("n", "d"), [(1, 1), (257, 5), (1025, 97), (700, 200), (9001, 3)])
def test_lanes_share_the_rows_out_and_stay_in_their_workspace(
    n, d, n_threads, n_lanes, dtype, level
):
    X, labels = make_rows(n, d, dtype, "runs"), make_labels(n).astype(np.int32)
    gram, class_sums = fold_dense(X, labels, n_lanes=n_lanes, n_threads=n_threads)
    rows = X.astype(np.float64)
    tolerance = {"rtol": 0, "atol": 0} if X.dtype.kind in "ui" else {"rtol": 1e-4, "atol": 1e-3}
    assert_allclose(gram, np.triu(rows.T @ rows), **tolerance)  # nothing below the diagonal
    members = (labels[:, None] == np.arange(3)).astype(float)
    assert_allclose(class_sums, members.T @ rows, **tolerance)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float64"])
def test_rows_are_added_to_what_is_there(dtype, level):
    X, labels = make_rows(300, 101, dtype), make_labels(300).astype(np.int32)
    totals = np.int64 if X.dtype.kind in "ui" else np.float64
    into = [np.full((101, 101), 7, totals)], np.full((1, 3, 101), -7, totals)
    gram, class_sums = fold_dense(X, labels, into=into)
    clean_gram, clean_sums = fold_dense(X, labels)
    assert_allclose(gram, clean_gram + 7, rtol=1e-12)
    assert_allclose(class_sums, clean_sums - 7, rtol=1e-12, atol=1e-10)
    assert_array_equal(gram[np.tril_indices(101, -1)], 7)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_fold(shape):
    gram, class_sums = fold_dense(np.empty(shape), np.zeros(shape[0], np.int32))
    assert not gram.any()
    assert not class_sums.any()


def test_the_processor_is_described():
    assert _fold.max_threads() >= 1
    assert isinstance(_fold.has_openmp(), bool)


# ------------------------------------------------------------------------------------------------
# Cholesky factors
# ------------------------------------------------------------------------------------------------


def positive_definite(d, seed=0):
    B = np.random.default_rng(seed).standard_normal((d, d + 5))
    return np.asfortranarray(B @ B.T)


@pytest.mark.parametrize("panel", [1, 7, 256])
@pytest.mark.parametrize("d", [1, 2, 7, 15, 255, 256, 257, 600])
def test_a_factor_in_panels_is_that_of_lapack(d, panel):
    matrix = positive_definite(d)
    factor = matrix.copy(order="F")
    assert _triangle.cholesky(factor, panel) == 0
    assert_allclose(np.tril(factor), np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-9)
    assert_array_equal(np.triu(factor, 1), np.triu(matrix, 1))  # not touched


@pytest.mark.parametrize("minor", [1, 4, 9, 30])
def test_the_first_minor_that_is_not_positive_is_told(minor):
    matrix = positive_definite(30)
    matrix[minor - 1, minor - 1] = -1.0
    assert _triangle.cholesky(matrix, 8) == minor


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal")
def test_a_factorisation_hears_signals():
    def interrupt(*_):
        raise KeyboardInterrupt

    matrix = np.asfortranarray(np.eye(4000))
    matrix[-1, -1] = 4.0
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            _triangle.cholesky(matrix, 64)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert matrix[-1, -1] == 4.0  # it had not come to its end


# ------------------------------------------------------------------------------------------------
# Other triangles
# ------------------------------------------------------------------------------------------------


def lower_triangle(d, seed=0):
    """A symmetric matrix, and itself in Fortran order with nothing of use above the diagonal."""
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(d, d))
    whole += whole.T
    lower = np.asfortranarray(np.tril(whole) + np.triu(rng.normal(size=(d, d)), 1))
    return whole, lower


@pytest.mark.parametrize("d", [1, 2, 3, 40, 131])
def test_a_triangle_is_rotated_to_a_tridiagonal_matrix_and_back(d):
    whole, rotation = lower_triangle(d)
    diagonal, beside, factors = np.full((3, d), np.nan)
    _triangle.tridiagonal(rotation, diagonal, beside, factors)
    form = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    Q = np.asfortranarray(np.eye(d))
    _triangle.rotate(rotation, factors, Q, True)
    assert_allclose(Q.T @ Q, np.eye(d), atol=1e-13)
    assert_allclose(Q @ form @ Q.T, whole, atol=1e-12 * d)
    columns = np.asfortranarray(np.random.default_rng(1).normal(size=(d, 5)))
    expected = Q.T @ columns
    _triangle.rotate(rotation, factors, columns, False)
    assert_allclose(columns, expected, atol=1e-13 * d)


@pytest.mark.parametrize("d", [0, 1, 2, 50])
def test_eigenvectors_of_a_triangle(d):
    whole, vectors = lower_triangle(d)
    values = np.empty(d)
    assert _triangle.eigenvectors(vectors, values) == 0
    assert_allclose(values, np.linalg.eigvalsh(whole), atol=1e-12)
    assert_allclose(whole @ vectors, vectors * values, atol=1e-12 * (d + 1))


@pytest.mark.parametrize("total", [np.float64, np.int64])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_a_triangle_is_packed_in_its_own_memory_and_unpacked(d, total):
    matrix = np.arange(1, d * d + 1).reshape(d, d).astype(total)
    rows = matrix[np.triu_indices(d)]
    packed = np.empty(d * (d + 1) // 2, total)
    _triangle.pack(matrix, packed)
    assert_array_equal(packed, rows)
    for stored in {np.dtype(total), np.dtype(np.int32)} if total == np.int64 else {np.dtype(total)}:
        out = np.zeros((d, d), total)
        _triangle.unpack(packed.astype(stored), out)
        assert_array_equal(out, np.triu(matrix))
    expected = np.triu(matrix)
    own = matrix.reshape(-1)[: len(packed)]
    _triangle.pack(matrix, own)
    assert_array_equal(own, rows)
    _triangle.unpack(own, matrix)
    assert_array_equal(np.triu(matrix), expected)


@pytest.mark.parametrize("kept", [[], [0], [3], [1, 2], [0, 2, 4], [0, 1, 2, 3, 4]])
def test_some_rows_and_columns_of_a_triangle_move_together(kept):
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    expected = np.triu(matrix[np.ix_(kept, kept)])
    _triangle.select(matrix, np.array(kept, dtype=np.intp))
    m = len(kept)
    assert_array_equal(np.triu(matrix.reshape(-1)[: m * m].reshape(m, m)), expected)
