"""Shifts, and the accuracy of sums about them."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from _data.statistics import CUT, FLOATS, assert_close, laws, make_table, of, snapshot, tables
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge import SufficientStatistics


def centred(statistics):
    """Centred Gram matrix, whatever the shift."""
    sums = statistics.feature_sums.astype(np.float64)
    gram = statistics.gram - np.outer(sums, sums) / statistics.weight_sum
    return np.triu(gram) + np.triu(gram, 1).T


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
