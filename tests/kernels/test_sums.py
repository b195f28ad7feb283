"""Sums of the kernels against NumPy."""

import numpy as np
import pytest
from _data.kernels import (
    KERNEL_DTYPES,
    PATTERNS,
    WIDTHS,
    assert_sums,
    fold_dense,
    make_labels,
    make_rows,
    of,
)
from numpy.testing import assert_array_equal

from parallel_ridge import sufficient_statistics

OTHER_DTYPES = ["bool", "uint16", "int32", "uint32", "int64", "uint64", "float16"]


# Around the edges of groups (2 and 4), words of a mask (64 groups), chunks (256 and 512) and blocks.
HEIGHTS = [1, 2, 3, 4, 5, 63, 64, 65, 127, 129, 255, 256, 257, 511, 512, 513, 2047, 2048, 2049]


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
    statistics = sufficient_statistics(X, np.arange(5000) % 2, shift=np.zeros(1600))
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
