"""No silent wrong answer: right to the promise on every road to a solution, or a warning."""

import os
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from _oracles import LONG, coded, relative_error, ridge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifier

from parallel_ridge import (
    IllConditionedWarning,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    SufficientStatistics,
    sufficient_statistics,
)

CONTAINERS = {"dense": np.asarray, "csr": sp.csr_matrix}
SOLVERS = ["auto", "cholesky", "eigen", "svd", "dual", "cg"]
FOUR_SOLVERS = ["auto", "eigen", "svd", "cg"]
ROADS = [*SOLVERS, "partial_fit", "fit_statistics", "coef_path", "search"]


def solve(road, X, y, w=None, *, cuts=(), backend="openmp", **options):
    """Coefficients, (t, d), of a model that was fitted by one of the roads to a solution."""
    options["backend"] = backend
    if road == "partial_fit":
        model = ParallelRidgeClassifier(**options)
        classes = np.unique(y)
        for start, stop in zip([0, *cuts], [*cuts, len(y)], strict=True):
            if stop > start:
                part = None if w is None else w[start:stop]
                model.partial_fit(X[start:stop], y[start:stop], classes, part)
    elif road == "fit_statistics":
        statistics = sufficient_statistics(X, y, sample_weight=w, backend=backend)
        model = ParallelRidgeClassifier(**options).fit_statistics(statistics)
    elif road == "coef_path":
        one = {**options, "alpha": 1.0, "solver": "cholesky", "store_statistics": True}
        model = ParallelRidgeClassifier(**one).fit(X, y, w)
        return np.atleast_2d(model.coef_path([options["alpha"]])[0][0])
    elif road == "search":
        alpha = options.pop("alpha")
        every = np.arange(X.shape[0])  # so that each training set is all rows
        model = ParallelRidgeClassifierCV([alpha], cv=[(every, every)], **options).fit(X, y, w)
    else:
        model = ParallelRidgeClassifier(solver=road, **options).fit(X, y, w)
    return np.atleast_2d(model.coef_)


def error(coef, X, y, w=None, alpha=1.0, objective="sum", fit_intercept=True, standardize=False):
    """Relative error of coefficients."""
    rows = X.toarray() if sp.issparse(X) else X
    exact, _ = ridge(rows, coded(y), alpha, w, fit_intercept, standardize, objective == "mean")
    return relative_error(coef, exact)


def labels(score, rng, noise=1.0):
    return (score + noise * rng.normal(size=len(score)) > 0).astype(int)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ------------------------------------------------------------------------------------------------
# The shift follows the data
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("level", [1e3, 1e4])
def test_a_stream_whose_level_jumps_is_as_accurate_as_scikit_learn(level, container, rng):
    away = rng.normal(size=(20_032, 10))
    y = labels(away[:, 0], rng)
    away[32:] += level
    X = away.astype(np.float32)
    coef = solve(
        "partial_fit", CONTAINERS[container](X), y, cuts=range(32, len(X), 2500), alpha=1.0
    )
    peer = RidgeClassifier().fit(X, y)
    assert error(coef, X, y) <= error(peer.coef_, X, y)


@pytest.mark.parametrize(
    ("dtype", "jump", "accuracy"), [("f4", 1e3, 1e-6), ("f8", 1e3, 1e-8), ("f8", 1e6, None)]
)
def test_a_window_over_a_jump_keeps_its_digits_or_says_so(dtype, jump, accuracy, rng):
    away = rng.normal(size=(4000, 6))
    y = labels(away[:, 0], rng)
    away[2000:] += jump
    X = away.astype(dtype)
    parts = [
        sufficient_statistics(X[i : i + 200], y[i : i + 200], classes=[0, 1])
        for i in range(0, 4000, 200)
    ]
    window = SufficientStatistics.sum(parts[:10])
    for old, new in zip(parts[:10], parts[10:], strict=True):
        window = window + new - old
    model = ParallelRidgeClassifier()
    if accuracy is None:  # 1e12 was added, and taken away: four digits of the variance are left
        with pytest.warns(IllConditionedWarning, match="rounding has taken"):
            model.fit_statistics(window)
        assert error(model.coef_, X[2000:], y[2000:]) < 1e-2
    else:
        model.fit_statistics(window)
        assert error(model.coef_, X[2000:], y[2000:]) < accuracy


