"""Statistics of disjoint rows add: the laws of a group."""

from dataclasses import fields, replace

import numpy as np
import pytest
from _data.statistics import (
    CUT,
    FLOATS,
    INTEGERS,
    assert_close,
    laws,
    make_table,
    of,
    snapshot,
    tables,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from parallel_ridge import SufficientStatistics

CUTS = st.lists(st.floats(0, 1), max_size=4)


TWO_CUTS = st.lists(st.floats(0, 1), min_size=2, max_size=2)


def empty_like(table, **kwargs):
    return of(table[:0], **kwargs)


def assert_same(a, b):
    """Check equality: to the bit of integers, to rounding of floats."""
    if a.exact and b.exact:
        assert a == b
    else:
        assert_close(a, b, rtol=1e-5 if a.dtype == np.float32 else 1e-12)


@laws
@given(tables())
def test_statistics_of_no_rows_are_the_identity(table):
    zero, some = empty_like(table), of(table)
    assert zero.n_samples == zero.weight_sum == 0
    assert zero + zero == zero
    assert some + zero == some
    assert zero + some == some
    assert some - zero == some


@laws
@given(tables(dtypes=FLOATS, min_rows=1))
def test_the_identity_takes_any_shift(table):
    some = of(table, shift=np.arange(table.X.shape[1]) + 0.3)
    for zero in (empty_like(table), empty_like(table, shift=np.full(table.X.shape[1], -7.7))):
        assert some + zero == some
        assert zero + some == some
        assert some - zero == some


@laws
@given(tables(), CUT)
def test_merging_is_commutative(table, cut):
    a, b = map(of, table.cuts(cut))
    assert a + b == b + a  # to the bit: so is the addition of two floats


@laws
@given(tables(min_rows=1), CUT)
def test_merging_about_different_shifts_is_commutative(table, cut):
    d = table.X.shape[1]
    left, right = table.cuts(cut)
    a, b = of(left, shift=np.full(d, 0.25)), of(right, shift=np.linspace(-1, 1, d))
    assert_same((a + b).reshift(np.zeros(d)), (b + a).reshift(np.zeros(d)))


@laws
@given(tables(), TWO_CUTS)
def test_merging_is_associative(table, cuts):
    a, b, c = map(of, table.cuts(cuts))
    assert_same((a + b) + c, a + (b + c))


@laws
@given(tables(), CUTS, st.randoms(use_true_random=False))
def test_statistics_depend_on_neither_cut_nor_order(table, cuts, random):
    order = random.sample(range(len(table)), len(table))
    shuffled = table[np.array(order, dtype=int)]
    parts = [of(part) for part in shuffled.cuts(cuts)]
    assert_same(SufficientStatistics.sum(parts), of(table))
    assert_same(of(shuffled), of(table))


@laws
@given(tables(), CUT)
def test_subtracting_forgets(table, cut):
    a, b = map(of, table.cuts(cut))
    assert_same((a + b) - b, a)  # the classes that only b has too
    assert_same((a + b) - a, b)
    assert ((a + b) - (a + b)).n_samples == 0


@laws
@given(tables(dtypes=INTEGERS), CUT)
def test_subtracting_to_nothing_gives_zeros(table, cut):
    a, b = map(of, table.cuts(cut))
    assert (a + b) - a - b == empty_like(table)


def test_forgetting_keeps_classes_that_have_rows_or_never_had_any():
    table = make_table(20, dtype="uint8", n_classes=2)
    declared = of(table, classes=[0, 1, 7])
    last = table[table.y == 1]
    assert_array_equal((declared - of(last)).classes, [0, 7])
    assert_array_equal((declared - of(last[1:])).classes, [0, 1, 7])
    multilabel = make_table(20, dtype="uint8", multilabel=True)
    assert_array_equal((of(multilabel) - of(multilabel)).classes, range(4))


@pytest.mark.parametrize("operation", ["__add__", "__sub__"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_operands_stay_as_they_are_and_share_nothing_with_the_result(operation, dtype):
    table = make_table(20, dtype=dtype)
    zero = empty_like(table)
    for a, b in ((of(table), of(table[:9])), (of(table), zero), (of(table), of(table))):
        before = snapshot(a), snapshot(b)
        result = getattr(a, operation)(b)
        for name in ("gram", "class_sums", "feature_sums", "class_counts", "class_weights"):
            getattr(result, name)[...] = 99
        assert (a, b) == before


@laws
@given(tables(min_rows=1), CUTS)
def test_sum_is_repeated_addition(table, cuts):
    parts = [of(part) for part in table.cuts(cuts)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert_same(SufficientStatistics.sum(iter(parts)), total)


def test_the_sum_of_nothing_is_refused():
    with pytest.raises(ValueError, match="Cannot sum an empty list of statistics"):
        SufficientStatistics.sum([])


@pytest.mark.parametrize("other", [0, 1.0, None, "statistics"])
def test_statistics_combine_with_statistics_only(other):
    statistics = of(make_table(5))
    assert statistics != other
    for operation in (lambda: statistics + other, lambda: statistics - other):
        with pytest.raises(TypeError):
            operation()
    with pytest.raises(TypeError, match="unhashable"):
        hash(statistics)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_equality_looks_at_every_field(dtype):
    statistics = replace(of(make_table(20, dtype=dtype)), feature_names=np.array(list("abcd")))
    assert statistics == snapshot(statistics)
    for field in fields(statistics):
        value = getattr(statistics, field.name)
        if isinstance(value, np.ndarray):
            other = value.astype("<U9") if value.dtype.kind == "U" else value.copy()
            other.flat[0] = "other" if other.dtype.kind == "U" else other.flat[0] + 1
        else:
            other = {"dtype": np.dtype("f4"), "multilabel": True}.get(field.name, 99)
        assert replace(statistics, **{field.name: other}) != statistics, field.name
    shorter = of(make_table(20, d=3, dtype=dtype))
    assert shorter != statistics
    ignored = statistics.gram.copy()
    ignored[3, 0] += 1  # below the diagonal nothing is meant
    assert replace(statistics, gram=ignored) == statistics
