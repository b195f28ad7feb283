"""Searches of ill-conditioned problems."""

import warnings

import numpy as np
import pytest
from _data.model_selection import (
    ALPHAS,
    coded,
    labels_of,
    left_out_values,
    make_data,
    margins,
    references,
    split_scores,
)
from numpy.testing import assert_allclose
from sklearn.metrics import (
    mean_squared_error,
)
from sklearn.model_selection import (
    StratifiedKFold,
)

from parallel_ridge import (
    IllConditionedWarning,
    ParallelRidgeClassifierCV,
    solvers,
    sufficient_statistics,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


def collinear(n, d, apart, seed=0):
    """Rows whose last column is nearly the first."""
    X, y = make_data(n, d, seed=seed)
    X[:, -1] = X[:, 0] + apart * np.random.default_rng(9).normal(size=n)
    return X, y


@pytest.mark.parametrize("scoring", ["accuracy", "neg_mean_squared_error"])
@pytest.mark.parametrize("cv", [None, 4])
@pytest.mark.parametrize("apart", [0.0, 1e-7, 1e-5, 1e-3])
def test_tiny_alphas_on_collinear_columns_agree_with_svd(apart, cv, scoring):
    X, y = collinear(48, 6, apart)
    alphas = [1e-14, 1e-11, 1e-8, 1e-3]
    model = ParallelRidgeClassifierCV(alphas, cv=cv, scoring=scoring)
    Y = coded(y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IllConditionedWarning)
        model.fit(X, y)
    warned = [w.filename for w in caught if w.category is IllConditionedWarning]
    assert set(warned) == ({__file__} if apart < 1e-5 else set()) or apart == 1e-5
    if cv is None:
        held = [[left_out_values(X, Y, alpha)] for alpha in alphas]
        splits, scores = [(None, np.arange(48))], model.cv_results_["mean_test_score"][None]
    else:
        splits, scores = list(StratifiedKFold(4).split(X, y)), split_scores(model)
        held = [[] for _ in alphas]
        for (_, j), test, _, reference in references(X, y, alphas, splits):
            held[j].append(reference.values(X[test]))
    for j, values in enumerate(held):
        for i, (_, test) in enumerate(splits):
            V = values[i]
            if scoring == "accuracy":
                assert margins(V).min() > 1e-6  # or else the test has no answer
                expected = np.mean(labels_of(V, np.unique(y)) == y[test])
            else:
                expected = -mean_squared_error(Y[test], V)
            assert_allclose(scores[i, j], expected, 1e-6, err_msg=f"alpha={alphas[j]:g}")


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("cv", [None, 4])
def test_rows_far_from_zero_keep_their_digits(cv, fit_intercept):
    X, y = make_data(60, 5)
    X, Y = X + 1e6, coded(y)
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=cv, scoring="neg_mean_squared_error", fit_intercept=fit_intercept
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        model.fit(X, y)
    expected = np.zeros(3)
    if cv is None:
        held = [left_out_values(X, Y, alpha, fit_intercept=fit_intercept) for alpha in ALPHAS]
        expected = [-mean_squared_error(Y, values) for values in held]
    else:
        splits = list(StratifiedKFold(4).split(X, y))
        for (_, j), test, _, reference in references(
            X, y, ALPHAS, splits, fit_intercept=fit_intercept
        ):
            expected[j] -= mean_squared_error(Y[test], reference.values(X[test])) / 4
    assert_allclose(model.cv_results_["mean_test_score"], expected, 1e-7)


@pytest.mark.parametrize("alpha", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_wide_rows_with_tiny_alphas_are_left_out_exactly(alpha, fit_intercept):
    # Rows that can be interpolated have leverages close to 1: what is left of 1 must keep its digits.
    X, y = make_data(20, 30)
    options = {"fit_intercept": fit_intercept}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        model = ParallelRidgeClassifierCV([alpha], store_cv_results=True, **options).fit(X, y)
    exact = left_out_values(X, coded(y), alpha, **options)
    assert_allclose(model.loo_decision_, exact, atol=1e-6)


def test_standardize_mends_columns_of_any_size():
    X, y = make_data(50, 5)
    X = X * np.logspace(-8, 8, 5)
    for cv in (None, 3):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, standardize=True).fit(X, y)
        plain = ParallelRidgeClassifierCV(ALPHAS, cv=cv, standardize=True)
        plain.fit(X / np.logspace(-8, 8, 5), y)
        assert_allclose(
            model.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], 1e-8
        )


def test_penalties_too_small_for_a_banded_form_share_one_factor():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 8)) * 10.0 ** np.arange(8)  # columns that only scaling makes alike
    statistics = sufficient_statistics(X, rng.integers(0, 3, 300))
    system = solvers.NormalEquations(statistics, solvers.Problem())
    alphas = np.logspace(-1, 5, 30)
    path, solver = solvers.solve_penalties(system, alphas, limit=system.search_limit)
    assert solver == "eigen"
    assert system.banded().factor(alphas.min()).condition > system.search_limit(alphas.min())
    for alpha, found in zip(alphas, path, strict=True):
        ((reference,), _) = solvers.solve_penalties(system, [alpha])
        assert_allclose(found.coef * X.std(axis=0), reference.coef * X.std(axis=0), atol=1e-7)
