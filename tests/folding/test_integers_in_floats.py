"""Rows of wide types that hold small integers only are summed exactly, block by block."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    SufficientStatistics,
    sufficient_statistics,
)
from parallel_ridge.backends import OpenMPBackend
from parallel_ridge.reductions import (
    GroupedReduction,
    StatisticsOptions,
    StatisticsReduction,
    fold_statistics,
)
from parallel_ridge.reductions import _statistics as reductions
from parallel_ridge.sources import as_source

WIDE = ["float32", "float64", "int32", "int64", "float16", "uint32", ">f8", ">i4"]
LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "rows apart": lambda X: np.repeat(X, 2, axis=0)[::2],
    "columns apart": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "upside down": lambda X: X[::-1].copy()[::-1],
}
RANGES = {"uint8": (0, 255), "int8": (-128, 127)}
# Blocks that are bytes, wide integers, both signs at once, and no integers; and what float64
# reductions do with them.
KINDS = {
    "bytes": lambda rng, shape: rng.integers(0, 256, shape),
    "signed": lambda rng, shape: rng.integers(-128, 128, shape),
    "both": lambda rng, shape: rng.choice([-128, -1, 0, 1, 255], shape),
    "wide": lambda rng, shape: rng.choice([-(2**21), -129, 0, 256, 2**21], shape),
    "minus zero": lambda rng, shape: rng.choice([-0.0, 0.0, 1.0], shape),
    "zero": lambda rng, shape: np.zeros(shape),
    "quarters": lambda rng, shape: rng.integers(-8, 8, shape) / 4,
    "large": lambda rng, shape: rng.integers(2**21 + 1, 2**22, shape),
}
EXACT = set(KINDS) - {"quarters", "large"}


def bytes_of(n=700, d=9, dtype="uint8", seed=0, n_classes=3):
    rng = np.random.default_rng(seed)
    low, high = RANGES[dtype]
    X = rng.integers(low, high, (n, d), dtype=dtype, endpoint=True)
    X[rng.random((n, d)) < 0.3] = 0
    return X, rng.integers(n_classes, size=n)


def reduced(X, y, reduction, block_rows=64, n_threads=1, classes=3):
    """Value of a reduction of short blocks."""
    reduction.block_rows = block_rows
    source, _ = as_source(X, y, classes=np.arange(classes))
    return OpenMPBackend(n_threads).reduce(reduction, source)


def reduction_of(X, y, classes=3, **options):
    source, target = as_source(X, y, classes=np.arange(classes))
    return StatisticsReduction.of(source, target, StatisticsOptions(**options))


def seeking(X, y, shift):
    """The reduction that a sample of bytes leads to."""
    _, target = as_source(X, y, classes=np.arange(3))
    return StatisticsReduction(
        target, X.shape[1], X.dtype,
        sparse=False, weighted=False, exact=False, integers=True, shift=shift,
    )  # fmt: skip


def same_sums(a, b):
    """Whether statistics are equal to the bit, but perhaps for the dtype of coefficients."""
    return replace(a, dtype=b.dtype) == b


def check_sums(found, X, y, exact):
    """Compare with sums in Python's fractions."""
    assert found.exact == exact
    rows = [[Fraction(value) for value in row] for row in X.tolist()]
    shift = [Fraction(value) for value in found.shift.tolist()]
    rows = np.array(
        [[a - b for a, b in zip(row, shift, strict=True)] for row in rows], dtype=object
    ).reshape(X.shape)
    gram, sums = rows.T @ rows, rows.sum(axis=0)
    bound = 8 * np.sqrt(np.outer(found.rounding, found.rounding))
    for i in range(X.shape[1]):
        for j in range(i, X.shape[1]):
            error = abs(Fraction(found.gram[i, j].item()) - gram[i, j])
            assert error <= Fraction(bound[i, j])
    scale = [
        0 if exact else 1e-13 * float(sum(abs(value) for value in column)) for column in rows.T
    ]
    for c in range(3):
        expected = rows[y == c].sum(axis=0)
        for j in range(X.shape[1]):
            assert abs(Fraction(found.class_sums[c, j].item()) - expected[j]) <= scale[j]
    for j in range(X.shape[1]):
        assert abs(Fraction(found.feature_sums[j].item()) - sums[j]) <= scale[j]
    assert_array_equal(found.class_counts, np.bincount(y, minlength=3))
    assert found.n_samples == found.weight_sum == len(X)


# ------------------------------------------------------------------------------------------------
# Blocks of integers only: the answer of integers
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("narrow", ["uint8", "int8"])
def test_sums_have_the_bits_of_bytes(narrow, dtype, layout):
    if narrow == "int8" and dtype == "uint32":
        return
    X, y = bytes_of(dtype=narrow)
    expected = sufficient_statistics(X, y)
    wide = LAYOUTS[layout](X.astype(dtype))
    for n_jobs in (1, 2, 3, 4):
        found = sufficient_statistics(wide, y, n_jobs=n_jobs)
        assert found.exact
        assert found.dtype == (np.float32 if dtype in ("float16", "float32") else np.float64)
        assert same_sums(found, expected)


