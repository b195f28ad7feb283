"""Rows that hold small integers only are found, and narrowed to bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from parallel_ridge.kernels import _fold

LIMIT = 2**21
DTYPES = ["float32", "float64", "int32", "int64"]
# Of each kind, values that are no integers within the limits, and those next to them that are.
INTEGERS = [0, 1, -1, 127, 128, -128, -129, 255, 256, 4095, LIMIT - 1, LIMIT, -LIMIT]
LARGE = [LIMIT + 1, -LIMIT - 1, 2**23, 3 * 2**22, 2**31 - 1, -(2**31)]
LARGER = [2**31, 2**32, 2**32 + 1, 2**40, -(2**62), -(2**63)]
FRACTIONS = [0.5, -0.5, 1e-3, 254.5, 1e-300, 5e-324, 2.0**20 + 0.25]
ENDLESS = [np.nan, -np.nan, np.inf, -np.inf, 1e300, -1e300, 2.0**52, 1.5 * 2.0**52, 1e38]


def others(dtype):
    """Values of a dtype that are not integers within the limits."""
    values = LARGE + LARGER * (dtype != "int32")
    if dtype[0] == "f":
        values = values + FRACTIONS + ENDLESS
    with np.errstate(over="ignore"):
        found = np.array(values, dtype)
    return found[(found != 0)]  # float32 holds no 1e-300


def narrow(X, least=-LIMIT, most=LIMIT, n_threads=1):
    out = np.full(X.shape, 0xA5, np.uint8)
    found = _fold.narrow(X, out, least, most, n_threads)
    return found, out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", INTEGERS)
def test_integers_are_found(value, dtype, level):
    X = np.full((3, 70), 7, dtype)
    X[1, 33] = value
    found, out = narrow(X)
    assert found == (min(0, value), max(7, value))
    assert_array_equal(out, X.astype(np.int64).astype(np.uint8))
    assert narrow(X, *found)[0] == found
    if value < 0:
        assert narrow(X, value + 1, 7)[0] is None
    if value > 7:
        assert narrow(X, 0, value - 1)[0] is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_other_value_anywhere_is_found(dtype, level):
    rng = np.random.default_rng(0)
    for value in others(dtype):
        X = rng.integers(0, 256, (40, 100)).astype(dtype)
        X[rng.integers(40), rng.integers(100)] = value
        for n_threads in (1, 3):
            assert narrow(X, n_threads=n_threads)[0] is None, value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 511), (1, 513), (7, 512), (300, 5), (5, 1300)])
def test_the_first_value_and_the_last_count(shape, place, dtype):
    X = np.arange(shape[0] * shape[1]).reshape(shape).astype(dtype) % 256
    found, out = narrow(X, 0, 255, 2)
    assert found == (0, X.max())
    assert_array_equal(out, X)
    X.flat[0 if place == "first" else -1] = 256
    assert narrow(X, 0, 255, 2)[0] is None


def test_minus_zero_counts_as_zero(level):
    for dtype in ("float32", "float64"):
        found, out = narrow(np.full((2, 9), -0.0, dtype))
        assert found == (0, 0)
        assert not out.any()


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(DTYPES),
    st.lists(st.sampled_from(INTEGERS), min_size=1, max_size=6),
    st.integers(1, 40),
    st.integers(1, 80),
    st.integers(0, 9),
    st.sampled_from(["C", "rows apart", "some columns"]),
    st.integers(0, 2),
)
def test_every_way_to_hold_rows(dtype, values, n, d, seed, layout, n_bad):
    rng = np.random.default_rng(seed)
    whole = rng.choice(np.array(values), (2 * n, d + 3)).astype(dtype)
    X = {"C": whole[:n, :d].copy(), "rows apart": whole[::2, :d], "some columns": whole[:n, 3:]}[
        layout
    ]
    bad = others(dtype)
    for _ in range(n_bad):
        X[rng.integers(n), rng.integers(d)] = rng.choice(bad)
    expected = None if n_bad else (min(0, int(X.min())), max(0, int(X.max())))
    for n_threads in (1, 2, 4):
        found, out = narrow(X, n_threads=n_threads)
        assert found == expected
        if found:
            assert_array_equal(out, X.astype(np.int64).astype(np.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_values_are_integers(dtype):
    for shape in ((0, 4), (4, 0), (0, 0)):
        assert narrow(np.empty(shape, dtype))[0] == (0, 0)


def test_damaged_input_is_refused():
    X = np.zeros((6, 4))
    out = np.zeros((6, 4), np.uint8)
    with pytest.raises(ValueError, match="out is not 6 x 4"):
        _fold.narrow(X, out[:5], 0, 255, 1)
    with pytest.raises(ValueError, match="unit column stride"):
        _fold.narrow(np.zeros((6, 8))[:, ::2], out, 0, 255, 1)
    with pytest.raises(ValueError, match="n_threads must be positive"):
        _fold.narrow(X, out, 0, 255, 0)
    X.flags.writeable = False
    assert _fold.narrow(X, out, 0, 255, 1) == (0, 0)
