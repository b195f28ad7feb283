"""Cholesky factors and other work on triangles."""

import signal

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge.kernels import _lapack, _triangle


def positive_definite(d, seed=0):
    B = np.random.default_rng(seed).standard_normal((d, d + 5))
    return np.asfortranarray(B @ B.T)


@pytest.mark.parametrize("panel", [1, 7, 256])
@pytest.mark.parametrize("d", [1, 2, 7, 15, 255, 256, 257, 600])
def test_a_factor_in_panels_is_that_of_lapack(d, panel):
    matrix = positive_definite(d)
    factor = matrix.copy(order="F")
    assert _lapack.cholesky(factor, panel) == 0
    assert_allclose(np.tril(factor), np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-9)
    assert_array_equal(np.triu(factor, 1), np.triu(matrix, 1))  # not touched


@pytest.mark.parametrize("d", [0, 1, 7, 300])
def test_a_factor_solves(d):
    matrix = positive_definite(d)
    rhs = np.random.default_rng(1).normal(size=(d, 3))
    factor, columns = matrix.copy(order="F"), np.array(rhs, order="F")
    assert _lapack.cholesky(factor, 64) == 0
    _lapack.solve(factor, columns)
    assert_allclose(matrix @ columns, rhs, atol=1e-9)


@pytest.mark.parametrize("minor", [1, 4, 9, 30])
def test_the_first_minor_that_is_not_positive_is_told(minor):
    matrix = positive_definite(30)
    matrix[minor - 1, minor - 1] = -1.0
    assert _lapack.cholesky(matrix, 8) == minor


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal")
def test_a_factorisation_hears_signals():
    def interrupt(*_):
        raise KeyboardInterrupt

    matrix = np.asfortranarray(np.eye(4000))
    matrix[-1, -1] = 4.0
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            _lapack.cholesky(matrix, 64)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert matrix[-1, -1] == 4.0  # it had not come to its end


def lower_triangle(d, seed=0):
    """A symmetric matrix, and itself in Fortran order with nothing of use above the diagonal."""
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(d, d))
    whole += whole.T
    lower = np.asfortranarray(np.tril(whole) + np.triu(rng.normal(size=(d, d)), 1))
    return whole, lower


def band_of(matrix, width):
    """A symmetric matrix from the lower band of another."""
    lower = np.tril(np.triu(matrix, -width))
    return lower + np.tril(lower, -1).T


@pytest.mark.parametrize(
    ("d", "width"),
    [(0, 1), (1, 1), (2, 1), (3, 2), (40, 1), (64, 32), (65, 32), (100, 32), (131, 7)],
)
def test_a_triangle_is_rotated_to_a_band_and_back(d, width):
    whole, rotation = lower_triangle(d)
    triangles = np.zeros((width, width, max(0, d - 1) // width), order="F")
    _lapack.banded(rotation, triangles)
    form = band_of(rotation, width)
    Q = np.zeros((d, d + 3), order="F")
    np.fill_diagonal(Q, 1.0)
    _lapack.rotate(rotation, triangles, Q, True, identity=True)
    assert not Q[:, d:].any()
    Q = Q[:, :d]
    assert_allclose(Q.T @ Q, np.eye(d), atol=1e-13)
    assert_allclose(Q @ form @ Q.T, whole, atol=1e-12 * (d + 1))
    columns = np.asfortranarray(np.random.default_rng(1).normal(size=(d, 5)))
    rotated = columns.copy(order="F")
    _lapack.rotate(rotation, triangles, rotated, False)
    assert_allclose(rotated, Q.T @ columns, atol=1e-13 * (d + 1))
    _lapack.rotate(rotation, triangles, rotated, True)
    assert_allclose(rotated, columns, atol=1e-13 * (d + 1))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("n", "p", "blocks", "b"), [(0, 2, 3, 4), (1, 1, 1, 1), (700, 3, 5, 8)])
def test_squares_of_solutions(n, p, blocks, b, dtype):
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(n, blocks * b)).astype(dtype)
    own, before = rng.normal(size=(2, p, blocks, b, b)).astype(dtype) / 4
    out = np.full((n, p), np.nan, dtype)
    _lapack.solution_squares(rows, own, before, out)
    for s in range(p):
        z, squares = np.zeros((n, b)), 0.0
        for k in range(blocks):
            z = rows[:, k * b : (k + 1) * b] @ own[s, k].T - (z @ before[s, k].T if k else 0.0)
            squares = squares + (z * z).sum(axis=1)
        assert_allclose(out[:, s], squares, 1e-12 if dtype == "f8" else 1e-4)


def test_a_band_that_is_not_positive_definite_has_no_factor():
    band = np.asfortranarray([[1.0, 1.0, 1.0], [0.5, 2.0, 0.0]])
    assert _lapack.band_cholesky(band, 3.5) == 0.0


@pytest.mark.parametrize("d", [0, 1, 2, 50])
def test_eigenvectors_of_a_triangle(d):
    whole, vectors = lower_triangle(d)
    values = np.empty(d)
    assert _lapack.eigenvectors(vectors, values) == 0
    assert_allclose(values, np.linalg.eigvalsh(whole), atol=1e-12)
    assert_allclose(whole @ vectors, vectors * values, atol=1e-12 * (d + 1))


@pytest.mark.parametrize("total", [np.float64, np.int64])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_a_triangle_is_packed_in_its_own_memory_and_unpacked(d, total):
    matrix = np.arange(1, d * d + 1).reshape(d, d).astype(total)
    rows = matrix[np.triu_indices(d)]
    packed = np.empty(d * (d + 1) // 2, total)
    _triangle.pack(matrix, packed)
    assert_array_equal(packed, rows)
    for stored in {np.dtype(total), np.dtype(np.int32)} if total == np.int64 else {np.dtype(total)}:
        out = np.zeros((d, d), total)
        _triangle.unpack(packed.astype(stored), out)
        assert_array_equal(out, np.triu(matrix))
    expected = np.triu(matrix)
    own = matrix.reshape(-1)[: len(packed)]
    _triangle.pack(matrix, own)
    assert_array_equal(own, rows)
    _triangle.unpack(own, matrix)
    assert_array_equal(np.triu(matrix), expected)


@pytest.mark.parametrize("total", [np.float64, np.int64])
@pytest.mark.parametrize("d", [0, 1, 2, 7])
def test_a_triangle_is_poured_into_another_once(d, total):
    into, other = (np.arange(s, s + d * d).reshape(d, d).astype(total) for s in (1, 100))
    expected = np.triu(into + other) + np.tril(into, -1)
    left = np.tril(other, -1)
    for _ in range(2):  # the second time there is nothing left
        _triangle.pour(into, other)
        assert_array_equal(into, expected)
        assert_array_equal(other, left)


@pytest.mark.parametrize("kept", [[], [0], [3], [1, 2], [0, 2, 4], [0, 1, 2, 3, 4]])
def test_some_rows_and_columns_of_a_triangle_move_together(kept):
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    expected = np.triu(matrix[np.ix_(kept, kept)])
    _triangle.select(matrix, np.array(kept, dtype=np.intp))
    m = len(kept)
    assert_array_equal(np.triu(matrix.reshape(-1)[: m * m].reshape(m, m)), expected)
