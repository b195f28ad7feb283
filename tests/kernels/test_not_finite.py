"""Rows that are not finite, or too large."""

import numpy as np
import pytest
import scipy.sparse as sp
from _data.kernels import assert_sums, make_labels, make_rows, of

BAD_VALUES = [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]


def refused(row, column, name):
    return pytest.raises(ValueError, match=rf"contains {name}: row {row}, column {column}\b")


@pytest.mark.parametrize(("value", "name"), BAD_VALUES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (256, 96), (599, 129)])
def test_a_value_that_is_not_finite_is_named(row, column, dtype, value, name, level):
    X = make_rows(600, 130, dtype)
    X[row, column] = value
    for kwargs in ({}, {"shift": None}, {"sample_weight": np.arange(600.0)}, {"n_jobs": 2}):
        with refused(row, column, name):
            of(X, **kwargs)
    with refused(row, column, name):
        of(X, np.zeros((600, 2), int), classes=None)  # rows of no class
    if dtype != "float16":  # which SciPy has no sparse matrices of
        for kwargs in ({}, {"sample_weight": np.arange(600.0)}):
            with refused(row, column, name):
                of(sp.csr_matrix(X), **kwargs)


@pytest.mark.parametrize(("value", "name"), BAD_VALUES[:2])
@pytest.mark.parametrize("kind", ["float32", "float64", "sparse"])
def test_a_value_in_a_late_block_is_named(kind, value, name):
    n, d, row = 25_000, 200, 24_321  # 200 columns: blocks of 16,384 rows
    X = np.zeros((n, d), "float32" if kind == "float32" else "float64")
    X[row, 3] = X[row, 150] = X[row + 9, 0] = value
    X = sp.csr_matrix(X) if kind == "sparse" else X
    with refused(row, 3, name):
        of(X)


def test_infinities_of_both_signs_are_named():
    X = make_rows(600, 5, "float64")
    X[300, 2], X[301, 2] = np.inf, -np.inf
    with refused(300, 2, "infinity"):
        of(X)


def test_rows_of_no_weight_are_checked_too():
    X = make_rows(20, 5, "float64")
    X[7, 4] = np.nan
    with refused(7, 4, "NaN"):
        of(X, sample_weight=np.arange(20) != 7)


@pytest.mark.parametrize("weights", [None, np.full(300, 2.0)])
def test_values_too_large_for_their_products_are_refused(weights, level):
    X = make_rows(300, 50, "float32")
    X[:, 31] *= np.float32(1e30)
    with pytest.raises(ValueError, match=r"Column 31 .*too large .*float32.*pass X as float64"):
        of(X, sample_weight=weights)
    assert_sums(of(X.astype(np.float64), sample_weight=weights), X, make_labels(300), weights)
    assert np.isfinite(of(sp.csr_matrix(X), sample_weight=weights).gram).all()  # float64 products
    X = X.astype(np.float64)
    X[:, 31] *= 1e140
    for rows in (X, sp.csr_matrix(X)):
        with pytest.raises(ValueError, match=r"Column 31 .*too large .*float64"):
            of(rows, sample_weight=weights)


def test_values_too_large_for_their_sums_are_refused():
    X = np.full((300, 2), 1.7e308)
    for rows in (X, sp.csr_matrix(X)):
        with pytest.raises(ValueError, match=r"Column 0 .*too large for sums"):
            of(rows)
