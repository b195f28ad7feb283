"""Labels of several origins."""

import operator
from dataclasses import replace

import numpy as np
import pytest
from _data.statistics import Table, make_table, of
from numpy.testing import assert_array_equal

LARGE = [2**60, 2**60 + 1, 2**60 + 2]


@pytest.mark.parametrize("operation", [operator.add, operator.sub])
def test_labels_beyond_float64_stay_apart(operation):
    table = make_table(60, n_classes=3)
    y = np.array(LARGE)[table.y]
    signed, unsigned = (of(Table(table.X, y.astype(kind))) for kind in ("i8", "u8"))
    counts = np.bincount(table.y)
    found = (
        operation(signed + unsigned, unsigned) if operation is operator.sub else signed + unsigned
    )
    assert found.classes.tolist() == LARGE
    assert_array_equal(found.class_counts, counts * (2 if operation is operator.add else 1))
    assert_array_equal(signed.select_classes(np.array(LARGE, "u8")).class_counts, counts)


def test_labels_that_no_dtype_holds_are_refused():
    parts = [
        of(Table(np.ones((2, 1)), np.array(labels, kind)))
        for labels, kind in (
            ([-1, 0], "i8"),
            ([0, 2**64 - 1], "u8"),
            ([0.0, 1.0], "f8"),
            (LARGE[:2], "i8"),
        )
    ]
    with pytest.raises(
        ValueError, match="Labels from -1 to 18446744073709551615 have no integer dtype"
    ):
        parts[0] + parts[1]
    with pytest.raises(ValueError, match="cannot hold the label 1152921504606846977"):
        parts[2] + parts[3]
    assert (parts[0] + parts[2]).classes.tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "classes",
    [[1, 0], [0, 0, 1], [0.0, 1.0, np.nan], [[0, 1]]],
    ids=["order", "twice", "nan", "2d"],
)
def test_classes_to_select_are_distinct_and_ascend(classes):
    with pytest.raises(ValueError, match="classes must be"):
        of(make_table(20, n_classes=2)).select_classes(classes)


def test_more_rows_than_can_be_counted_are_refused():
    statistics = of(make_table(4, n_classes=1))
    many = replace(statistics, n_samples=2**62, class_counts=np.array([2**62]))
    assert (many + statistics).n_samples == 2**62 + 4
    with pytest.raises(ValueError, match="more than 2\\^63"):
        many + many