def test_a_first_batch_of_little_weight_does_not_choose_the_shift(rng):
    X = np.r_[rng.normal(size=(50, 5)), rng.normal(size=(2000, 5)) + 1e6]
    y, w = rng.integers(0, 2, 2050), np.r_[np.full(50, 1e-9), np.ones(2000)]
    assert error(solve("partial_fit", X, y, w, cuts=[50], alpha=1.0), X, y, w) < 1e-8


def test_statistics_about_one_shift_stay_about_it(rng):
    X, y = rng.normal(size=(60, 4)) + 10.0, np.arange(60) % 2
    shift = np.full(4, 3.0)
    a, b = (sufficient_statistics(X[r], y[r], shift=shift) for r in (slice(20), slice(20, 60)))
    assert_allclose((a + b).shift, shift, rtol=0)
    assert_allclose((a + b - b).shift, shift, rtol=0)


def test_sums_know_what_they_have_lost(rng):
    X = rng.normal(size=(5000, 3)) + np.array([0.0, 1e3, 1e6])
    y = np.arange(5000) % 2
    for dtype in ("f4", "f8"):
        rows = X.astype(dtype)
        exact = rows.astype(LONG).T @ rows.astype(LONG)
        found = sufficient_statistics(rows, y, shift=np.zeros(3))
        off = np.abs(found.gram.diagonal() - exact.diagonal()).astype(float)
        assert (off <= 20.0 * found.rounding).all()
        assert (found.rounding <= 1e3 * np.finfo(dtype).eps * found.gram.diagonal()).all()
        twice = found + found
        assert (twice.rounding >= found.rounding).all()
        assert ((twice - found).rounding >= twice.rounding).all()
        moved = found.reshift(found.means)
        centred = rows.astype(LONG) - found.means
        off = np.abs(moved.gram.diagonal() - (centred**2).sum(axis=0)).astype(float)
        assert (off <= 20.0 * moved.rounding).all()
    whole = sufficient_statistics(np.rint(X).astype("i4"), y)
    assert whole.exact and not (whole + whole - whole).rounding.any()


def indicators(rng, n, d):
    """Standardised columns of two values each."""
    often = rng.uniform(0.02, 0.5, d)
    return ((rng.random((n, d)) < often) - often) / np.sqrt(often * (1.0 - often))


GRIDS = {
    "continuous": lambda rng, n, d: rng.normal(size=(n, d)),
    "indicators": indicators,
    "levels": lambda rng, n, d: rng.integers(0, 256, (n, d)) / 255.0,
    "float16": lambda rng, n, d: rng.normal(size=(n, d)).astype(np.float16),
    "bfloat16": lambda rng, n, d: (
        rng.normal(size=(n, d)).astype("f4").view("u4") & np.uint32(0xFFFF0000)
    ).view("f4"),
}


@pytest.mark.parametrize("n", [1_000, 30_000])
@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("batches", [1, 4])
@pytest.mark.parametrize("backend", ["openmp", "mpi"])
def test_sums_know_what_repeated_values_lose(kind, n, batches, backend, rng):
    X = np.ascontiguousarray(GRIDS[kind](rng, n, 12), np.float32)
    y = np.arange(n) % 2
    parts = [
        sufficient_statistics(X[rows], y[rows], backend=backend)
        for rows in np.array_split(np.arange(n), batches)
    ]
    found = SufficientStatistics.sum(parts)
    moved = X.astype(LONG) - found.shift
    exact = moved.T @ moved
    scale = np.sqrt(np.outer(exact.diagonal(), exact.diagonal())).astype(float)
    gram = np.triu(found.gram) + np.triu(found.gram, 1).T
    lost = np.linalg.norm((gram - exact).astype(float) / scale, 2)
    assert lost <= 12.0 * (found.rounding / exact.diagonal().astype(float)).max()
    if kind == "continuous":
        assert (found.rounding / found.gram.diagonal()).max() < 1e-7