@pytest.mark.parametrize("dtype", ["float64", "int32", "int64"])
def test_sums_at_every_level(dtype, monkeypatch):
    from parallel_ridge.kernels import _fold

    X, y = bytes_of(1300, 101)
    X = X.astype(dtype)
    X[700:] *= np.where(np.arange(101) % 2, 1, -3).astype(dtype)  # no bytes
    expected = sufficient_statistics(X.astype(np.int16), y)
    for level in _fold.levels():
        monkeypatch.setenv("PARALLEL_RIDGE_CPU", level)
        for n_threads in (1, 3):
            found = reduced(X, y, seeking(X, y, np.zeros(101)), 650, n_threads)
            assert same_sums(found, expected)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_models_are_those_of_bytes(dtype, multilabel):
    X, y = bytes_of(900, 20)
    y = np.eye(3, dtype=int)[y] | (X[:, :3] > 200) if multilabel else y
    for options in ({}, {"fit_intercept": False}, {"standardize": True, "alpha": 0.1}):
        expected = ParallelRidgeClassifier(**options).fit(X, y)
        found = ParallelRidgeClassifier(**options).fit(X.astype(dtype), y)
        coef = expected.coef_.astype("f4" if dtype == "float32" else "f8")
        assert found.coef_.dtype == coef.dtype
        assert_array_equal(found.coef_, coef)
        assert_array_equal(found.intercept_, np.asarray(expected.intercept_, coef.dtype))


@pytest.mark.filterwarnings("ignore:The best alpha")
def test_searches_and_batches_are_those_of_bytes():
    X, y = bytes_of(600, 12)
    options = {"alphas": [0.1, 1.0, 1e3], "cv": 5, "store_statistics": True}
    expected = ParallelRidgeClassifierCV(**options).fit(X, y)
    found = ParallelRidgeClassifierCV(**options).fit(X.astype(float), y)
    assert found.statistics_ == expected.statistics_
    assert_array_equal(found.coef_, expected.coef_)
    for name in ("mean_test_score", "std_test_score"):
        assert_array_equal(found.cv_results_[name], expected.cv_results_[name])
    stream = ParallelRidgeClassifier()
    for rows in (slice(0, 1), slice(1, 350), slice(350, 600)):
        stream.partial_fit(X[rows].astype(float), y[rows], np.arange(3))
    assert stream.statistics_ == expected.statistics_
    rest = expected.statistics_ - sufficient_statistics(X[:100] * 1.0, y[:100])
    assert rest == sufficient_statistics(X[100:], y[100:])


def test_ill_conditioned_integers_are_refined_and_not_summed_again(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 200, (2000, 6)).astype("f4")
    X[:, 5] = X[:, 4] + (np.arange(2000) == 77)  # a copy but for one row
    y = X[:, 0] > 100
    folds = []
    fold = OpenMPBackend.reduce
    monkeypatch.setattr(
        OpenMPBackend, "reduce", lambda self, *args: folds.append(args[0]) or fold(self, *args)
    )
    model = ParallelRidgeClassifier(alpha=1e-9).fit(X, y)
    assert model.solver_ == "cholesky"
    assert len(folds) == 1
    expected = ParallelRidgeClassifier(alpha=1e-9).fit(X.astype(np.uint8), y)
    assert_array_equal(model.coef_, expected.coef_.astype("f4"))


