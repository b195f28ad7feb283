"""Weights, multilabel targets and shifts."""

import numpy as np
import pytest
import scipy.sparse as sp
from _data.kernels import assert_sums, make_labels, make_rows, make_sparse, of
from numpy.testing import assert_array_equal


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("d", [5, 130])
def test_weighted_sums(d, dtype, level):
    n = 700
    X, y = make_rows(n, d, dtype, "runs"), make_labels(n)
    weights = np.random.default_rng(2).exponential(size=n)
    weights[::5] = 0.0
    statistics = of(X, y, sample_weight=weights)
    assert not statistics.exact
    assert_sums(statistics, X, y, weights)


@pytest.mark.parametrize("sparse_targets", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "sparse"])
def test_multilabel_sums(kind, weighted, sparse_targets):
    n, d = 900, 110
    X = make_sparse(n, d) if kind == "sparse" else make_rows(n, d, kind)
    Y = (np.random.default_rng(3).random((n, 3)) < [0.1, 0.5, 0.8]).astype(int)
    Y[:300] = 0  # rows of no class count too
    weights = np.random.default_rng(2).exponential(size=n) if weighted else None
    targets = sp.csr_matrix(Y) if sparse_targets else Y
    statistics = of(X, targets, sample_weight=weights)
    assert statistics.multilabel
    assert_sums(statistics, X.toarray() if kind == "sparse" else X, Y, weights)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_shifted_sums(weighted, dtype, level):
    n, d = 600, 60
    X, y = make_rows(n, d, dtype), make_labels(n)
    shift = np.arange(d) / 4  # exact in float32
    weights = np.random.default_rng(2).exponential(size=n) if weighted else None
    statistics = of(X, y, shift=shift, sample_weight=weights)
    assert_array_equal(statistics.shift, shift)
    assert_sums(statistics, X.astype(np.float64) - shift, y, weights)