@pytest.mark.parametrize("road", [*FOUR_SOLVERS, "cholesky", "search", "partial_fit", "coef_path"])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_repeated_values_lose_no_more_than_promised(road, alpha, weighted, rng):
    n = 40_000
    codes = [rng.choice(m, size=n, p=rng.dirichlet(np.ones(m))) for m in (8, 12, 30)]
    X = np.hstack([np.eye(m)[code] for m, code in zip((8, 12, 30), codes, strict=True)])
    X = X[:, X.std(axis=0) > 0.0]  # columns of a factor sum to one: they are collinear
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    y = (codes[0] % 2 + 0.3 * codes[1] * rng.normal(size=n) + codes[2] / 30 > 1).astype(int)
    w = np.arange(n) % 3 + 1.0 if weighted else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coef = solve(road, X, y, w, cuts=[15_000], alpha=alpha)
    expected = RidgeClassifier(alpha).fit(X.astype(float), y, w).coef_
    off = relative_error(coef, np.atleast_2d(expected))
    assert off < 2.3e-2 or any(IllConditionedWarning is one.category for one in caught)
    if road in ("auto", "cholesky", "svd", "cg"):  # which may read the rows again
        assert off < 1e-3


# ------------------------------------------------------------------------------------------------
# Rows far from zero
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "road", [*FOUR_SOLVERS, "partial_fit", "fit_statistics", "coef_path", "search"]
)
def test_a_time_stamp_is_a_column_like_others(road, container):
    i = np.arange(60.0)
    X, y = np.c_[i % 7, i % 5, 1.7e9 + i], (i > 30).astype(int)
    options = {"alpha": 1.0, "cuts": [20, 41]} if road == "partial_fit" else {"alpha": 1.0}
    coef = solve(road, CONTAINERS[container](X), y, **options)
    assert error(coef, X, y) < 1e-8
    model = ParallelRidgeClassifier().fit(CONTAINERS[container](X), y)
    assert model.score(CONTAINERS[container](X), y) == pytest.approx(59 / 60)


@pytest.mark.parametrize("at", [1e6, 1e7])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("road", ["auto", "dual", "svd", "search"])
def test_few_sparse_rows_far_from_zero(road, at, fit_intercept, rng):
    X, y = rng.normal(size=(20, 40)) + at, np.arange(20) % 3
    options = {"alpha": 1.0, "fit_intercept": fit_intercept}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coef = solve(road, sp.csr_matrix(X), y, **options)
    warned = any(issubclass(w.category, IllConditionedWarning) for w in caught)
    assert warned or error(coef, X, y, **options) < 1e-8
    assert not (warned and fit_intercept)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("road", ROADS)
def test_standardized_columns_far_from_zero(road, container, weighted, rng):
    away = rng.normal(size=(500, 6))
    X, y = away + 1e7, labels(away[:, 0], rng)
    w = rng.exponential(size=500) if weighted else None
    coef = solve(road, CONTAINERS[container](X), y, w, alpha=1.0, standardize=True)
    assert error(coef, X, y, w, standardize=True) < 1e-8


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("cv", [None, 5])
def test_a_search_scores_rows_far_from_zero_as_those_near(cv, container, rng):
    away = rng.normal(size=(400, 8))
    y = labels(away[:, 0], rng, 0.5)
    X = away + 1e8
    alphas = [0.01, 1.0, 10.0, 1e6]
    near = ParallelRidgeClassifierCV(alphas, cv=cv).fit(X - 1e8, y)
    far = ParallelRidgeClassifierCV(alphas, cv=cv).fit(CONTAINERS[container](X), y)
    scores = [model.cv_results_["mean_test_score"] for model in (far, near)]
    assert_allclose(*scores, rtol=1e-6)
    assert far.alpha_ == near.alpha_


