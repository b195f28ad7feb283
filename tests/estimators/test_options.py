"""Options that scikit-learn has not."""

from itertools import product

import numpy as np
import pytest
import sklearn
from _data.estimators import (
    CONTAINERS,
    FLOATS,
    SOLVERS,
    assert_close,
    float64,
    make_data,
    oracle,
    weights_of,
)
from sklearn.preprocessing import StandardScaler

from parallel_ridge import (
    ParallelRidgeClassifier,
)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("container", ["dense", "csr"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_standardize_is_a_standard_scaler_before(solver, container, fit_intercept, weighted):
    for dtype, shape in product(("float64", "uint8", "float32"), ((60, 5), (15, 40))):
        X, y = make_data(*shape, dtype=dtype)
        X = X * np.arange(1, shape[1] + 1, dtype=X.dtype) if dtype != "uint8" else X
        X[:, 2] = 3  # constant
        w = weights_of(len(X)) if weighted else None
        scaler = StandardScaler(with_mean=fit_intercept).fit(float64(X), sample_weight=w)
        options = {"alpha": 2.0, "fit_intercept": fit_intercept}
        ridge = oracle(scaler.transform(float64(X)), y, w, **options)
        coef = ridge.coef_ / scaler.scale_
        model = ParallelRidgeClassifier(standardize=True, solver=solver, **options)
        model.fit(CONTAINERS[container](X), y, w)
        tolerance, case = FLOATS.get(dtype, 1e-8), (dtype, shape)
        assert_close(model.coef_, coef, tolerance, case=case)
        if fit_intercept:
            assert_close(model.intercept_, ridge.intercept_ - coef @ scaler.mean_, tolerance, 1.0)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("standardize", [False, True])
def test_the_mean_objective_multiplies_alpha_by_the_sum_of_weights(
    solver, class_weight, standardize
):
    X, y = make_data()
    w = weights_of(60)
    by_class = sklearn.utils.compute_sample_weight(class_weight, y)
    options = {"solver": solver, "class_weight": class_weight, "standardize": standardize}
    mean = ParallelRidgeClassifier(0.05, objective="mean", **options).fit(X, y, w)
    total = ParallelRidgeClassifier(0.05 * (w * by_class).sum(), **options).fit(X, y, w)
    assert_close(mean.coef_, total.coef_)
    assert_close(mean.intercept_, total.intercept_, of=1.0)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_weight_of_two_is_the_row_twice_and_of_zero_its_absence(solver, dtype):
    X, y = make_data(dtype=dtype)
    w = np.random.default_rng(2).integers(0, 4, 60)
    w[:3] = 1
    weighted = ParallelRidgeClassifier(solver=solver).fit(X, y, w)
    repeated = ParallelRidgeClassifier(solver=solver).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    assert_close(weighted.coef_, repeated.coef_)
    assert_close(weighted.intercept_, repeated.intercept_, of=1.0)


def test_a_number_as_sample_weight_is_the_weight_of_every_row():
    X, y = make_data()
    model = ParallelRidgeClassifier().fit(X, y, 3)
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y, np.full(60, 3.0)).coef_, 1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("d", [7, 200])
def test_the_number_of_threads_changes_no_bit_of_the_statistics(dtype, d):
    X, y = make_data(5000, d, dtype=dtype)
    one, two, five = (
        ParallelRidgeClassifier(n_jobs=n, store_statistics=True).fit(X, y) for n in (1, 2, 5)
    )
    assert one.statistics_ == two.statistics_ == five.statistics_
    assert_close(five.coef_, one.coef_, 1e-6 if dtype == "float32" else 1e-12)
