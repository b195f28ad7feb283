"""The laws of sufficient statistics: a commutative group, to the bit where sums are integers."""

import copy
import io
import itertools
import json
import operator
import os
import pickle
import re
import stat
import sys
import tracemalloc
import zipfile
from dataclasses import fields, replace

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge import OpenMPBackend, SufficientStatistics
from parallel_ridge.kernels import _triangle
from parallel_ridge.reductions import GroupedReduction, StatisticsReduction
from parallel_ridge.sources import as_source

INTEGERS = ["bool", "uint8", "int8", "int16", "uint16", "int64"]
FLOATS = ["float32", "float64"]
laws = settings(deadline=None, max_examples=40)


class Table:
    """Rows, labels and perhaps weights, that can be split and ordered anew."""

    def __init__(self, X, y, weights=None):
        self.X, self.y, self.weights = X, y, weights

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return Table(
            self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows]
        )

    def __repr__(self):
        return f"Table({self.X!r}, {self.y!r}, {self.weights!r})"

    def cuts(self, where):
        bounds = [0, *sorted(int(cut * len(self)) for cut in where), len(self)]
        return [self[slice(*pair)] for pair in itertools.pairwise(bounds)]


def make_table(n, d=4, dtype="float64", seed=0, n_classes=4, weighted=False, multilabel=False):
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "f":
        X = (rng.normal(size=(n, d)) + rng.normal(size=d)).astype(dtype)
    elif dtype.kind == "b":
        X = rng.random((n, d)) < 0.5
    else:
        low, high = max(np.iinfo(dtype).min, -(2**20)), min(np.iinfo(dtype).max, 2**20)
        X = rng.integers(low, high, size=(n, d), dtype=dtype, endpoint=True)
    y = rng.random((n, n_classes)) < 0.4 if multilabel else rng.integers(n_classes, size=n)
    return Table(X, y.astype(int), rng.exponential(size=n) + 0.01 if weighted else None)


@st.composite
def tables(draw, dtypes=(*INTEGERS, *FLOATS), min_rows=0, weighted=None, multilabel=None, d=None):
    dtype = draw(st.sampled_from(dtypes))
    if weighted is None:
        weighted = np.dtype(dtype).kind == "f" and draw(st.booleans())
    if multilabel is None:
        multilabel = draw(st.booleans())
    return make_table(
        draw(st.integers(min_rows, 30)),
        d or draw(st.integers(1, 6)),
        dtype,
        draw(st.integers(0, 1000)),
        weighted=weighted,
        multilabel=multilabel,
    )


CUTS = st.lists(st.floats(0, 1), max_size=4)
CUT = st.lists(st.floats(0, 1), min_size=1, max_size=1)
TWO_CUTS = st.lists(st.floats(0, 1), min_size=2, max_size=2)


def of(table, **kwargs):
    """Statistics of the classes that occur, about zero unless asked otherwise."""
    classes = np.arange(table.y.shape[1]) if table.y.ndim == 2 else np.unique(table.y)
    options = {"classes": classes, "shift": np.zeros(table.X.shape[1]), "n_jobs": 1} | kwargs
    return SufficientStatistics.from_data(table.X, table.y, sample_weight=table.weights, **options)


def empty_like(table, **kwargs):
    return of(table[:0], **kwargs)


def assert_close(a, b, rtol=1e-12, squares=0.0):
    """Check all sums to a tolerance relative to the rows' own size, or to a sum of squares."""
    assert (a.n_samples, a.n_features, a.multilabel) == (b.n_samples, b.n_features, b.multilabel)
    assert a.dtype == b.dtype
    assert_array_equal(a.classes, b.classes)
    assert_array_equal(a.class_counts, b.class_counts)
    assert_allclose(a.weight_sum, b.weight_sum, rtol=rtol)
    assert_allclose(a.class_weights, b.class_weights, rtol=rtol, atol=rtol * a.weight_sum)
    assert_array_equal(a.shift, b.shift)
    upper = np.triu_indices(a.n_features)
    scale = np.sqrt(np.abs(a.gram.diagonal()).max(initial=squares))
    assert_allclose(a.gram[upper], b.gram[upper], rtol=rtol, atol=rtol * scale**2)
    atol = rtol * scale * np.sqrt(a.weight_sum)
    assert_allclose(a.feature_sums, b.feature_sums, rtol=rtol, atol=atol)
    assert_allclose(a.class_sums, b.class_sums, rtol=rtol, atol=atol)


def assert_same(a, b):
    """Check equality: to the bit of integers, to rounding of floats."""
    if a.exact and b.exact:
        assert a == b
    else:
        assert_close(a, b, rtol=1e-5 if a.dtype == np.float32 else 1e-12)


def centred(statistics):
    """Centred Gram matrix, whatever the shift."""
    sums = statistics.feature_sums.astype(np.float64)
    gram = statistics.gram - np.outer(sums, sums) / statistics.weight_sum
    return np.triu(gram) + np.triu(gram, 1).T