# ------------------------------------------------------------------------------------------------
# Weights
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("road", ROADS)
def test_rows_without_weight_do_not_hide_the_mean(road, container, rng):
    X = np.r_[np.zeros((300, 5)), rng.normal(size=(300, 5)) + 1e8]
    y, w = rng.integers(0, 2, 600), np.r_[np.zeros(300), np.ones(300)]
    assert error(solve(road, CONTAINERS[container](X), y, w, alpha=1.0), X, y, w) < 1e-8


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("dtype", "weight"), [("f4", 1e8), ("f8", 1e14)])
@pytest.mark.parametrize("road", ROADS)
def test_one_heavy_row(road, dtype, weight, container, rng):
    X, y = rng.normal(size=(300, 4)).astype(dtype), rng.integers(0, 2, 300)
    w = np.ones(300)
    w[7] = weight
    coef = solve(road, CONTAINERS[container](X), y, w, alpha=1.0)
    limit = 1e-8
    if dtype == "f4":
        limit = 3.0 * error(RidgeClassifier().fit(X, y, w).coef_, X, y, w)
    assert error(coef, X, y, w) <= limit


@pytest.mark.parametrize("size", [1e160, 1e-200, 1e300, 1e-300])
@pytest.mark.parametrize("road", [*SOLVERS, "partial_fit", "fit_statistics", "coef_path", "search"])
def test_the_mean_objective_takes_weights_of_any_size(road, size, rng):
    X, y = rng.normal(size=(100, 5)), rng.integers(0, 3, 100)
    w = (rng.exponential(size=100) + 0.1) * size
    options = {"alpha": 0.1, "objective": "mean"}
    assert error(solve(road, X, y, w, **options), X, y, w, **options) < 1e-8


@pytest.mark.filterwarnings("ignore:The best alpha")
@pytest.mark.parametrize("cv", [None, 4])
@pytest.mark.parametrize("size", [1e160, 1e-200])
def test_searches_score_weights_of_any_size(size, cv, rng):
    X, y = rng.normal(size=(100, 5)), rng.integers(0, 3, 100)
    w = rng.exponential(size=100) + 0.1
    found = []
    for weights in (w, w * size):
        options = {"objective": "mean", "scoring": "accuracy", "cv": cv}
        model = ParallelRidgeClassifierCV([0.01, 1.0, 100.0], **options).fit(X, y, weights)
        found.append(model.cv_results_["mean_test_score"])
    assert_allclose(*found, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-44, 1e38])
@pytest.mark.parametrize("road", ["auto", "eigen", "partial_fit", "search"])
def test_float32_rows_take_weights_that_float32_does_not_hold(road, size, rng):
    X, y = rng.normal(size=(2000, 5)).astype("f4"), rng.integers(0, 2, 2000)
    w = (rng.exponential(size=2000) + 0.1) * size
    options = {"alpha": 1.0, "objective": "mean"}
    assert error(solve(road, X, y, w, **options), X, y, w, **options) < 1e-6


