"""Probabilities of held-out and of new rows."""

import numpy as np
import pytest
from _data.model_selection import (
    ALPHAS,
    CONTAINERS,
    TARGETS,
    best_scale,
    coded,
    left_out_values,
    loss_of,
    make_data,
    probabilities_of,
    weights_of,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.metrics import (
    log_loss,
)
from sklearn.model_selection import (
    cross_val_predict,
    cross_val_score,
)

from parallel_ridge import (
    ParallelRidgeClassifierCV,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("target", TARGETS)
def test_probabilities_sum_to_one_and_grow_with_decision_values(target, cv):
    X, y = make_data(60, 5, target)
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, probability=True).fit(X, y)
    proba, values = model.predict_proba(X), model.decision_function(X)
    with np.errstate(divide="ignore"):
        assert_allclose(model.predict_log_proba(X), np.log(proba), 1e-12)
    assert_allclose(
        proba, probabilities_of(values, model.probability_scale_, target == "multilabel"), 1e-10
    )
    if target == "multilabel":
        assert_array_equal((proba > 0.5).astype(int), model.predict(X))
        assert (np.diff(proba[np.argsort(values[:, 0]), 0]) >= 0).all()
        return
    assert proba.shape == (60, 2 if target == "binary" else 3)
    assert_allclose(proba.sum(axis=1), 1.0, 1e-12)
    assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))
    if target == "binary":
        assert (np.diff(proba[np.argsort(values), 1]) >= 0).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_scale_minimises_the_log_loss_of_rows_left_out(target, container, weighted):
    X, y = make_data(40, 5, target)
    weights = weights_of(40) if weighted else None
    model = ParallelRidgeClassifierCV([2.0], probability=True)
    model.fit(CONTAINERS[container](X), y, weights)
    values = left_out_values(X, coded(y), 2.0, weights)
    assert_allclose(model.probability_scale_, best_scale(values, y, weights), 1e-4)


def test_the_scale_of_one_label_a_row_is_that_of_labels_which_may_be_several():
    # predict_proba of labels gives each its own probability: that is what the scale must suit.
    X, names = make_data(60, 5)
    Y = (names[:, None] == np.unique(names)).astype(int)
    model = ParallelRidgeClassifierCV([2.0], probability=True).fit(X, Y)
    scale = best_scale(left_out_values(X, coded(Y), 2.0), Y)
    assert_allclose(model.probability_scale_, scale, 1e-4)


@pytest.mark.parametrize("alpha", [1e4, 1e8])
def test_the_scale_suits_values_of_any_size(alpha):
    X, y = make_data(60, 5, "binary")
    model = ParallelRidgeClassifierCV([alpha], probability=True, fit_intercept=False).fit(X, y)
    values = left_out_values(X, coded(y), alpha, fit_intercept=False)
    best = loss_of(values, y, best_scale(values, y))
    assert best < 0.6  # or else any scale is as good
    assert loss_of(values, y, model.probability_scale_) <= best + 1e-6


def test_probabilities_need_to_be_asked_for():
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS).fit(X, y)
    for method in ("predict_proba", "predict_log_proba"):
        assert not hasattr(model, method)
        with pytest.raises(AttributeError, match=method):
            getattr(model, method)(X)
    assert not hasattr(model, "probability_scale_") and not hasattr(model, "loo_decision_")
    assert not hasattr(model.set_params(probability=True), "predict_proba")  # too late
    asked = ParallelRidgeClassifierCV(ALPHAS, probability=True)
    assert hasattr(asked, "predict_proba")
    with pytest.raises(NotFittedError):
        asked.predict_proba(X)


def test_probabilities_of_other_folds_are_scored_by_scikit_learn():
    X, y = make_data(120)
    model = ParallelRidgeClassifierCV(ALPHAS, probability=True)
    proba = cross_val_predict(model, X, y, cv=3, method="predict_proba")
    assert_allclose(proba.sum(axis=1), 1.0)
    prior = np.full((120, 3), np.unique(y, return_counts=True)[1] / 120)
    assert log_loss(y, proba) < 0.8 * log_loss(y, prior)
    for scoring in ("roc_auc_ovr", "neg_log_loss"):
        assert np.isfinite(cross_val_score(model, X, y, cv=3, scoring=scoring)).all()