def snapshot(statistics):
    return copy.deepcopy(statistics)


# ------------------------------------------------------------------------------------------------
# The group
# ------------------------------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match="Cannot sum no statistics"):
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


# ------------------------------------------------------------------------------------------------
# Weights
# ------------------------------------------------------------------------------------------------

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


# ------------------------------------------------------------------------------------------------
# Shifts and accuracy
# ------------------------------------------------------------------------------------------------


@laws
@given(tables(min_rows=1), st.integers(0, 1000))
def test_reshifted_statistics_are_those_of_reshifted_rows(table, seed):
    shift = np.random.default_rng(seed).integers(-8, 9, size=table.X.shape[1]) / 4
    direct = of(table, shift=shift)
    moved = of(table).reshift(shift)
    rtol = 1e-5 if table.X.dtype == np.float32 else 1e-12
    # What rounding leaves is relative to the rows about each of the shifts on the way.
    size = sum(np.abs(of(table, shift=s).gram.diagonal()).max() for s in (0 * shift, -shift))
    assert_close(moved, direct, rtol, size)
    assert_close(of(table).reshift(-shift).reshift(shift), direct, rtol, size)


@laws
@given(tables(), st.integers(0, 1000))
def test_shifting_there_and_back_changes_nothing(table, seed):
    d = table.X.shape[1]
    shift = np.random.default_rng(seed).integers(-1000, 1001, size=d)
    some = of(table)
    moved = some.reshift(shift)
    assert moved.exact == some.exact
    back = moved.reshift(np.zeros(d))
    if some.exact:
        assert back == some
    else:  # rounding is relative to the sums about the far shift
        atol = 1e-14 * some.weight_sum * (np.abs(shift).max() + 9.0) ** 2
        for name in ("gram", "feature_sums", "class_sums"):
            assert_allclose(getattr(back, name), getattr(some, name), rtol=1e-12, atol=atol)
    assert moved.reshift(shift) == moved


