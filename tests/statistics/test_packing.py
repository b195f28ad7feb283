"""How statistics travel between processes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from _data.statistics import laws, make_table, of, snapshot, tables
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge import OpenMPBackend, sufficient_statistics
from parallel_ridge.kernels import _triangle
from parallel_ridge.reductions import GroupedReduction, StatisticsReduction
from parallel_ridge.sources import as_source


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
        sufficient_statistics(np.eye(3))


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
            values = OpenMPBackend(threads).reduce(GroupedReduction([reduction] * n), grouped)
            for g in range(n):
                rows = np.flatnonzero(number == g)
                assert values[g] == OpenMPBackend(1).reduce(reduction, source.take(rows))


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