# ------------------------------------------------------------------------------------------------
# Columns
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(
    "road", ["auto", "eigen", "svd", "cg", "partial_fit", "coef_path", "search"]
)
def test_constant_columns_of_any_value_and_length(road, standardize, fit_intercept, container):
    options = {"alpha": 10.0, "standardize": standardize, "fit_intercept": fit_intercept}
    for n in (78, 107, 211):
        for value in (0.1, -3.7, 1e8 / 3):
            X = np.c_[np.arange(n) % 3 - 1.0, np.full(n, value)]
            y = (np.arange(n) % 4 > 0).astype(int)
            if road == "eigen" and value > 1e7 and not fit_intercept:
                continue  # a large column is ill-conditioned for it
            cuts = {"cuts": [n // 3]} if road == "partial_fit" else {}
            coef = solve(road, CONTAINERS[container](X), y, **cuts, **options)
            assert error(coef, X, y, **options) < 1e-8, (n, value)
            if fit_intercept:
                assert coef[0, 1] == 0.0


def test_the_constant_columns_of_the_report():
    n = 78
    X, y = np.c_[np.arange(n) % 3 - 1.0, np.full(n, 0.1)], (np.arange(n) % 4 > 0).astype(int)
    model = ParallelRidgeClassifier(10.0, standardize=True, fit_intercept=False).fit(X, y)
    assert_allclose(model.coef_, [0.03409091, 0.35250464], rtol=1e-6)
    X = np.c_[np.arange(107) % 5 - 2.0, np.full(107, 0.1)]
    y = (np.arange(107) % 5 > 1).astype(int)
    model = ParallelRidgeClassifier(0.0).partial_fit(sp.csr_matrix(X), y)
    assert error(model.coef_, X, y, alpha=0.0) < 1e-8
    assert model.coef_[1] == 0.0


@pytest.mark.parametrize("value", [1.0, 1e8])
def test_columns_that_vary_by_a_rounding_are_no_constants(value):
    n = 400
    X = np.c_[np.arange(n) % 3 - 1.0, value + np.spacing(value) * (np.arange(n) % 2)]
    y = (np.arange(n) % 4 > 1).astype(int)
    options = {"alpha": 1.0, "standardize": True}
    for road in ("auto", "eigen", "cg", "partial_fit"):
        assert error(solve(road, X, y, **options), X, y, **options) < 1e-8, road


@pytest.mark.parametrize("alpha", [0.0, 1e-300, 1e-20, 1e-12, 1e-9])
def test_the_answer_does_not_jump_as_the_penalty_goes_to_zero(alpha, rng):
    x = rng.normal(size=(60, 2))
    X, y = np.c_[x * 1e3, x[:, 0] * 1e3], (x[:, 0] > 0).astype(int)
    with pytest.warns(IllConditionedWarning):
        coef = solve("svd", X, y, alpha=alpha)
    limit, _ = ridge(X, coded(y), 1e-3)
    assert relative_error(coef, limit) < 1e-6


@pytest.mark.parametrize("size", [1e-23, 1e-30, 1e-38])
@pytest.mark.parametrize("road", ["auto", "eigen", "partial_fit", "fit_statistics", "search"])
def test_float32_rows_whose_squares_underflow(road, size, rng):
    away = rng.normal(size=(2000, 5))
    X, y = (away * size).astype("f4"), labels(away[:, 0], rng)
    options = {"alpha": 1.0, "standardize": True}
    assert error(solve(road, X, y, **options), X, y, **options) < 1e-5


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_float64_does_not_hold_is_said(solver, rng):
    X, y = rng.normal(size=(100, 4)), rng.integers(0, 2, 100)
    model = ParallelRidgeClassifier(solver=solver)
    with pytest.raises(ValueError, match=r"too large"):
        model.fit(X * 1e120, y, np.full(100, 1e200))
    if solver != "dual":  # products of rows hold what sums of squares do not
        with pytest.warns(IllConditionedWarning):
            model.fit(X * 1e-320, y)


# ------------------------------------------------------------------------------------------------
# The property
# ------------------------------------------------------------------------------------------------


@dataclass
class Case:
    X: np.ndarray
    y: np.ndarray
    w: np.ndarray | None
    road: str
    container: str
    cuts: list
    options: dict


def rows_of(kind, n, d, dtype, rng):
    """Rows of a kind that is hard on sums."""
    double = dtype == "f8"
    X = rng.normal(size=(n, d))
    if kind == "far":
        X += 10.0 ** rng.uniform(0, 9 if double else 4, size=d) * rng.choice([0, 1], size=d)
    elif kind == "scales":
        X *= 10.0 ** rng.uniform(-6, 6, size=d)
    elif kind == "collinear" and d > 1:
        X[:, -1] = X[:, 0] * rng.choice([1, 3, 1e3])
        X[:, -1] += 10.0 ** rng.uniform(-9, 0) * rng.normal(size=n)
    elif kind == "drift":
        X += np.linspace(0, 10.0 ** rng.uniform(0, 6 if double else 3), n)[:, None]
    elif kind == "constant":
        X[:, rng.integers(d)] = rng.choice([0.1, 1, 1e8, -3.7])
    elif kind == "tiny":
        X *= 10.0 ** rng.uniform(-30, -10)
    elif kind == "jump":
        X[: n // 2] += 10.0 ** rng.uniform(0, 8 if double else 4)
    if dtype[0] in "iu":
        info = np.iinfo(dtype)
        X = np.clip(np.rint(3.0 * X + (5 if dtype[0] == "u" else 0)), info.min, info.max)
    return X.astype(dtype)


def weights_of(kind, n, rng):
    if kind == "none":
        return None
    w = rng.exponential(size=n) + 0.01
    if kind == "heavy":
        w = np.ones(n)
        w[rng.integers(n)] = 10.0 ** rng.uniform(0, 14)
    elif kind == "zeros":
        w = (rng.random(n) < 0.6) * 1.0
    elif kind == "any size":
        w *= 10.0 ** rng.uniform(-30, 30)
    return w


KINDS = ["plain", "far", "scales", "collinear", "drift", "constant", "tiny", "jump"]
WEIGHTS = ["none", "exponential", "heavy", "zeros", "any size"]


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d = draw(
        st.sampled_from([(3, 1), (5, 8), (12, 4), (40, 2), (40, 15), (40, 60), (150, 8), (700, 15)])
    )
    dtype = draw(st.sampled_from(["f8", "f8", "f4", "i4", "u1"]))
    X = rows_of(draw(st.sampled_from(KINDS)), n, d, dtype, rng)
    k = draw(st.integers(2, 3))
    y = rng.integers(k, size=n)
    if draw(st.booleans()):
        y = (y + (X[:, 0] > np.median(X[:, 0]))) % k
    y[:k] = np.arange(k)
    kind = draw(st.sampled_from(WEIGHTS))
    w = weights_of(kind, n, rng)
    if w is not None:
        w[:k] = np.maximum(w[:k], (w.max() or 1.0) * 1e-3)
    options = {
        "alpha": float(10.0 ** rng.uniform(-8, 4)),
        "fit_intercept": draw(st.booleans()),
        "standardize": draw(st.booleans()),
        "objective": "mean" if kind == "any size" else draw(st.sampled_from(["sum", "mean"])),
    }
    cuts = sorted(rng.integers(k, n + 1, size=draw(st.integers(0, 3))).tolist())
    return Case(
        X,
        y,
        w,
        draw(st.sampled_from(ROADS)),
        draw(st.sampled_from(sorted(CONTAINERS))),
        cuts,
        options,
    )


def explained(case):
    """Part of the targets' size that the features explain."""
    objective = {"mean": case.options["objective"] == "mean"}
    options = {**case.options, **objective}
    del options["objective"]
    exact, _ = ridge(case.X, coded(case.y), weights=case.w, **options)
    w = np.ones(len(case.X)) if case.w is None else case.w / case.w.max()
    away = case.X - np.average(case.X.astype(LONG), axis=0, weights=w)
    if not case.options["fit_intercept"]:
        away = case.X.astype(LONG)
    return float(np.sqrt((w[:, None] * (away @ exact.T) ** 2).sum(axis=0).max() / w.sum()))


def peer_error(case):
    """Error of scikit-learn on the same float32 rows."""
    X, w, alpha = case.X, case.w, case.options["alpha"]
    total = len(X) if w is None else w.sum()
    scale = np.ones(X.shape[1])
    if case.options["standardize"]:
        weights = np.ones(len(X)) if w is None else w
        means = np.average(X.astype("f8"), axis=0, weights=weights)
        scale = np.sqrt(np.average((X - means) ** 2, axis=0, weights=weights))
        scale[scale == 0] = 1
    penalty = alpha * total if case.options["objective"] == "mean" else alpha
    rows = (X / scale).astype("f4")
    intercept = case.options["fit_intercept"]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            peer = RidgeClassifier(penalty, fit_intercept=intercept).fit(rows, case.y, w)
        except (ValueError, np.linalg.LinAlgError):  # it gave up
            return np.inf
    found = error(np.atleast_2d(peer.coef_).astype(LONG) / scale, X, case.y, w, **case.options)
    return found if np.isfinite(found) else np.inf


@settings(
    max_examples=int(os.environ.get("PARALLEL_RIDGE_CASES", 150)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(cases())
def test_answers_keep_their_digits_or_there_is_a_warning(backend, case):
    rows = CONTAINERS[case.container](case.X)
    cuts = {"cuts": case.cuts} if case.road == "partial_fit" else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coef = solve(case.road, rows, case.y, case.w, backend=backend, **cuts, **case.options)
    if any(issubclass(w.category, IllConditionedWarning | ConvergenceWarning) for w in caught):
        return
    found = error(coef, case.X, case.y, case.w, **case.options)
    if found > 1e-8 and explained(case) > 1e-5:
        # Below is what float32 coefficients are rounded by.
        assert case.X.dtype == np.float32, found
        assert found <= 3e-7 or found <= 3.0 * peer_error(case), found
