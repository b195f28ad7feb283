"""Columns as contiguous rows: what problems with fewer rows than features are summed over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge.kernels import _columns

SHAPES = st.tuples(st.integers(0, 37), st.integers(0, 150))


def layouts(X):
    """The same rows in every layout."""
    wide = np.zeros((X.shape[0], 2 * X.shape[1] + 1), X.dtype)
    wide[:, : 2 * X.shape[1] : 2] = X
    yield from (np.ascontiguousarray(X), np.asfortranarray(X), wide[:, : 2 * X.shape[1] : 2])
    yield X[::-1, ::-1].copy()[::-1, ::-1]


@given(SHAPES, st.sampled_from(["f4", "f8", "u1", "i1"]), st.integers(1, 4))
def test_transpose_is_numpys(shape, dtype, n_threads):
    X = np.random.default_rng(0).integers(-100, 100, shape).astype(dtype)
    for rows in layouts(X):
        out = np.empty(shape[::-1], dtype)
        _columns.transpose(rows, out, n_threads)
        assert_array_equal(out, X.T)


@given(
    SHAPES.filter(lambda shape: min(shape) > 0),
    st.sampled_from([("f4", "f4"), ("f4", "f8"), ("f8", "f8")]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
)
def test_columns_are_centred_and_scaled_by_weights(shape, dtypes, centre, scale, n_threads):
    rng = np.random.default_rng(1)
    X = (rng.normal(size=shape) + 100.0).astype(dtypes[0])
    X[:, 0] = 0.1  # constant
    weights = rng.uniform(size=shape[0])
    weights /= weights.sum()
    means = weights @ X.astype(np.float64)
    variances = weights @ (X - means) ** 2
    expected = X.astype(np.float64) - (means if centre else 0.0)
    if scale:
        expected /= np.where(variances > 1e-9, np.sqrt(variances), 1.0)
    tolerance = 1e-4 if "f4" in dtypes else 1e-9
    for rows in layouts(X):
        out = np.empty(shape[::-1], dtypes[1])
        found = np.empty((2, shape[1]))
        _columns.form(rows, weights, int(weights.argmax()), centre, scale, out, *found, n_threads)
        assert_allclose(found[0], means, 1e-9)
        assert_allclose(found[1], variances, 1e-6, 1e-20)
        assert found[1][0] == 0.0
        if shape[0] > 1:
            assert_allclose(out, expected.T, tolerance, tolerance)
        if centre:
            assert not out[0].any()
        if not scale:
            _columns.form(rows, weights, 0, centre, False, out, found[0], None, n_threads)
            assert_allclose(found[0], means, 1e-9)


def test_arrays_that_do_not_match_are_refused():
    X, weights, means = np.ones((3, 4)), np.full(3, 1 / 3), np.empty(4)
    good = [X, weights, 0, True, False, np.empty((4, 3)), means, np.empty(4), 1]
    _columns.form(*good)
    bad = {
        1: np.full(2, 0.5),
        2: 3,
        5: np.empty((3, 4)),
        6: np.empty(3),
        7: np.empty(5),
        8: 0,
    }
    for place, value in bad.items():
        with pytest.raises(ValueError, match="do not match"):
            _columns.form(*good[:place], value, *good[place + 1 :])
    with pytest.raises(ValueError, match="one variance"):
        _columns.form(*good[:4], True, *good[5:7], None, 1)
    with pytest.raises(ValueError, match="one row per column"):
        _columns.transpose(X, np.empty((3, 4)), 1)
    with pytest.raises(ValueError, match="at least one thread"):
        _columns.transpose(X, np.empty((4, 3)), 0)
    with pytest.raises(TypeError, match="do not fit"):
        _columns.form(*good[:5], np.empty((4, 3), np.float32), *good[6:])
