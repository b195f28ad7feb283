"""Rows of a stream are dealt to folds that no order of the rows biases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from parallel_ridge.backends import get_backend
from parallel_ridge.model_selection import Dealer, deal
from parallel_ridge.sources import as_source


@given(st.integers(0, 10**10), st.integers(0, 300), st.integers(0, 300), st.integers(2, 12))
def test_the_edges_of_batches_change_no_fold(first, n, m, n_folds):
    parts = [deal(first, n, n_folds), deal(first + n, m, n_folds)]
    assert_array_equal(np.concatenate(parts), deal(first, n + m, n_folds))


@given(st.integers(1, 300), st.integers(2, 12))
def test_folds_are_balanced_at_any_time(n, n_folds):
    sizes = np.bincount(deal(0, n, n_folds), minlength=n_folds)
    assert len(sizes) == n_folds and np.ptp(sizes) <= 1
    assert (sizes > 0).sum() == min(n, n_folds)


@pytest.mark.parametrize("n_folds", [2, 3, 5, 10])
@pytest.mark.parametrize("period", [2, 3, 5, 10])
def test_classes_that_alternate_are_spread_over_all_folds(period, n_folds):
    n = 6000
    folds = deal(0, n, n_folds)
    table = np.zeros((period, n_folds))
    np.add.at(table, (np.arange(n) % period, folds), 1)
    expected = n / period / n_folds
    assert np.abs(table - expected).max() < 5 * expected**0.5  # five deviations of a random deal


@pytest.mark.parametrize("n_folds", [2, 5])
def test_neighbours_are_as_often_in_one_fold_as_chance_allows(n_folds):
    folds = deal(0, 20_000, n_folds)
    for lag in (1, 2, n_folds, 7 * n_folds):
        alike = (folds[lag:] == folds[:-lag]).mean()
        assert alike < 1 / n_folds + 0.02


def test_the_folds_of_later_versions_are_those_of_now():
    assert deal(0, 10, 5).tolist() == [1, 0, 3, 2, 4, 3, 1, 4, 0, 2]
    assert deal(10**9, 6, 3).tolist() == [2, 0, 0, 1, 2, 0]


def source_of(n):
    return as_source(np.ones((n, 1)), np.arange(n) % 2)[0]


def dealt(dealer, groups):
    return dealer.deal(get_backend("openmp"), source_of(len(groups)), groups)


@pytest.mark.parametrize("kind", [list, np.array, lambda g: np.array([f"s{i}" for i in g])])
@given(groups=st.lists(st.integers(0, 9), min_size=2, max_size=60), cut=st.integers(1, 59))
def test_groups_stay_in_one_fold_whatever_the_batches(kind, groups, cut):
    whole, _ = dealt(Dealer(3), kind(groups))
    cut = min(cut, len(groups) - 1)
    first, dealer = dealt(Dealer(3), kind(groups[:cut]))
    second, dealer = dealt(dealer, kind(groups[cut:]))
    assert_array_equal(np.concatenate([first, second]), whole)
    assert dealer.n_rows == len(groups) and len(dealer.groups) == len(set(groups))
    for group in set(groups):
        assert len({fold for fold, g in zip(whole, groups, strict=True) if g == group}) == 1


def test_groups_are_balanced_over_folds():
    folds, _ = dealt(Dealer(4), np.repeat(np.arange(30), 3))
    groups = np.bincount(folds[::3], minlength=4)
    assert np.ptp(groups) <= 1


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        ([1, 2], r"groups has shape \(2,\), expected \(4,\)"),
        (np.ones((4, 1)), r"shape \(4, 1\)"),
        ([1.0, 2.0, np.nan, 3.0], "missing value in row 2"),
        (np.array(["a", None, "b", "c"], object), "missing value in row 1"),
    ],
)
def test_bad_groups_are_refused_and_the_row_is_named(groups, match):
    with pytest.raises(ValueError, match=match):
        Dealer(3).deal(get_backend("openmp"), source_of(4), groups)


def test_rows_and_groups_do_not_mix():
    backend = get_backend("openmp")
    _, dealer = Dealer(3).deal(backend, source_of(4), None)
    with pytest.raises(ValueError, match=r"by the order of groups, and earlier .* order of rows"):
        dealer.deal(backend, source_of(4), [1, 2, 3, 4])
