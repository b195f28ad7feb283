"""Penalties that share a Cholesky factor."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from parallel_ridge import sufficient_statistics
from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.solvers import NormalEquations, Problem, solve_path, solve_penalties

ALPHAS = (1.02, 1e-3, 1.02e-3, 1.0)


def make_system(dtype, n_classes, problem, n=1300, d=1010):
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


def counting(monkeypatch):
    """Penalties and dtypes of the factorisations."""
    seen, factorise = [], NormalEquations.factorise

    def counted(self, alpha, overwrite, limit, dtype=np.float64):
        seen.append((alpha, np.dtype(dtype).name))
        return factorise(self, alpha, overwrite, limit, dtype)

    monkeypatch.setattr(NormalEquations, "factorise", counted)
    return seen


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
def test_a_factor_serves_the_next_penalties(dtype, n_classes, problem, monkeypatch):
    statistics, system = make_system(dtype, n_classes, problem)
    wanted = one_by_one(system, ALPHAS, system.search_limit)
    seen = counting(monkeypatch)
    path, solver = solve_penalties(system, ALPHAS, limit=system.search_limit)
    assert solver == "cholesky" and len({alpha for alpha, _ in seen}) < len(ALPHAS)
    assert [alpha for alpha, _ in seen] == sorted(alpha for alpha, _ in seen)
    assert_same_path(path, wanted, 1e-8)
    # Paths without a limit of their own promise more digits, and use no float32.
    seen.clear()
    promised, solver = solve_path(statistics, ALPHAS, problem)
    refined = dtype == np.uint8 and not problem.fit_intercept  # each is factorised to be refined
    assert solver == "cholesky" and (refined or 0 < len(seen) < len(ALPHAS))
    assert {name for _, name in seen} == {"float64"}
    assert_same_path(promised, wanted, 1e-9)


def test_factors_are_float32_while_that_suffices(monkeypatch):
    _, system = make_system(np.float64, 3, Problem(standardize=True))
    seen = counting(monkeypatch)
    solve_penalties(system, [1e2, 1.01e2], limit=system.search_limit)
    assert seen == [(1e2, "float32")]
    # Two columns that are nearly one, so that float32 has too few digits.
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1300, 1010))
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    system = NormalEquations(sufficient_statistics(X, np.arange(1300) % 2), Problem())
    alphas = [1e-6, 1.01e-6, 1e6]
    wanted = one_by_one(system, alphas, lambda alpha: 1e12)
    assert system.factorise(1e-6, False, 1e12).condition > 1e5
    seen.clear()
    path, _ = solve_penalties(system, alphas, limit=lambda alpha: 1e12)
    assert seen[:2] == [(1e-6, "float32"), (1e-6, "float64")]
    assert_same_path(path, wanted, 1e-7)


@pytest.mark.parametrize("weight", [1e-200, 1e-90, 1e-30, 1e100, 1e150])
def test_weights_of_any_size_change_nothing(weight):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1300, 1005)), np.arange(1300) % 3
    alphas = [1e-2, 1.01e-2]
    paths = []
    for each in (1.0, weight):
        statistics = sufficient_statistics(X, y, sample_weight=np.full(1300, each))
        system = NormalEquations(statistics, Problem(mean_objective=True))
        paths.append(solve_penalties(system, alphas, limit=system.search_limit)[0])
    assert np.abs(paths[0][0].coef).max() > 1e-3
    assert_same_path(*paths, 1e-8)


def test_columns_that_are_all_constant_have_no_coefficients():
    statistics = sufficient_statistics(np.ones((1200, 1100)), np.arange(1200) % 2)
    system = NormalEquations(statistics, Problem())
    path, _ = solve_penalties(system, [1.0, 1.01], limit=system.search_limit)
    assert not any(found.coef.any() for found in path)


def test_penalties_far_from_each_other_get_factors_of_their_own(monkeypatch):
    _, system = make_system(np.float64, 2, Problem())
    seen = counting(monkeypatch)
    solve_penalties(system, [1e-8, 1e5], limit=system.search_limit)
    assert {alpha for alpha, _ in seen} == {1e-8, 1e5}


def test_a_penalty_without_digits_does_not_spoil_the_others(monkeypatch):
    _, system = make_system(np.float64, 2, Problem())
    seen = counting(monkeypatch)

    def limit(alpha):
        return 1.0 if alpha < 1e-2 else np.inf

    with pytest.raises(IllConditioned):
        solve_penalties(system, [1e-3, 1.0], limit=limit)
    kept = []

    def rescue(alpha, error):
        kept.append(alpha)
        return "rescued"

    path, _ = solve_penalties(system, [1.0, 1e-3, 1.01], limit=limit, rescue=rescue)
    assert kept == [1e-3] and path[1] == "rescued"
    assert seen[-1][0] == 1.0  # 1.01 takes its factor


@pytest.mark.parametrize("n_targets", [1, 3])
def test_targets_that_are_nothing_but_zeros_stay_zeros(n_targets):
    _, system = make_system(np.float64, 3, Problem())
    system.rhs = system.rhs[:n_targets].copy()
    system.target_means = system.target_means[:n_targets]
    system.rhs[0] = 0.0
    path, _ = solve_penalties(system, [1.0, 1.02], limit=system.search_limit)
    for found in path:
        assert not found.coef[0].any() and np.isfinite(found.coef).all()