@laws
@given(tables(min_rows=2), CUT)
def test_the_centred_gram_does_not_depend_on_the_shift(table, cut):
    d = table.X.shape[1]
    expected = centred(of(table))
    rtol = 1e-5 if table.X.dtype == np.float32 else 1e-12
    atol = rtol * max(1.0, np.abs(of(table).gram).max())
    left, right = table.cuts(cut)
    automatic = (
        of(left, shift=None) + of(right, shift=None)
        if 0 < len(left) < len(table)
        else of(table, shift=None)
    )
    for statistics in (automatic, of(table, shift=np.full(d, 0.5)), of(table).reshift(np.ones(d))):
        assert_allclose(centred(statistics), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("shift", [np.zeros(4), np.arange(4.0), np.arange(4) / 8])
def test_reshifting_in_the_same_memory_gives_the_same(shift, dtype):
    some = of(make_table(50, dtype=dtype))
    assert snapshot(some).reshift(shift, overwrite=True) == some.reshift(shift)


def test_reshifting_leaves_the_original_alone():
    for dtype in ("uint8", "float64"):
        some = of(make_table(9, dtype=dtype))
        before = snapshot(some)
        for shift in (np.zeros(4), np.ones(4), np.full(4, 0.5)):
            moved = some.reshift(shift)
            for name in ("gram", "feature_sums", "class_sums"):
                getattr(moved, name)[...] = 99
        assert some == before


def test_integer_sums_become_floats_about_a_fractional_shift():
    some = of(make_table(9, dtype="uint8"))
    assert some.exact
    assert not some.reshift(np.full(4, 0.5)).exact


@pytest.mark.parametrize("power", [20, 29, 30, 40])
def test_integer_sums_do_not_wrap_around_when_the_shift_goes_far(power):
    table = make_table(100, dtype="uint8")
    shift = 2.0**power
    moved = of(table).reshift(np.full(4, shift))
    rows = [[mpmath.mpf(int(v)) - shift for v in row] for row in table.X]
    expected = [[float(mpmath.fdot(zip(a, b, strict=True))) for b in zip(*rows, strict=True)]
                for a in zip(*rows, strict=True)]  # fmt: skip
    assert_allclose(np.triu(moved.gram), np.triu(expected), rtol=1e-14)


def test_reshifting_does_not_need_a_certain_memory_order():
    some = of(make_table(9))
    other = replace(some, gram=np.asfortranarray(some.gram))
    assert other.reshift(np.ones(4)) == some.reshift(np.ones(4))


@pytest.mark.parametrize(
    "shift", [np.zeros(3), 0.0, np.zeros((4, 1)), np.full(4, np.nan), np.full(4, np.inf)]
)
def test_a_shift_that_cannot_be_is_refused(shift):
    for dtype in ("uint8", "float64"):
        with pytest.raises(ValueError, match="shift"):
            of(make_table(9, dtype=dtype)).reshift(shift)


def centred_in_many_digits(X, weights=None):
    """Centred Gram matrix of the very numbers in X, in 50 digits."""
    with mpmath.workdps(50):
        weights = [mpmath.mpf(w) for w in (np.ones(len(X)) if weights is None else weights)]
        columns = [[mpmath.mpf(float(v)) for v in column] for column in X.T]
        total = mpmath.fsum(weights)
        means = [mpmath.fdot(weights, column) / total for column in columns]
        away = [[v - mean for v in c] for c, mean in zip(columns, means, strict=True)]
        heavy = [[w * v for w, v in zip(weights, c, strict=True)] for c in away]
        return np.array([[float(mpmath.fdot(a, b)) for b in away] for a in heavy])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "mean", "rtol"),
    [("float64", 1e6, 1e-9), ("float64", 1e9, 1e-6), ("float32", 1e3, 1e-5)],
)
def test_a_large_mean_costs_no_accuracy(dtype, mean, rtol, n_parts, weighted):
    n, d = 1200, 4
    table = make_table(n, d, dtype, weighted=weighted)
    table.X += np.asarray(mean * np.array([1, -1, 3, 0]), dtype)
    expected = centred_in_many_digits(table.X, table.weights)
    parts = [of(part, shift=None) for part in table.cuts(np.arange(1, n_parts) / n_parts)]
    assert_array_equal(parts[0].shift != 0, [True, True, True, False])
    scale = np.sqrt(expected.diagonal())
    error = np.abs(centred(SufficientStatistics.sum(parts)) - expected) / np.outer(scale, scale)
    assert error.max() < rtol
    if n_parts > 1:  # forgetting loses no more
        error = centred(SufficientStatistics.sum(parts) - parts[0]) - centred_in_many_digits(
            table.X[n // n_parts :],
            None if table.weights is None else table.weights[n // n_parts :],
        )
        assert (np.abs(error) / np.outer(scale, scale)).max() < 10 * rtol


@pytest.mark.parametrize("value", [3.3, -1e8, 1e-30])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_constant_column_has_no_variance_at_all(value, dtype):
    table = make_table(3000, dtype=dtype)
    table.X[:, 2] = value
    assert not centred(of(table, shift=None))[2].any()


# ------------------------------------------------------------------------------------------------
# Kinds of sums that meet
# ------------------------------------------------------------------------------------------------


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
    a, b, c = (SufficientStatistics.from_data(X[i : i + 1], y[i : i + 1]) for i in range(3))
    everything = SufficientStatistics.from_data(X, y)
    assert c + a + b == everything
    assert everything - b == (a + c if kind is not bool else everything - b)
    assert everything.classes.dtype == np.dtype(kind) or kind is str


# ------------------------------------------------------------------------------------------------
# What does not go together
# ------------------------------------------------------------------------------------------------


def _difference():
    """Sums that are nothing but rounding."""
    table = make_table(30, d=4)
    return of(table) + of(table[:7]) - of(table[:29])


def named(statistics, names):
    return replace(statistics, feature_names=np.array(names, dtype=object))


REFUSED = {
    "features": (lambda: of(make_table(9, d=3)), "3 features and of 4"),
    "multilabel": (lambda: of(make_table(9, multilabel=True)), "multilabel and of single-label"),
    "strings": (
        lambda: of(Table(np.ones((2, 4)), np.array(["a", "b"]))),
        r"labels .*'a', 'b'.*strings and numbers",
    ),
    "objects": (
        lambda: of(Table(np.ones((2, 4)), np.array(["a", "b"], object))),
        r"labels .*'a', 'b'.*strings and numbers",
    ),
    "names": (
        lambda: named(of(make_table(9)), ["a", "b", "x", "d"]),
        "column 2 is 'c' here and 'x' there",
    ),
}


@pytest.mark.parametrize(("other", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("operation", ["merge", "subtract"])
def test_statistics_that_do_not_fit_are_refused(operation, other, message):
    some = named(of(make_table(40)), ["a", "b", "c", "d"])
    before = snapshot(some)
    if operation == "merge":
        with pytest.raises(ValueError, match=f"Cannot merge statistics.*{message}"):
            some + other()
    else:  # labels of another kind are first of all labels that are not there
        with pytest.raises(
            ValueError, match=f"Cannot subtract .*{message}|Cannot forget .*'a', 'b'"
        ):
            some - other()
    assert some == before


def test_multilabel_statistics_of_other_widths_are_refused():
    a, b = (of(make_table(9, multilabel=True, n_classes=k)) for k in (4, 5))
    with pytest.raises(ValueError, match="5 labels and of 4"):
        a + b


def test_known_feature_names_prevail():
    a, names = of(make_table(9, dtype="uint8")), list("abcd")
    for total in (a + named(a, names), named(a, names) + a, named(a, names) + named(a, names)):
        assert_array_equal(total.feature_names, names)


def test_more_than_was_added_cannot_be_forgotten():
    table = make_table(30, dtype="uint8", n_classes=3)
    some = of(table[:10])
    with pytest.raises(ValueError, match=r"Cannot forget more rows than were added: 30 rows .* 10"):
        some - of(table)
    one_class = table[table.y == 1]
    with pytest.raises(ValueError, match=r"Cannot forget more rows .* class counts"):
        of(Table(table.X[:10], np.arange(10) % 3)) - of(one_class[:6])
    with pytest.raises(ValueError, match=r"Cannot forget rows of classes \[7\]"):
        some - of(Table(table.X[:1], np.array([7])))


# ------------------------------------------------------------------------------------------------
# Copies and text
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate",
    [
        *(lambda s, p=p: pickle.loads(pickle.dumps(s, p)) for p in (2, pickle.HIGHEST_PROTOCOL)),
        copy.deepcopy,
        SufficientStatistics.copy,
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_copies_are_equal_and_independent(duplicate, dtype):
    some = named(of(make_table(9, dtype=dtype)), list("abcd"))
    before, other = snapshot(some), duplicate(some)
    assert other == some
    for name in ("shift", "gram", "feature_sums", "class_counts", "class_weights", "class_sums"):
        getattr(other, name)[...] = 99
    assert some == before


@pytest.mark.parametrize("table", [make_table(0), make_table(9, d=500, n_classes=100)], ids=len)
def test_the_text_is_short_and_says_the_sizes(table):
    text = repr(of(table))
    assert len(text) < 200
    assert str(len(table)) in text
    assert f"{table.X.shape[1]} features" in text


# ------------------------------------------------------------------------------------------------
# Files
# ------------------------------------------------------------------------------------------------


def labelled(values, dtype=None):
    table = make_table(40, dtype="uint8", n_classes=len(values))
    return of(Table(table.X, np.array(values, dtype=dtype)[table.y]))


SAVED = {
    "integers": lambda: of(make_table(9, dtype="uint8")),
    "float64": lambda: of(make_table(9, weighted=True), shift=None),
    "float32": lambda: of(make_table(9, dtype="float32"), shift=None),
    "no rows": lambda: of(make_table(0)),
    "multilabel": lambda: of(make_table(9, multilabel=True)),
    "names": lambda: named(of(make_table(9)), ["a", "ü", "", "a long name"]),
    "strings": lambda: labelled(["no", "yes", "vielleicht", "ja ‱"]),
    "object strings": lambda: labelled(["no", "yes", "maybe"], object),
    "booleans": lambda: labelled([False, True]),
    "floats": lambda: labelled([-1.0, 0.0, 2.0]),
    "uint64": lambda: labelled([1, 2**64 - 1], np.uint64),
    "NUL at the end": lambda: named(
        labelled(["a", "a\0", "a\0\0"], object), ["x", "x\0", "", "\0"]
    ),
    "dates": lambda: labelled(["2017-05-01", "2026-11-26"], "M8[D]"),
    "durations": lambda: labelled([1, 60], "m8[s]"),
    "one column": lambda: of(make_table(9, d=1)),
    "difference": lambda: _difference(),
}


@pytest.fixture(params=SAVED)
def some(request):
    return SAVED[request.param]()


def dump(statistics):
    stream = io.BytesIO()
    statistics.save(stream)
    return stream.getvalue()


def parse(content):
    return SufficientStatistics.load(io.BytesIO(content))


def assert_restored(loaded, statistics):
    assert loaded == statistics
    for field in fields(statistics):
        value, expected = getattr(loaded, field.name), getattr(statistics, field.name)
        assert type(value) is type(expected)
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype
            assert value.flags.writeable
    assert loaded + loaded == statistics + statistics


def test_saving_and_loading_changes_nothing(some, tmp_path):
    for path in (tmp_path / "a.npz", str(tmp_path / "no suffix")):
        some.save(path)
        assert_restored(SufficientStatistics.load(path), some)
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "no suffix"]
    assert_restored(parse(dump(some)), some)
    assert dump(some) == (tmp_path / "a.npz").read_bytes()


def test_a_stream_may_begin_anywhere():
    some, stream = of(make_table(9)), io.BytesIO()
    stream.write(b"before")
    some.save(stream)
    stream.seek(6)
    assert_restored(SufficientStatistics.load(stream), some)


def test_a_saved_file_holds_one_triangle():
    assert len(dump(of(make_table(9, d=300)))) < 0.6 * 300 * 300 * 8


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of files are not of this kind")
def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "any").write_bytes(b"")
    of(make_table(9)).save(tmp_path / "saved")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("any", "saved")]
    assert modes[0] == modes[1]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path, old = tmp_path / "statistics.npz", of(make_table(9))
    old.save(path)

    def full_disk(stream, **arrays):
        stream.write(b"half of it")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        with pytest.raises(OSError, match="No space left"):
            of(make_table(20)).save(path)
    with pytest.raises(ValueError, match="neither numbers, strings nor dates"):
        replace(old, classes=np.array([None, 1, 2, 3], dtype=object)).save(path)
    assert SufficientStatistics.load(path) == old
    assert os.listdir(tmp_path) == ["statistics.npz"]
    of(make_table(20)).save(path)
    assert SufficientStatistics.load(path) == of(make_table(20))


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        SufficientStatistics.load(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError):
        of(make_table(9)).save(tmp_path / "no folder" / "statistics.npz")


def not_loaded(path):
    return pytest.raises(
        ValueError, match=f"Cannot load sufficient statistics from {re.escape(repr(str(path)))}: "
    )


def test_a_truncated_file_is_refused_at_every_length(tmp_path):
    content, path = dump(of(make_table(9, d=2))), tmp_path / "cut.npz"
    for length in [*range(0, len(content), 7), *range(len(content) - 60, len(content))]:
        path.write_bytes(content[:length])
        with not_loaded(path):
            SufficientStatistics.load(path)


@pytest.mark.parametrize("flip", [0xFF, 0x01, 0x20, 0x80])
def test_a_flipped_byte_is_refused_or_does_not_matter(flip):
    some = of(make_table(9, d=2, dtype="uint8"))
    content, n_refused = dump(some), 0
    for position in range(flip % 3, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= flip
        try:
            assert parse(bytes(damaged)) == some
        except ValueError as error:
            assert "Cannot load sufficient statistics from the stream: " in str(error)
            n_refused += 1
    assert n_refused > 0.5 * len(content) / 3


def crafted(changes=None, **arrays):
    """A file like a saved one but for these entries; None leaves one out."""
    with np.load(io.BytesIO(dump(three_classes()))) as archive:
        entries = {name: archive[name] for name in archive.files}
    changed = json.loads(entries["header"].tobytes()) | (changes or {})
    entries["header"] = np.frombuffer(json.dumps(changed).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **{k: v for k, v in (entries | arrays).items() if v is not None})
    return stream.getvalue()


def three_classes():
    return of(make_table(9, d=2, dtype="uint8", n_classes=3))


def test_a_crafted_file_without_changes_loads():
    assert parse(crafted()) == three_classes()


UNLIKE = {
    "other format": ({"format": "something else"}, {}, "format is 'something else'"),
    "newer version": ({"version": 3}, {}, "version 3 is newer than 2"),
    "text version": ({"version": "1"}, {}, ""),
    "other dtype": ({"dtype": "<i4"}, {}, "coefficients cannot be int32"),
    "object dtype": ({"dtype": "|O"}, {}, "coefficients cannot be object"),
    "no dtype": ({"dtype": "none"}, {}, ""),
    "endless rows": ({"n_samples": float("inf")}, {}, ""),
    "negative rows": ({"n_samples": -1}, {}, ""),
    "other rows": ({"n_samples": 10}, {}, ""),
    "weights not a number": ({"weight_sum": float("nan")}, {}, ""),
    "no header": ({}, {"header": None}, "header"),
    "header of text": ({}, {"header": np.array("text")}, ""),
    "header of objects": ({}, {"header": np.frombuffer(b"[1, 2]", np.uint8)}, ""),
    "header without end": ({}, {"header": np.frombuffer(b"[" * 99_999, np.uint8)}, ""),
    "no shift": ({}, {"shift": None}, "shift"),
    "no triangle": ({}, {"triangle": None}, "triangle"),
    "short shift": ({}, {"shift": np.zeros(1)}, "feature_sums has shape"),
    "scalar shift": ({}, {"shift": np.array(0.0)}, ""),
    "long triangle": ({}, {"triangle": np.zeros(4, np.int64)}, "triangle has shape"),
    "square triangle": ({}, {"triangle": np.zeros((2, 2), np.int64)}, "triangle has shape"),
    "class sums": ({}, {"class_sums": np.zeros((2, 3), np.int64)}, "class_sums has shape"),
    "column of classes": ({}, {"classes": np.zeros((3, 1))}, "classes has shape"),
    "other sums": ({}, {"triangle": np.zeros(3, np.float32)}, "sums are float32"),
    "mixed sums": ({}, {"triangle": np.zeros(3)}, "feature_sums is int64"),
    "float counts": ({}, {"class_counts": np.ones(3)}, "class_counts is float64"),
    "negative counts": ({}, {"class_counts": np.array([10, -4, 3])}, ""),
    "other counts": ({}, {"class_counts": np.array([1, 1, 1])}, ""),
    "classes descending": ({}, {"classes": np.array([2, 1, 0])}, "classes"),
    "classes repeated": ({}, {"classes": np.array([0, 1, 1])}, "classes"),
    "feature names": ({"feature_names": ["a"]}, {}, "feature_names has shape"),
    "no features": (
        {},
        {
            **{name: np.zeros(0) for name in ("shift", "rounding")},
            **{name: np.zeros(0, np.int64) for name in ("feature_sums", "triangle")},
            "class_sums": np.zeros((3, 0), np.int64),
        },
        "no features",
    ),
    "more rows than can be": ({"n_samples": 10**30}, {}, "cannot be 10+ rows"),
    "negative squares": ({}, {"triangle": np.array([-1, 0, 1])}, "sum of squares is negative"),
    "sums beyond squares": ({}, {"feature_sums": np.array([10**6, 0])}, "sums of a column"),
    "negative weights": (
        {},
        {"class_weights": np.array([12.0, -4.0, 1.0])},
        "weights of the classes",
    ),
    "other weights": ({}, {"class_weights": np.ones(3)}, "do not add up"),
    "weighted integers": (
        {"weight_sum": 18.0},
        {"class_weights": 2.0 * np.bincount(make_table(9, d=2, dtype="uint8", n_classes=3).y)},
        "not the numbers of rows",
    ),
    "endless weights": ({"weight_sum": 1e308}, {}, "do not add up"),
    "negative rounding": ({}, {"rounding": np.full(2, -1.0)}, "rounding"),
    "endless rounding": ({}, {"rounding": np.full(2, np.inf)}, "rounding"),
    "no rounding": ({}, {"rounding": None}, "rounding"),
    "rows as a float": ({"n_samples": 9.0}, {}, "header's n_samples is 9.0"),
    "rows as text": ({"n_samples": "9"}, {}, "header's n_samples is '9'"),
    "weights as text": ({"weight_sum": "9"}, {}, "header's weight_sum"),
    "multilabel as a number": ({"multilabel": 1}, {}, "header's multilabel is 1"),
    "labels as a number": ({"labels_are_objects": 0}, {}, "header's labels_are_objects"),
    "version as a flag": ({"version": True}, {}, "header's version is True"),
    "labels that are no text": ({"labels": [1, 2, 3]}, {}, "header's labels are not strings"),
    "names that are no text": ({"feature_names": [1, 2]}, {}, "feature_names are not strings"),
    "short rounding": ({}, {"rounding": np.zeros(1)}, "rounding"),
    "no label": ({}, {"classes": np.array([0.0, 1.0, np.nan])}, "classes"),
    "no time": ({}, {"classes": np.array([1, 2, "NaT"], "M8[D]")}, "classes"),
    "not finite": ({}, {"class_weights": np.array([1, np.nan, 1])}, "class_weights is not finite"),
}


@pytest.mark.parametrize(("header", "arrays", "message"), UNLIKE.values(), ids=UNLIKE)
def test_a_file_that_is_not_like_a_saved_one_is_refused(header, arrays, message, tmp_path):
    path = tmp_path / "crafted.npz"
    path.write_bytes(crafted(header, **arrays))
    with not_loaded(path) as caught:
        SufficientStatistics.load(path)
    assert re.search(message, str(caught.value))


def npy_header(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def zipped(name, content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def npy():
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        npy(),
        zipped("header", "text"),
        zipped("header.npy", "text"),
        zipped("header.npy", npy_header(f"({10**15},)")),
        zipped("header.npy", npy_header(f"({10**21},)")),
        pickle.dumps(three_classes()),
    ],
    ids=["empty", "text", "npy", "text entry", "no npy", "huge", "huger", "pickle"],
)
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with not_loaded(path):
        SufficientStatistics.load(path)


class MakesFolder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_an_unknown_member_is_not_read():
    stream = io.BytesIO(crafted())
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("anything.npy", npy_header(f"({2**25},)") + bytes(2**28))
    assert len(stream.getvalue()) < 2**20
    tracemalloc.start()
    assert parse(stream.getvalue()) == three_classes()
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_a_member_larger_than_the_file_is_refused_before_it_is_read():
    content, many = bytearray(zipped("header.npy", npy_header(f"({2**27},)"))), 2**30 + 128
    entry = content.index(b"PK\x01\x02")  # of the central directory
    content[entry + 20 : entry + 28] = many.to_bytes(4, "little") * 2
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"'header' is said to have {many} bytes"):
        parse(bytes(content))
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_differences_are_saved_and_loaded_whatever_rounding_left_of_them(
    dtype, multilabel, version
):
    rng = np.random.default_rng(0)
    for _ in range(60):
        n, d = rng.integers(4, 40), rng.integers(1, 4)
        X = 10.0 ** rng.uniform(0, 2) * (rng.normal(size=(n, d)) + 10.0 ** rng.uniform(0, 4))
        X = (X % 256).astype(dtype) if dtype == "uint8" else X.astype(dtype)
        y = rng.integers(0, 2, (n, 3)) if multilabel else np.arange(n) % 3
        weights = 10.0 ** rng.uniform(-9, 9, n) if rng.random() < 0.7 else None
        some = slice(0, rng.integers(1, n + 1))
        parts = [
            SufficientStatistics.from_data(
                X[rows], y[rows], sample_weight=None if weights is None else weights[rows],
                classes=np.arange(3),
            )
            for rows in (slice(None), some)
        ]  # fmt: skip
        rest = parts[0] - parts[1]
        assert rest.weight_sum >= 0.0 and (rest.class_weights >= 0.0).all()
        empty = rest.class_counts == 0
        assert not rest.class_sums[empty].any() and not rest.class_weights[empty].any()
        if rest.n_samples == 0:
            assert not rest.gram.any() and rest.weight_sum == 0.0
        stream = io.BytesIO()
        if version == 2:
            rest.save(stream)
            assert parse(stream.getvalue()) == rest
            continue
        # Version 1 kept what rounding left.
        some = replace(
            rest,
            gram=rest.gram - np.triu(np.ones_like(rest.gram)),
            class_weights=rest.class_weights - 1e-3,
        )
        loaded = parse(as_first_version(some))
        assert_array_equal(loaded.gram, some.gram if rest.n_samples else rest.gram)
        assert (loaded.class_weights >= 0.0).all()
        assert (loaded.rounding >= -loaded.gram.diagonal()).all()


def as_first_version(statistics):
    """What version 1 wrote, which had no rounding errors."""
    header = {
        "format": "parallel_ridge.SufficientStatistics", "version": 1,
        "n_samples": int(statistics.n_samples), "weight_sum": float(statistics.weight_sum),
        "dtype": statistics.dtype.str, "multilabel": statistics.multilabel,
        "labels_are_objects": False,
    }  # fmt: skip
    arrays = ["shift", "feature_sums", "classes", "class_counts", "class_weights", "class_sums"]
    entries = {name: getattr(statistics, name) for name in arrays}
    entries["triangle"] = statistics.gram[np.triu_indices(statistics.n_features)]
    if statistics.feature_names is not None:
        entries["feature_names"] = statistics.feature_names.astype(str)
    stream = io.BytesIO()
    np.savez(stream, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **entries)
    return stream.getvalue()


@pytest.mark.parametrize("member", ["triangle", "header", "classes"])
def test_a_compressed_or_doubled_member_is_refused(member, tmp_path):
    with zipfile.ZipFile(io.BytesIO(crafted())) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for number, kind in enumerate((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)):
        path = tmp_path / f"{number}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                own = kind if name == f"{member}.npy" else zipfile.ZIP_STORED
                archive.writestr(name, content, own)
            if kind == zipfile.ZIP_STORED:
                with pytest.warns(UserWarning, match="Duplicate name"):
                    archive.writestr(f"{member}.npy", entries[f"{member}.npy"])
        with not_loaded(path) as caught:
            SufficientStatistics.load(path)
        assert re.search(f"{member}.* is compressed|two members .*{member}", str(caught.value))


@pytest.mark.parametrize("names", [None, ["a", "b"]])
@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"]])
def test_files_of_the_first_version_load(labels, names, tmp_path):
    table = make_table(300, d=2, n_classes=3)
    y = np.array(labels)[table.y]
    statistics = SufficientStatistics.from_data(table.X, y)
    if names:
        statistics = named(statistics, names)
    path = tmp_path / "first.npz"
    path.write_bytes(as_first_version(statistics))
    assert SufficientStatistics.load(path) == statistics


@pytest.mark.parametrize("entry", ["header", "classes", "feature_names"])
def test_nothing_in_a_file_is_executed(entry, tmp_path):
    trap = np.array([MakesFolder(tmp_path / "executed")] * 3, dtype=object)
    path = tmp_path / "trap.npz"
    path.write_bytes(crafted(**{entry: trap}))
    with not_loaded(path):
        SufficientStatistics.load(path)
    assert os.listdir(tmp_path) == ["trap.npz"]
    np.load(path, allow_pickle=True)[entry]  # the trap does work
    assert (tmp_path / "executed").is_dir()


@pytest.mark.parametrize("shift", [[1.0], [np.nan] * 5, np.zeros((5, 1))], ids=str)
def test_a_shift_that_does_not_fit_the_features_is_refused(shift):
    X = np.random.default_rng(0).normal(size=(20, 5))
    with pytest.raises(ValueError, match="shift must be 5 finite numbers"):
        SufficientStatistics.from_data(X, np.arange(20) % 2, shift=shift)


# ------------------------------------------------------------------------------------------------
# How statistics travel
# ------------------------------------------------------------------------------------------------


@laws
@given(tables())
def test_packed_statistics_add_as_statistics_do(table):
    shape = table.X.shape[1], table.X.dtype
    other = make_table(
        9, *shape, 5, weighted=table.weights is not None, multilabel=table.y.ndim == 2
    )
    a, b = (of(some, classes=np.arange(4)) for some in (table, other))
    expected, untouched = a + b, a.copy()
    kept, used = a.pack(), b.copy().pack(overwrite=True)
    assert a == untouched
    d, k = a.n_features, a.n_classes
    assert [len(array) for array in kept] == [d * (d + 1) // 2, d + k * d, 1 + k, 1 + k + d]
    assert all(array.flags.c_contiguous for array in kept)
    found = a.unpack([x + y for x, y in zip(kept, used, strict=True)])
    assert replace(found, rounding=expected.rounding) == expected
    # Sums over ranks add up as if their errors were not independent.
    assert (found.rounding <= 2.0 * expected.rounding).all()
    assert (found.rounding >= (0.4 if len(table) else 1.0) * expected.rounding).all()


@laws
@given(tables())
def test_what_was_packed_into_its_own_memory_comes_back(table):
    a = of(table)
    twin = a.copy()
    arrays = twin.pack(overwrite=True)
    assert np.shares_memory(arrays[0], twin.gram)
    back = twin.unpack(arrays)
    assert back == a and not arrays
    assert np.shares_memory(back.gram, twin.gram)  # no second matrix


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_pickles_hold_a_triangle(dtype):
    a = of(make_table(50, 200, dtype))
    content = pickle.dumps(a, protocol=5)
    assert pickle.loads(content) == a
    assert len(content) < 8 * (200 * 201 / 2 + 7 * 200) + 4000


@pytest.mark.parametrize("largest", [1, 2**31 - 1, 2**31 + 1, 2**40])
@pytest.mark.parametrize("sign", [1, -1])
def test_pickles_hold_integers_in_as_few_bytes_as_they_need(largest, sign):
    a = of(make_table(50, 100, "uint8"))
    a.gram[:] = np.minimum(a.gram, largest)
    a.gram[3, 7] = sign * largest
    content = pickle.dumps(a, protocol=5)
    again = pickle.loads(content)
    assert again == a and again.gram.dtype == np.int64
    assert (len(content) < 30_000) == (largest < 2**31)  # 5,050 numbers, and some more


def test_a_gram_matrix_in_floats_is_pickled_as_it_is():
    a = of(make_table(50, 20, "uint8")).reshift(np.ones(20), floats=True)
    again = pickle.loads(pickle.dumps(a))
    assert again.gram.dtype == np.float64 and again == a


def test_labels_are_asked_for():
    with pytest.raises(ValueError, match="y is missing: pass the labels of the rows of X"):
        SufficientStatistics.from_data(np.eye(3))


def test_exact_statistics_are_not_equal_to_rounded_ones():
    a = of(make_table(20, dtype="uint8"))
    assert a == a.copy() and a != a.to_float() and a.to_float() == a.to_float()


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_fold_of_groups_is_a_fold_of_each(dtype, sparse):
    table = make_table(3000, 6, dtype, weighted=dtype != "uint8")
    X = sp.csr_matrix(table.X) if sparse else table.X
    source, target = as_source(X, table.y, sample_weight=table.weights)
    reduction = StatisticsReduction.of(source, target)
    group = np.random.default_rng(0).integers(0, 5, 3000)
    group[group == 3] = 2  # a group without rows
    for table_of, n in ((range(5), 5), ([1, -1, 0, 0, 1], 2)):
        grouped = source.grouped(group, table_of)
        number = np.asarray(table_of)[group]
        assert grouped.n_rows == (number >= 0).sum()
        for threads in (1, 2):
            values = OpenMPBackend(threads).fold(GroupedReduction([reduction] * n), grouped)
            for g in range(n):
                rows = np.flatnonzero(number == g)
                assert values[g] == OpenMPBackend(1).fold(reduction, source.take(rows))


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_exact_gram_rounds_to_float64_as_it_moves(overwrite):
    some = of(make_table(9, dtype="uint8"))
    shift = np.arange(float(some.n_features))
    expected = some.reshift(shift)
    moved = snapshot(some).reshift(shift, overwrite=overwrite, floats=True)
    assert moved.gram.dtype == np.float64
    assert_array_equal(moved.gram, expected.gram)  # and zeros below the diagonal
    assert_array_equal(moved.feature_sums, expected.feature_sums)


def test_triangles_scale_to_a_unit_diagonal():
    A = np.triu(np.random.default_rng(0).normal(size=(9, 9)))
    A[np.diag_indices(9)] = np.arange(1.0, 10)
    factors, norm = 1 / np.sqrt(A.diagonal()), np.zeros(9)
    whole = (A + np.triu(A, 1).T) * factors * factors[:, None]
    for out in (np.zeros((9, 9)), A):
        norm[:] = 0
        _triangle.scale(A, factors, out, norm)
        assert_allclose(out, np.triu(whole), rtol=1e-14, atol=1e-15)
        assert_allclose(norm, np.abs(whole).sum(axis=0), rtol=1e-14)


# ------------------------------------------------------------------------------------------------
# Labels of several origins
# ------------------------------------------------------------------------------------------------

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
    with pytest.raises(ValueError, match="does not hold the label 1152921504606846977"):
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
