"""Weights of rows in statistics."""

import numpy as np
from _data.statistics import Table, laws, of, tables
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

SUMS = ["weight_sum", "feature_sums", "gram", "class_weights", "class_sums"]


def assert_equal_sums(a, b, factor=1.0, rtol=1e-12):
    for name in SUMS:
        left, right = (np.asarray(getattr(s, name)) for s in (a, b))
        if name == "gram":
            left, right = np.triu(left), np.triu(right)
        size = np.abs(right).max(initial=0.0) * factor
        assert_allclose(left, factor * right, rtol=rtol, atol=rtol * size, err_msg=name)


@laws
@given(tables(min_rows=1, weighted=False), st.integers(0, 1000))
def test_a_weight_of_two_is_a_row_twice(table, seed):
    times = np.random.default_rng(seed).integers(0, 4, size=len(table))
    times[0] = 2
    weighted = of(Table(table.X, table.y, times))
    repeated = of(table[np.repeat(np.arange(len(table)), times)], classes=weighted.classes)
    rtol = 1e-5 if table.X.dtype == np.float32 else 1e-12
    assert_equal_sums(weighted, repeated, rtol=rtol)


@laws
@given(tables(min_rows=2, weighted=True))
def test_a_weight_of_zero_is_an_absent_row(table):
    table.weights[::2] = 0.0
    assert_equal_sums(of(table), of(table[1::2], classes=of(table).classes), rtol=1e-6)


@laws
@given(tables(min_rows=1, weighted=True), st.floats(1e-6, 1e6))
def test_scaling_weights_scales_every_sum(table, factor):
    scaled = Table(table.X, table.y, factor * table.weights)
    rtol = 1e-5 if table.X.dtype == np.float32 else 1e-12
    assert_equal_sums(of(scaled), of(table), factor, rtol)


@laws
@given(tables(weighted=False))
def test_weights_of_one_are_no_weights(table):
    assert of(Table(table.X, table.y, np.ones(len(table)))) == of(table)
