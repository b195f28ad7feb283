"""A class that a training set lacks."""

import warnings
from itertools import product

import numpy as np
import pytest
from _data.model_selection import (
    ALPHAS,
    INF,
    METRICS_OF_ERRORS,
    coded,
    fit_of,
    largest_value,
    make_data,
    split_scores,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import (
    log_loss,
)
from sklearn.model_selection import (
    GridSearchCV,
    TimeSeriesSplit,
)

from parallel_ridge import (
    ParallelRidgeClassifierCV,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


def late_class(n=60, labels=("a", "b", "z")):
    """Rows of which the last class comes last."""
    X, _ = make_data(n, 4)
    y = np.array(labels)[np.arange(n) % (len(labels) - 1)]
    y[n // 2 :: 2] = labels[-1]
    X[:, 0] += 3 * (y == labels[0])
    return X, y


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro"])
@pytest.mark.filterwarnings("ignore:(F-score|Precision|Recall) is ill-defined")
def test_a_class_missing_from_a_training_set_is_named_and_scores_stay(scoring, fit_intercept):
    X, y = late_class()
    options = {"cv": TimeSeriesSplit(5), "scoring": scoring}
    model = ParallelRidgeClassifierCV(ALPHAS, fit_intercept=fit_intercept, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    named = [w for w in caught if "training set of split" in str(w.message)]
    lacking = [i for i, (train, _) in enumerate(TimeSeriesSplit(5).split(X)) if "z" not in y[train]]
    assert len(lacking) > 1
    for i, w in zip(lacking, named, strict=True):
        assert f"split {i} has no row of class ['z']" in str(w.message)
        assert w.category is UserWarning and w.filename == __file__
    assert np.isfinite(split_scores(model)).all()
    ridge = RidgeClassifier(solver="svd", fit_intercept=fit_intercept)
    grid = GridSearchCV(ridge, {"alpha": ALPHAS}, **options).fit(X, y)
    expected = [grid.cv_results_[f"split{i}_test_score"] for i in range(5)]
    assert_allclose(split_scores(model), expected, 1e-12)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("labels", ["ab", "abz"])
def test_a_class_missing_from_a_training_set_is_never_predicted(labels, fit_intercept):
    X, _ = make_data(40, 4)
    y = np.array(list(labels))[np.arange(40) % len(labels)]
    splits = [(np.flatnonzero(y == "a")[:8], np.arange(25, 40))]
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=splits, scoring="accuracy", fit_intercept=fit_intercept
    )
    with pytest.warns(UserWarning, match="none of its test rows is predicted as that"):
        model.fit(X, y)
    assert_array_equal(split_scores(model), [[np.mean(y[25:] == "a")] * 3])


@pytest.mark.parametrize("scoring", METRICS_OF_ERRORS)
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_errors_where_a_class_is_missing_are_those_of_its_constant_target(fit_intercept, scoring):
    X, y = late_class()
    Y, splits = coded(y), list(TimeSeriesSplit(5).split(X))
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=splits, scoring=scoring, fit_intercept=fit_intercept
    )
    expected = np.empty((5, len(ALPHAS)))
    for (i, (train, test)), (j, alpha) in product(enumerate(splits), enumerate(ALPHAS)):
        ridge = Ridge(alpha, solver="svd", fit_intercept=fit_intercept).fit(X[train], Y[train])
        expected[i, j] = METRICS_OF_ERRORS[scoring](Y[test], ridge.predict(X[test]))
    assert_allclose(split_scores(fit_of(model, X, y)), expected, 1e-9)


def test_probabilities_stay_defined_where_a_class_is_missing_from_a_training_set():
    X, y = late_class()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=TimeSeriesSplit(5), probability=True)
    proba = fit_of(model, X, y).predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1.0)
    assert 0 < model.probability_scale_ < INF

    def likelihood(estimator, X, y):
        return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)

    for scoring in (likelihood, largest_value):
        scores = split_scores(fit_of(model.set_params(scoring=scoring), X, y))
        assert np.isfinite(scores).all()
