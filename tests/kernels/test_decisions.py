"""Decisions: the kernel gives what NumPy gives, in every layout, type, level and division of rows."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge.kernels import _decide, _fold
from parallel_ridge.reductions import LinearMap

TYPES = ["f4", "f8", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?"]


@pytest.fixture(params=_fold.levels())
def level(request, monkeypatch):
    monkeypatch.setenv("PARALLEL_RIDGE_CPU", request.param)
    return request.param


def make(n, d, v, seed=0, dtype="f8", real="f8"):
    """Rows and coefficients of small integers: sums are exact in either type."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2 if dtype == "?" else 9, (n, d)).astype(dtype)
    return X, rng.integers(-9, 9, (v, d)).astype(real), rng.integers(-9, 9, v).astype(real)


def expected(X, coefs, intercepts):
    return X.astype(coefs.dtype) @ coefs.T + intercepts


def values(X, coefs, intercepts, n_threads=1):
    out = np.full((len(X), len(intercepts)), np.nan, intercepts.dtype)
    assert _decide.values(X, intercepts, coefs, out, n_threads) == len(X)
    return out


def codes(X, coefs, intercepts, t, n_threads=1, table=None):
    out = np.full((len(X), len(intercepts) // t), -7)
    assert _decide.codes(X, intercepts, coefs, t, out, table, n_threads) == len(X)
    return out


def first_largest(found, t):
    groups = found.reshape(-1, found.shape[1] // t, t)
    return (groups[:, :, 0] > 0).astype(int) if t == 1 else groups.argmax(axis=2)


@pytest.mark.parametrize("v", [1, 600, 1100])
def test_rows_without_columns_have_the_intercepts(level, v):
    for dtype in ("u1", "f8"):
        X, coefs, intercepts = np.zeros((10, 0), dtype), np.zeros((v, 0)), np.arange(v) - 3.0
        assert_array_equal(values(X, coefs, intercepts), np.tile(intercepts, (10, 1)))


@pytest.mark.parametrize("real", ["f4", "f8"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("n", "d", "v"), [(1, 3, 2), (7, 1, 1), (50, 9, 5), (233, 37, 41), (40, 900, 3)]
)
def test_all_types_of_rows(level, n, d, v, dtype, real):
    X, coefs, intercepts = make(n, d, v, dtype=dtype, real=real)
    assert_array_equal(values(X, coefs, intercepts), expected(X, coefs, intercepts))


@pytest.mark.parametrize(
    "layout",
    ["columns", "every second", "backwards", "rows backwards", "a part", "one row repeated"],
)
@pytest.mark.parametrize(("n", "v"), [(5, 4), (300, 1), (300, 40), (2100, 1500)])
def test_all_layouts_of_rows(layout, n, v):
    X, coefs, intercepts = make(n, 20, v, real="f4", dtype="f4")
    wide = np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)
    rows = {
        "columns": np.asfortranarray(X),
        "every second": wide[::2, ::2],
        "backwards": np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
        "rows backwards": np.ascontiguousarray(X[::-1])[::-1],
        "a part": np.concatenate([X, X], axis=1)[:, :20],
        "one row repeated": np.broadcast_to(X[:1], X.shape),
    }[layout]
    rows.flags.writeable = False
    assert_array_equal(values(rows, coefs, intercepts), expected(rows, coefs, intercepts))


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(0, 70),
    d=st.integers(1, 20),
    t=st.integers(1, 70),
    groups=st.integers(1, 40),
    real=st.sampled_from(["f4", "f8"]),
    n_threads=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_a_code_is_the_first_largest_value(n, d, t, groups, real, n_threads, seed):
    X, coefs, intercepts = make(n, d, groups * t, seed, "u1", real)
    X, coefs = X // 4, coefs // 6  # ties abound
    found = codes(X, coefs, intercepts // 4, t, n_threads)
    assert_array_equal(found, first_largest(values(X, coefs, intercepts // 4), t))


@pytest.mark.parametrize("t", [900, 3000])
def test_groups_longer_than_a_strip(level, t):
    X, coefs, intercepts = make(60, 700, 2 * t, real="f4", dtype="f4")
    X[:5], intercepts[:] = 0.0, 3.0  # all values of a row tie
    found = codes(X, coefs, intercepts, t, 2)
    assert_array_equal(found, first_largest(expected(X, coefs, intercepts), t))
    assert not found[:5].any()


def test_an_entry_of_the_table_stands_for_a_code():
    X, coefs, intercepts = make(90, 5, 6)
    table = np.array([30, -1, 7, 2**60, 5, 6])
    found = codes(X, coefs, intercepts, 6, table=table)
    assert_array_equal(found, table[codes(X, coefs, intercepts, 6)])
    signs = codes(X, coefs[:1], intercepts[:1], 1)
    assert_array_equal(codes(X, coefs[:1], intercepts[:1], 1, table=table[:2]), table[:2][signs])


@pytest.mark.parametrize(("d", "v"), [(5, 1), (29, 1), (30, 10), (700, 900)])
def test_bits_do_not_depend_on_threads_or_neighbours(level, d, v):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4500, d)).astype("f4")
    coefs, intercepts = rng.normal(size=(v, d)).astype("f4"), rng.normal(size=v).astype("f4")
    all_rows = values(X, coefs, intercepts)
    assert_array_equal(values(X, coefs, intercepts, 3), all_rows)
    some = rng.permutation(4500)[:77]
    assert_array_equal(values(X[some], coefs, intercepts), all_rows[some])
    # Few rows are multiplied in another order.
    assert_allclose(values(X[:5], coefs, intercepts), all_rows[:5], atol=2e-6 * d)
    assert_allclose(all_rows, X.astype("f8") @ coefs.T + intercepts, atol=2e-6 * d)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize(("n", "v"), [(4, 3), (500, 1), (500, 3), (2500, 700)])
def test_the_first_row_that_is_not_finite(level, n, v, bad):
    X, coefs, intercepts = make(n, 600, v, dtype="f4", real="f4")
    coefs += 20.0
    rows = sorted({1, n // 2, n - 1})
    while rows:
        for row in rows:
            X[row, [13, 14]] = bad
        for n_threads in (1, 3):
            out = np.empty((n, v), "f4")
            assert _decide.values(X, intercepts, coefs, out, n_threads) == rows[0]
            out = np.empty((n, 1), np.int64)
            assert _decide.codes(X, intercepts, coefs, v, out, None, n_threads) == rows[0]
        X[rows.pop(0)] = 0.0


@pytest.mark.parametrize(("n", "v"), [(4, 3), (500, 1), (500, 37), (2500, 700)])
def test_a_single_value_that_overflows(level, n, v):
    X, coefs = np.zeros((n, 600), "f4"), np.zeros((v, 600), "f4")
    X[n - 2, 13] = 3e38
    for one in {0, v // 2, v - 1}:
        coefs[:] = 0.0
        coefs[one, 13] = -20.0  # never the largest
        out = np.empty((n, v), "f4")
        assert _decide.values(X, np.zeros(v, "f4"), coefs, out, 2) == n - 2
        out = np.empty((n, 1), np.int64)
        assert _decide.codes(X, np.zeros(v, "f4"), coefs, v, out, None, 2) == n - 2


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 40),
    t=st.integers(1, 30),
    groups=st.integers(1, 9),
    seed=st.integers(0, 99),
    first=st.integers(0, 1),
    several=st.booleans(),
    real=st.sampled_from(["f4", "f8"]),
)
def test_squared_errors(n, t, groups, seed, first, several, real):
    rng = np.random.default_rng(seed)
    X, coefs, intercepts = make(n, 4, groups * t, seed, real=real, dtype=real)
    lengths = rng.integers(0, t + first + 1, n) if several else np.ones(n, int)
    labels = [rng.choice(t + first, length, replace=False) for length in lengths]
    y = np.full((n, t + first), -1.0)
    for row, some in zip(y, labels, strict=True):
        row[some] = 1.0
    flat = np.concatenate([*labels, []]).astype(np.int32)
    ptr = np.concatenate([[0], np.cumsum(lengths)]) if several else None
    offsets, scales, weights = rng.normal(size=t), rng.random((n, groups)), rng.random(n)
    found = np.ones((groups, t + 1))
    bad = _decide.add_errors(
        X, intercepts, coefs, found, offsets, scales, weights, flat, ptr, first
    )
    assert bad == n
    products = expected(X, coefs, intercepts).reshape(n, groups, t)
    squares = ((y[:, None, first:] - offsets - products) * scales[:, :, None]) ** 2
    squares *= weights[:, None, None]
    assert_allclose(found[:, :-1], 1.0 + squares.sum(axis=0), rtol=1e-12)
    assert_allclose(found[:, -1], 1.0 + (squares.mean(axis=2) ** 2).sum(axis=0), rtol=1e-12)
    plain = np.zeros((groups, t + 1))
    assert _decide.add_errors(X, intercepts, coefs, plain) == n
    assert_allclose(plain[:, :-1], (products**2).sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("v", [1, 6, 40])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "f2", ">f8"])
def test_maps_read_rows_of_every_kind(dtype, v):
    X, coefs, intercepts = make(300, 12, v, dtype=dtype, real="f4")
    linear = LinearMap(coefs, intercepts)
    kinds = [X, np.asfortranarray(X)]
    if dtype in ("f4", "f8", "i4"):
        kinds.append(sp.csr_matrix(X))
    for rows in kinds:
        found, bad = linear.all_values(rows)
        assert bad == 300
        assert found.dtype == ("f4" if dtype in ("f4", "f2") else "f8")
        assert_array_equal(found, expected(X.astype("f8"), coefs.astype("f8"), intercepts))
        out = np.empty((300, 1), np.int64)
        assert linear.codes(rows, v, out) == 300
        assert_array_equal(out, first_largest(found, v))


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        (
            "a matrix of aligned",
            (np.zeros((3, 2), ">f8"), np.zeros(4), np.zeros((4, 2)), np.zeros((3, 4))),
        ),
        ("coefficients per", (np.zeros((3, 2)), np.zeros(4), np.zeros((4, 3)), np.zeros((3, 4)))),
        ("coefficients per", (np.zeros((3, 2)), np.zeros(4), np.zeros((5, 2)), np.zeros((3, 4)))),
        ("an output per", (np.zeros((3, 2)), np.zeros(4), np.zeros((4, 2)), np.zeros((2, 4)))),
        ("an output per", (np.zeros((3, 2)), np.zeros(4), np.zeros((4, 2)), np.zeros((3, 5)))),
        ("a column per value", (np.zeros((3, 2)), np.zeros(4), None, np.zeros((3, 4)))),
        (
            "a positive number",
            (np.zeros((3, 2)), np.zeros(4), np.zeros((4, 2)), np.zeros((3, 4)), 0),
        ),
    ],
)
def test_arrays_that_do_not_match_are_refused(message, arguments):
    with pytest.raises(ValueError, match=message):
        _decide.values(*arguments)


def test_codes_and_errors_refuse_what_does_not_match():
    X, coefs, intercepts = make(5, 3, 4)
    with pytest.raises(ValueError, match="an output per row and group"):
        _decide.codes(X, intercepts, coefs, 3, np.empty((5, 1), np.int64))
    with pytest.raises(ValueError, match="an entry per position"):
        _decide.codes(X, intercepts, coefs, 4, np.empty((5, 1), np.int64), np.arange(3))
    good = {"labels": np.zeros(5, np.int32)}
    for message, options in (
        ("an offset per target", {"offsets": np.zeros(3)}),
        ("a scale per row", {"scales": np.zeros((5, 2))}),
        ("a weight per row", {"weights": np.zeros(4)}),
        ("a label per row", {"labels": np.zeros(4, np.int32)}),
        ("labels that are classes", {"labels": np.full(5, 4, np.int32)}),
        ("labels that are classes", {"labels": np.full(5, -1, np.int32)}),
        ("labels of each row", {"label_ptr": np.arange(5), **good}),
        ("labels that are classes", {"label_ptr": np.array([0, 4, 3, 3, 3, 5]), **good}),
        ("a class", {"first_target": -1, **good}),
    ):
        with pytest.raises(ValueError, match=message):
            _decide.add_errors(X, intercepts, coefs, np.zeros((1, 5)), **options)
