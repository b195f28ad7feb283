"""Many penalties in one banded form of the system."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from parallel_ridge import ParallelRidgeClassifierCV, sufficient_statistics
from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.solvers import (
    NormalEquations,
    Problem,
    band_leverages,
    solve_path,
    solve_penalties,
)
from parallel_ridge.solvers._band import Band

ALPHAS = tuple(np.logspace(3, -3, 7))


def make_system(dtype, n_classes, problem, n=400, d=150):
    rng = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    X = rng.standard_normal((n, d)) + 0.2 * rng.standard_normal((n_classes, d))[y]
    X = (X * np.geomspace(0.1, 10, d)).round(3)
    X[:, 3] = 1.0  # a constant column
    if dtype == np.uint8:
        X = X * 20 + 128
    statistics = sufficient_statistics(X.clip(*limits(dtype)).astype(dtype), y)
    return statistics, NormalEquations(statistics, problem)


def limits(dtype):
    return (0, 255) if dtype == np.uint8 else (-np.inf, np.inf)


def one_by_one(system, alphas, limit=None):
    """Solutions from a factorisation each."""
    path = []
    for alpha in alphas:
        factor = system.factorise(alpha, False, (limit or system.limit)(alpha))
        path.append(factor.solution(factor.solve(system.rhs)))
    return path


def assert_same_path(found, wanted, accuracy):
    for one, other in zip(found, wanted, strict=True):
        for name in ("coef", "intercept"):
            ours, theirs = getattr(one, name), getattr(other, name)
            assert_allclose(ours, theirs, rtol=0, atol=accuracy * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(
    "n_classes, problem",
    [
        (2, Problem()),
        (3, Problem(fit_intercept=False)),
        (2, Problem(standardize=True, mean_objective=True)),
        (5, Problem(standardize=True)),
    ],
)
def test_solutions_are_those_of_a_factorisation_each(dtype, n_classes, problem):
    statistics, system = make_system(dtype, n_classes, problem)
    wanted = one_by_one(system, ALPHAS, system.search_limit)
    path, solver = solve_penalties(system, ALPHAS, limit=system.search_limit)
    assert solver == "banded"
    assert_same_path(path, wanted, 1e-9)
    promised, solver = solve_path(statistics, ALPHAS, problem)
    assert solver == "banded"
    assert_same_path(promised, wanted, 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(0, 140), t=st.integers(1, 4), log=st.integers(-200, 200), seed=st.integers(0, 99)
)
def test_a_band_gives_solutions_and_leverages(m, t, log, seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(m, m))
    A = (A @ A.T / max(m, 1) + np.diag(rng.random(m))) * 10.0**log
    Y, rows, penalty = rng.normal(size=(m, t)), rng.normal(size=(20, m)), 0.1 * 10.0**log
    band = Band(np.asfortranarray(np.tril(A) + np.triu(rng.normal(size=(m, m)), 1)))
    factor, axes = band.factor(penalty), band.axes()
    inverse = np.linalg.inv(A + penalty * np.eye(m))
    size = 10.0**-log
    found = band.rotate(factor.solve(band.rotate(Y)), back=True)
    assert_allclose(found, inverse @ Y, rtol=0, atol=1e-11 * size)
    assert_allclose(axes[:, :m].T @ axes[:, :m], np.eye(m), atol=1e-13)
    assert not axes[:, m:].any()
    for dtype, accuracy in ((np.float64, 1e-12), (np.float32, 1e-4)):
        if dtype == np.float32 and abs(log) > 15:  # beyond the squares that it holds
            continue
        leverages = band_leverages([factor, factor]).of((rows @ axes).astype(dtype))
        wanted = np.einsum("ij,jk,ik->i", rows, inverse, rows)
        assert_allclose(leverages[:, 1], wanted, rtol=accuracy, atol=accuracy * size)
    if m:
        eigenvalues = np.linalg.eigvalsh(A)
        condition = (eigenvalues[-1] + penalty) / (eigenvalues[0] + penalty)
        assert condition / 10 < factor.condition < 40 * condition
        with pytest.raises(IllConditioned):
            band.factor(-2.0 * eigenvalues[0])


@pytest.mark.parametrize("weight", [1e-200, 1e-90, 1e-30, 1e100, 1e150])
def test_weights_of_any_size_change_nothing(weight):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 105)), np.arange(300) % 3
    paths = []
    for each in (1.0, weight):
        statistics = sufficient_statistics(X, y, sample_weight=np.full(300, each))
        system = NormalEquations(statistics, Problem(mean_objective=True))
        paths.append(solve_penalties(system, ALPHAS, limit=system.search_limit)[0])
    assert np.abs(paths[0][0].coef).max() > 1e-5
    assert_same_path(*paths, 1e-8)


def test_columns_that_are_all_constant_have_no_coefficients():
    statistics = sufficient_statistics(np.ones((200, 110)), np.arange(200) % 2)
    system = NormalEquations(statistics, Problem())
    path, _ = solve_penalties(system, ALPHAS, limit=system.search_limit)
    assert not any(found.coef.any() for found in path)


def test_a_penalty_without_digits_does_not_spoil_the_others():
    _, system = make_system(np.float64, 2, Problem())

    def limit(alpha):
        return 1.0 if alpha == ALPHAS[-1] else np.inf

    with pytest.raises(IllConditioned):
        solve_penalties(system, ALPHAS, limit=limit)
    kept = []

    def rescue(alpha, error):
        kept.append(alpha)
        return "rescued"

    path, _ = solve_penalties(system, ALPHAS, limit=limit, rescue=rescue)
    assert kept == [ALPHAS[-1]] and path[-1] == "rescued"
    assert_same_path(path[:-1], one_by_one(system, ALPHAS[:-1], limit), 1e-9)


@pytest.mark.parametrize("n_targets", [1, 3])
def test_targets_that_are_nothing_but_zeros_stay_zeros(n_targets):
    _, system = make_system(np.float64, 3, Problem())
    system.rhs = system.rhs[:n_targets].copy()
    system.target_means = system.target_means[:n_targets]
    system.rhs[0] = 0.0
    path, _ = solve_penalties(system, ALPHAS, limit=system.search_limit)
    for found in path:
        assert not found.coef[0].any() and np.isfinite(found.coef).all()


@pytest.mark.filterwarnings("ignore:The best alpha")
@pytest.mark.parametrize("weight", [1e-200, 1e-90, 1.0, 1e48, 1e100])
@pytest.mark.parametrize("spread", [1.0, 1e5])
def test_leave_one_out_of_float32_rows_in_a_band_keeps_its_digits(spread, weight):
    rng = np.random.default_rng(0)
    y = np.arange(900) % 3
    X = (rng.normal(size=(900, 400)) + 0.3 * rng.normal(size=(3, 400))[y]) * np.geomspace(
        1, spread, 400
    )
    weights = np.full(900, weight)
    options = {"alphas": [1e-3, 1e-2], "objective": "mean", "store_cv_results": True}
    single = ParallelRidgeClassifierCV(**options).fit(X.astype("f4"), y, weights)
    double = ParallelRidgeClassifierCV(**options).fit(X, y, np.ones(900))
    found, wanted = (search.cv_results_["mean_test_score"] for search in (single, double))
    assert_allclose(found / weight, wanted, rtol=1e-4)
