"""Penalties that share a Cholesky factor."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from parallel_ridge import sufficient_statistics
from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.solvers import NormalEquations, Problem, _path, solve_path, solve_penalties

ALPHAS = (1.02, 1e-3, 1.02e-3, 1.0)


def make_system(dtype, n_classes, problem, n=1300, d=1000):
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
    """Counts the factorisations."""
    seen, factorise = [], NormalEquations.factorise

    def counted(self, alpha, *args):
        seen.append(alpha)
        return factorise(self, alpha, *args)

    monkeypatch.setattr(NormalEquations, "factorise", counted)
    return seen


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
    seen = counting(monkeypatch)
    path, solver = solve_penalties(system, ALPHAS, limit=system.search_limit)
    assert solver == "cholesky" and len(seen) < len(ALPHAS)
    assert seen == sorted(seen)
    monkeypatch.setattr(_path, "affordable_steps", lambda *_: 0)
    for alpha, found in zip(ALPHAS, path, strict=True):
        ((alone,), _) = solve_penalties(system, [alpha], limit=system.search_limit)
        assert_allclose(
            found.coef, alone.coef, rtol=0, atol=1e-8 * np.abs(alone.coef).max(), err_msg=str(alpha)
        )
        assert_allclose(
            found.intercept, alone.intercept, rtol=0, atol=1e-8 * np.abs(alone.intercept).max()
        )
    # Paths without a limit of their own promise more digits.
    promised, _ = solve_path(statistics, ALPHAS, problem)
    for found, other in zip(promised, path, strict=True):
        assert_allclose(found.coef, other.coef, rtol=0, atol=1e-8 * np.abs(other.coef).max())


def test_penalties_far_from_each_other_get_factors_of_their_own(monkeypatch):
    _, system = make_system(np.float64, 2, Problem())
    seen = counting(monkeypatch)
    solve_penalties(system, [1e-8, 1e5], limit=system.search_limit)
    assert sorted(set(seen)) == [1e-8, 1e5]


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
    assert seen[-2:] == [1e-3, 1.0]  # 1.01 takes the factor of 1.0


@pytest.mark.parametrize("n_targets", [1, 3])
def test_targets_that_are_nothing_but_zeros_stay_zeros(n_targets):
    _, system = make_system(np.float64, 3, Problem())
    system.rhs = system.rhs[:n_targets].copy()
    system.target_means = system.target_means[:n_targets]
    system.rhs[0] = 0.0
    path, _ = solve_penalties(system, [1.0, 1.02], limit=system.search_limit)
    for found in path:
        assert not found.coef[0].any() and np.isfinite(found.coef).all()
