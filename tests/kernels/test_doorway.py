"""The doorway to the kernels."""

import numpy as np
import pytest
from _data.kernels import fold_dense, make_labels, make_rows
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge.kernels import _fold


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float64"])
@pytest.mark.parametrize("n_lanes", [1, 2, 7])
@pytest.mark.parametrize("n_threads", [1, 2, 3])  # fewer than lanes, as many, and more
@pytest.mark.parametrize(("n", "d"), [(1, 1), (257, 5), (1025, 97), (700, 200), (9001, 3)])
def test_lanes_share_the_rows_out_and_stay_in_their_workspace(
    n, d, n_threads, n_lanes, dtype, level
):
    X, labels = make_rows(n, d, dtype, "runs"), make_labels(n).astype(np.int32)
    gram, class_sums = fold_dense(X, labels, n_lanes=n_lanes, n_threads=n_threads)
    rows = X.astype(np.float64)
    tolerance = {"rtol": 0, "atol": 0} if X.dtype.kind in "ui" else {"rtol": 1e-4, "atol": 1e-3}
    assert_allclose(gram, np.triu(rows.T @ rows), **tolerance)  # nothing below the diagonal
    members = (labels[:, None] == np.arange(3)).astype(float)
    assert_allclose(class_sums, members.T @ rows, **tolerance)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float64"])
def test_rows_are_added_to_what_is_there(dtype, level):
    X, labels = make_rows(300, 101, dtype), make_labels(300).astype(np.int32)
    totals = np.int64 if X.dtype.kind in "ui" else np.float64
    into = [np.full((101, 101), 7, totals)], np.full((1, 3, 101), -7, totals)
    gram, class_sums = fold_dense(X, labels, into=into)
    clean_gram, clean_sums = fold_dense(X, labels)
    assert_allclose(gram, clean_gram + 7, rtol=1e-12)
    assert_allclose(class_sums, clean_sums - 7, rtol=1e-12, atol=1e-10)
    assert_array_equal(gram[np.tril_indices(101, -1)], 7)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_fold(shape):
    gram, class_sums = fold_dense(np.empty(shape), np.zeros(shape[0], np.int32))
    assert not gram.any()
    assert not class_sums.any()


def test_the_processor_is_described():
    assert _fold.max_threads() >= 1
    assert isinstance(_fold.has_openmp(), bool)