# ------------------------------------------------------------------------------------------------
# Blocks of all kinds
# ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(0, 99),
    st.randoms(use_true_random=False),
)
def test_blocks_of_any_kinds_in_any_order(kinds, d, seed, random):
    rng = np.random.default_rng(seed)
    parts = [KINDS[kind](rng, (32, d)).astype(float) for kind in kinds]
    X, y = np.vstack(parts), rng.integers(3, size=32 * len(kinds))
    shift = np.rint(rng.normal(scale=3.0, size=d))
    make = seeking(X, y, shift)
    found = [reduced(X, y, make, 32, n_threads) for n_threads in (1, 2, 3, 4)]
    assert all(other == found[0] for other in found)
    exact = EXACT.issuperset(kinds)
    check_sums(found[0], X, y, exact)
    assert_array_equal(found[0].shift, 0.0 * shift if exact else shift)
    order = list(range(len(kinds)))
    random.shuffle(order)
    rows = np.concatenate([np.arange(32 * i, 32 * i + 32) for i in order])
    other = reduced(X[rows], y[rows], make, 32)
    if exact:
        assert other == found[0]
    check_sums(other, X[rows], y[rows], exact)
    pieces = [reduced(X[32 * i : 32 * i + 32], y[32 * i : 32 * i + 32], make) for i in order]
    total = SufficientStatistics.sum(pieces)
    assert total.exact == exact
    check_sums(total, X, y, exact)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fractions_that_the_sample_misses(dtype):
    X, y = bytes_of(3000, 5)
    X = X.astype(dtype)
    step = -(-len(X) // reductions.SAMPLE_ROWS)
    X[step * 200 + 1, 2] = 0.5
    reduction = reduction_of(X, y)
    assert reduction.integers is not None
    for n_threads in (1, 2):
        found = reduced(X, y, reduction, 512, n_threads)
        assert not found.exact
        assert_array_equal(found.shift, np.rint(found.shift))
        gram = (X.astype(float) - found.shift).T @ (X.astype(float) - found.shift)
        assert_allclose(
            np.triu(found.gram), np.triu(gram), rtol=1e-13 if dtype == "float64" else 1e-6
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_that_are_not_finite_are_named(dtype, value):
    X, y = bytes_of(3000, 5)
    X = X.astype(dtype)
    for row in (0, 1, 2999):
        Z = X.copy()
        Z[row, 3] = value
        kind = "NaN" if np.isnan(value) else "infinity"
        with pytest.raises(ValueError, match=f"contains {kind}: row {row}, column 3"):
            sufficient_statistics(Z, y)


def test_sums_that_could_overflow_go_on_in_floats(monkeypatch):
    X, y = np.full((192, 2), 200.0), np.arange(192) % 3
    reduction = reduction_of(X, y)
    for blocks in range(4):
        monkeypatch.setattr(reductions, "LARGEST_SUM", 64 * 200**2 * blocks + 1)
        found = reduced(X, y, reduction, 64)
        assert found.exact == (blocks == 3)
        moved = found.reshift(np.zeros(2))
        assert_array_equal(np.triu(moved.gram), np.triu(X.T @ X))


def test_groups_may_differ():
    X, y = bytes_of(900, 4)
    X = X.astype(float)
    group = np.arange(900) // 300
    X[601, 1] += 0.5
    source, target = as_source(X, y)
    reduction = StatisticsReduction.of(source.take(np.arange(0, 900, 2)), target)
    assert reduction.integers is not None
    groups = source.grouped(group, [0, 1, 2, 3])
    found = OpenMPBackend(1).reduce(GroupedReduction([reduction] * 4), groups)
    assert [part.exact for part in found] == [True, True, False, True]
    assert found[3].n_samples == 0
    values, last = fold_statistics(OpenMPBackend(1).reduce, reduction, groups, 4)
    assert last is reduction
    assert_array_equal([part.n_samples for part in values], [300, 300, 300, 0])
    total = SufficientStatistics.sum(list(values))
    check_sums(total, X, y, False)
    assert_allclose(total.means, X.mean(axis=0), rtol=1e-14)


# ------------------------------------------------------------------------------------------------
# What is looked through, and what is not
# ------------------------------------------------------------------------------------------------


def test_other_rows_are_not_looked_through():
    X, y = bytes_of(800, 3)
    wide = X.astype(float)

    def looks(X, **options):
        return reduction_of(X, y, **options).integers is not None

    assert looks(wide)
    assert looks(wide, shift=np.zeros(3))
    assert looks(X.astype(np.int64) * 1000)
    assert not looks(X)
    assert not looks(X.astype(np.int16))
    assert not looks(wide + 0.5)
    assert not looks(wide * 2)  # float64 that are integers, but not bytes
    assert not looks(X.astype(np.int64) * 10**5)
    assert not looks(wide, shift=np.ones(3))
    assert not looks(wide, weighted=True)
    assert not looks(sp.csr_matrix(wide))
    source, target = as_source(wide, y, sample_weight=np.linspace(1, 2, 800))
    assert StatisticsReduction.of(source, target).integers is None


def test_no_rows_add_to_either_kind():
    X, y = bytes_of(50, 3)
    for rows in (X.astype(float), X + 0.5):
        none = sufficient_statistics(rows[:0], y[:0], classes=np.arange(3))
        some = sufficient_statistics(rows, y)
        assert none.n_samples == 0
        assert none + some == some + none == some


def test_memory_of_the_float_sums_is_taken_when_needed():
    X, y = bytes_of(300, 4)
    source, target = as_source(X.astype(float), y)
    reduction = StatisticsReduction.of(source, target)
    total = reduction.zero(2)
    (block,) = source.blocks(1000)
    reduction.add(total, block)
    assert total.grams == []
    assert total.exact is not None and total.n_samples == 0
    reduction.add(total, replace(block, X=block.X + 0.5))
    assert len(total.grams) == 1
    assert reduction.finish(total).n_samples == 600
