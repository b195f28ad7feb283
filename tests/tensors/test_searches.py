"""Searches on a device choose what searches on arrays choose."""

import numpy as np
import pytest
from _data.estimators import TARGETS, assert_close, weights_of
from _data.tensors import engine, rows_of, tensor_of, values_of
from sklearn.model_selection import GroupKFold, StratifiedKFold

from parallel_ridge import ParallelRidgeClassifierCV

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")
ALPHAS = np.logspace(-2, 4, 7)
TOLERANCES = {"float64": 1e-9, "float32": 2e-4, "bfloat16": 2e-4, "uint8": 1e-9}


def searches(X, values, y, device, weights=None, groups=None, alphas=ALPHAS, **options):
    """A search on the device, and one on arrays."""
    some = {} if groups is None else {"groups": groups}
    found = ParallelRidgeClassifierCV(alphas, backend=engine(device), **options)
    expected = ParallelRidgeClassifierCV(alphas, **options)
    return found.fit(X, y, weights, **some), expected.fit(values, y, weights, **some)


def assert_same_search(found, expected, tolerance, rows):
    """Scores agree; those of classes up to a row that is a tie in rounding."""
    for name, column in expected.cv_results_.items():
        if name.endswith("test_score") and not name.startswith("rank"):
            np.testing.assert_allclose(
                found.cv_results_[name], column, tolerance, max(tolerance, 2.0 / rows)
            )
    assert found.n_splits_ == expected.n_splits_
    if found.alpha_ == expected.alpha_:
        assert_close(found.coef_, expected.coef_, tolerance)


@pytest.mark.parametrize("scoring", [None, "balanced_accuracy", "neg_mean_squared_error"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_folds(dtype, target, scoring, device):
    if target == "multilabel" and scoring == "balanced_accuracy":
        scoring = "f1_macro"
    X, values, y = rows_of(dtype, device, n=600, target=target)
    for weights in (None, weights_of(600) + 0.5):
        found, expected = searches(X, values, y, device, weights, cv=4, scoring=scoring)
        assert_same_search(found, expected, TOLERANCES[dtype], 600)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_leave_one_out(dtype, target, device):
    X, values, y = rows_of(dtype, device, n=600, target=target)
    for weights in (None, weights_of(600)):
        for options in ({"scoring": "accuracy"}, {"store_cv_results": True}):
            found, expected = searches(X, values, y, device, weights, **options)
            assert_same_search(found, expected, TOLERANCES[dtype], 600)
            if found.alpha_ == expected.alpha_ and "store_cv_results" in options:
                # Leverages are formed in float32, which leaves these digits.
                tolerance = max(TOLERANCES[dtype], 2e-8)
                assert_close(found.loo_decision_, expected.loo_decision_, tolerance, 1.0)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize("cv", [None, 3])
def test_fewer_rows_than_features(dtype, cv, device):
    X, values, y = rows_of(dtype, device, n=40, d=70)
    for options in ({}, {"standardize": True}, {"class_weight": "balanced"}):
        found, expected = searches(X, values, y, device, cv=cv, **options)
        assert_same_search(found, expected, 1e-8, 40)


def test_leverages_near_one_keep_their_digits(device):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 28))
    values[3] *= 1e2
    for dtype in ("float64", "float32"):
        rows = values.astype(dtype)
        y = rng.integers(0, 3, 60)
        found, expected = searches(
            tensor_of(rows, device),
            rows,
            y,
            device,
            alphas=[1.0, 10.0, 100.0],
            store_cv_results=True,
        )
        tolerance = 1e-7 if dtype == "float64" else 1e-3
        assert found.alpha_ == expected.alpha_
        assert_close(found.loo_decision_, expected.loo_decision_, tolerance)


def test_splitters_see_labels_and_groups_of_tensors(device):
    X, values, y = rows_of("float64", device, n=300)
    codes = np.unique(y, return_inverse=True)[1]
    groups = np.arange(300) // 10
    shuffled = StratifiedKFold(3, shuffle=True, random_state=0)
    for cv, own in ((shuffled, None), (GroupKFold(3), groups)):
        there = None if own is None else tensor_of(own, device)
        found = ParallelRidgeClassifierCV(ALPHAS, cv=cv, backend=engine(device))
        found.fit(X, tensor_of(codes, device), groups=there)
        expected = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(values, codes, groups=own)
        assert_same_search(found, expected, 1e-9, 300)


def test_many_penalties_in_float32(device):
    X, values, y = rows_of("float32", device, n=900, d=60)
    alphas = np.logspace(-3, 5, 100)
    found, expected = searches(X, values, y, device, alphas=alphas, cv=3)
    assert_same_search(found, expected, 2e-4, 900)


def test_probabilities_are_tensors(device):
    import torch

    for target in TARGETS:
        X, values, y = rows_of("float64", device, n=300, target=target)
        found, expected = searches(X, values, y, device, cv=3, probability=True)
        for method in ("predict_proba", "predict_log_proba"):
            answers = getattr(found, method)(X)
            assert isinstance(answers, torch.Tensor) and answers.device == X.device
            np.testing.assert_allclose(values_of(answers), getattr(expected, method)(values), 1e-3)
