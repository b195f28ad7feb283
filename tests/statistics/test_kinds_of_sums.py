"""Exact sums, float sums, and what they become together."""

import numpy as np
import pytest
from _data.statistics import Table, assert_close, laws, make_table, of, tables
from hypothesis import given
from numpy.testing import assert_array_equal

from parallel_ridge import sufficient_statistics


def test_integer_and_float_sums_merge_as_floats():
    a, b = make_table(20, dtype="uint8"), make_table(30, dtype="float64", seed=1)
    both = Table(np.vstack([a.X, b.X]), np.concatenate([a.y, b.y]))
    for shift in (np.zeros(4), np.full(4, 0.3)):
        merged = of(a) + of(b, shift=shift)
        assert not merged.exact
        assert merged.class_sums.dtype == merged.feature_sums.dtype == np.float64
        assert_close(merged.reshift(np.zeros(4)), of(both), rtol=1e-10)
        assert_close((of(b, shift=shift) + of(a)).reshift(np.zeros(4)), of(both), rtol=1e-10)
        rest = (merged - of(b, shift=shift)).reshift(np.zeros(4))
        assert_close(rest, of(a).to_float(), rtol=1e-10)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (("float32", "float32"), "float32"),
        (("float32", "float64"), "float64"),
        (("float32", "uint8"), "float64"),
        (("uint8", "int64"), "float64"),
        (("float16", "float32"), "float32"),
    ],
)
def test_coefficients_have_the_wider_dtype(dtypes, expected):
    a, b = (of(make_table(9, dtype=dtype)) for dtype in dtypes)
    assert (a + b).dtype == (b + a).dtype == expected


def test_integer_sums_that_could_overflow_go_on_as_floats():
    table = Table(np.full((64, 3), [2**21, -(2**21), 1]), np.arange(64) % 2)
    total = of(table)
    for doublings in range(1, 20):
        total = total + total
        times = 2**doublings
        assert total.exact == (64 * times * 2**42 < 2**62)
        assert total.n_samples == 64 * times
        expected = 64 * times * np.outer(table.X[0], table.X[0]).astype(float)
        assert_array_equal(np.triu(total.gram), np.triu(expected))
        assert_array_equal(total.feature_sums, 64.0 * times * table.X[0])
    assert not total.exact
    assert total.class_sums.dtype == np.float64
    assert not (total - of(table)).exact


@laws
@given(tables())
def test_float_copies_hold_the_same_numbers(table):
    some = of(table)
    floats = some.to_float()
    assert not floats.exact
    assert_array_equal(np.triu(floats.gram), np.triu(some.gram))
    assert_close(floats, some, rtol=0)
    assert floats.to_float() == floats


@laws
@given(tables(multilabel=False))
def test_classes_without_rows_come_and_go(table):
    some = of(table)
    more = some.select_classes(np.arange(-3, 9))
    assert_array_equal(more.classes, np.arange(-3, 9))
    assert more.class_counts.sum() == some.n_samples
    assert more.select_classes(some.classes) == some
    assert_array_equal(more.class_sums[np.isin(more.classes, some.classes)], some.class_sums)
    assert not more.class_sums[~np.isin(more.classes, some.classes)].any()


def test_classes_with_rows_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"rows of classes \[2\], not in \[0, 1, 3\]"):
        of(make_table(30)).select_classes([0, 1, 3])


@pytest.mark.parametrize("kind", [str, object, bool, float, np.int8])
def test_merging_unites_the_classes(kind):
    values = {
        str: ["a", "bb", "c"],
        object: ["a", "bb", "c"],
        bool: [False, True, True],
        float: [0.0, 1.5, 2.0],
        np.int8: [-4, 0, 5],
    }[kind]
    X = np.eye(3, dtype=np.uint8)
    y = np.array(values, dtype=kind)
    if kind is float:
        y = y * 2  # whole numbers are classes
    a, b, c = (sufficient_statistics(X[i : i + 1], y[i : i + 1]) for i in range(3))
    everything = sufficient_statistics(X, y)
    assert c + a + b == everything
    assert everything - b == (a + c if kind is not bool else everything - b)
    assert everything.classes.dtype == np.dtype(kind) or kind is str
