"""Sparse rows."""

import numpy as np
import pytest
import scipy.sparse as sp
from _data.kernels import WIDTHS, assert_sums, make_labels, make_sparse, of
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge.kernels import _fold


def shuffled_within_rows(X):
    """The same matrix with indices in no order."""
    X = X.copy()
    for begin, end in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        order = np.random.default_rng(begin).permutation(end - begin)
        X.indices[begin:end] = X.indices[begin:end][order]
        X.data[begin:end] = X.data[begin:end][order]
    X.has_sorted_indices = False
    return X


def with_duplicates(X):
    parts = X.tocoo()
    data = np.concatenate([parts.data - parts.data // 2, parts.data // 2])
    n_entries = np.diff(X.indptr)
    order = np.argsort(np.tile(np.repeat(np.arange(X.shape[0]), n_entries), 2), kind="stable")
    return sp.csr_matrix((data[order], np.tile(X.indices, 2)[order], 2 * X.indptr), shape=X.shape)


def with_wide_indices(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def with_mixed_indices(X):
    X = X.copy()
    X.indices = X.indices.astype(np.int64)
    return X


def with_explicit_zeros(X):
    X = X.copy()
    X.data[::3] = 0
    return X


def with_strided_values(X):
    X = X.copy()
    X.data, X.indices = np.repeat(X.data, 2)[::2], np.repeat(X.indices, 2)[::2]
    return X


SPARSE_FORMS = {
    "plain": lambda X: X,
    "sparse array": sp.csr_array,
    "unsorted": shuffled_within_rows,
    "duplicates": with_duplicates,
    "int64 indices": with_wide_indices,
    "mixed indices": with_mixed_indices,
    "explicit zeros": with_explicit_zeros,
    "strided values": with_strided_values,
    "csc": sp.csc_matrix,
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("form", SPARSE_FORMS)
def test_sparse_rows_give_the_sums_of_dense_ones(form, dtype):
    n, d = 700, 130
    X = make_sparse(n, d, dtype)
    X.data[X.indptr[5] : X.indptr[40]] = 0
    X.eliminate_zeros()  # now there are rows with no entries
    X, y = SPARSE_FORMS[form](X), make_labels(n)
    before = X.data.copy(), X.indices.copy(), X.indptr.copy()
    statistics = of(X, y)
    assert statistics.dtype == (np.float32 if dtype == "float32" else np.float64)
    assert_sums(statistics, X.toarray(), y, rtol=1e-12)
    weights = np.random.default_rng(2).exponential(size=n)
    assert_sums(of(X, y, sample_weight=weights), X.toarray(), y, weights, rtol=1e-12)
    for now, then in zip((X.data, X.indices, X.indptr), before, strict=True):
        assert_array_equal(now, then)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("density", [0.02, 1.0])
def test_sparse_sums_at_every_width(d, density):
    X, y = make_sparse(257, d, density=density), make_labels(257)
    assert_sums(of(X, y), X.toarray(), y, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 600])
def test_sparse_rows_without_entries(n):
    X = sp.csr_matrix((n, 7))
    statistics = of(X, make_labels(n))
    assert statistics.n_samples == n
    assert not statistics.gram.any()
    assert not statistics.class_sums.any()


@pytest.mark.parametrize("value", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("n_lanes", [1, 3])
def test_every_sparse_kernel(n_lanes, index, value):
    n, d = 900, 101
    X, labels = make_sparse(n, d, value), make_labels(n).astype(np.int32)
    grams = [np.zeros((d, d)) for _ in range(n_lanes)]
    class_sums = np.zeros((n_lanes, 3, d))
    _fold.fold_csr(
        X.indptr.astype(index), X.indices.astype(index), X.data, d, None, labels, None,
        grams, class_sums, 2,
    )  # fmt: skip
    dense = X.toarray().astype(np.float64)
    assert_allclose(sum(grams), np.triu(dense.T @ dense), rtol=1e-12, atol=1e-12)
    expected = (labels[:, None] == np.arange(3)).T.astype(float) @ dense
    assert_allclose(class_sums.sum(axis=0), expected, rtol=1e-12, atol=1e-12)
