"""Scorers of scikit-learn and of users."""

import warnings

import numpy as np
import pytest
from _data.model_selection import (
    ALPHAS,
    METRICS_OF_ERRORS,
    TARGETS,
    best_scale,
    coded,
    hits,
    largest_value,
    left_out_values,
    make_data,
    probabilities_of,
    reference_scores,
    references,
    split_scores,
    weights_of,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import (
    adjusted_rand_score,
    average_precision_score,
    f1_score,
    fbeta_score,
    get_scorer,
    log_loss,
    make_scorer,
    precision_score,
    roc_auc_score,
)
from sklearn.model_selection import (
    StratifiedKFold,
)

from parallel_ridge import (
    ParallelRidgeClassifierCV,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


SCORERS = {  # and whether they take sample_weight
    **{name: (name, True) for name in ("accuracy", "balanced_accuracy", "f1_macro")},
    "matthews": ("matthews_corrcoef", True),
    "jaccard": ("jaccard_weighted", True),
    "rand": (make_scorer(adjusted_rand_score), False),
    "error": (
        make_scorer(lambda y_true, y_pred: np.mean(y_true != y_pred), greater_is_better=False),
        False,
    ),
    "callable": (hits, False),
    "callable of values": (largest_value, False),
}


BINARY_SCORERS = {
    "f1 of yes": (make_scorer(f1_score, pos_label="yes"), True),
    "f2 of no": (make_scorer(fbeta_score, beta=2, pos_label="no"), True),
    "precision of no": (make_scorer(precision_score, pos_label="no"), True),
    "roc_auc": ("roc_auc", True),
    "average precision": (
        make_scorer(average_precision_score, response_method="decision_function", pos_label="no"),
        True,
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [*SCORERS, *BINARY_SCORERS])
def test_every_scorer_gives_what_it_gives_in_scikit_learn(name, weighted):
    scoring, takes_weights = {**SCORERS, **BINARY_SCORERS}[name]
    for target in ("binary", "multiclass") if name in SCORERS else ("binary",):
        X, y = make_data(120, 6, target)
        weights = weights_of(120, zeros=0.0) if weighted else None
        splits = list(StratifiedKFold(3).split(X, y))
        model = ParallelRidgeClassifierCV(ALPHAS[1:], cv=3, scoring=scoring)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* takes no sample_weight", UserWarning)
            model.fit(X, y, weights)
        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        expected = reference_scores(
            scorer, X, y, ALPHAS[1:], splits, weights, weighted=takes_weights
        )
        assert_allclose(split_scores(model), expected, 1e-10, 1e-12)


def test_a_scorer_without_weights_says_so_where_there_are_some():
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring=make_scorer(adjusted_rand_score))
    with pytest.warns(UserWarning, match=r"adjusted_rand_score.*takes no sample_weight"):
        model.fit(X, y, weights_of(60))


PROBABILITY_SCORES = {
    "neg_log_loss": lambda y, P, w: -log_loss(y, P, sample_weight=w),
    "roc_auc_ovr": lambda y, P, w: roc_auc_score(
        y, P[:, 1] if P.shape[1] == 2 else P, multi_class="ovr", sample_weight=w
    ),
}


@pytest.mark.parametrize("scoring", PROBABILITY_SCORES)
@pytest.mark.parametrize("target", ["binary", "multiclass"])
@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_probabilities_come_from_held_out_values(scoring, target, cv, weighted):
    X, y = make_data(60, 5, target)
    weights = weights_of(60, zeros=0.0) if weighted else None
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring=scoring, probability=True)
    model.fit(X, y, weights)
    metric = PROBABILITY_SCORES[scoring]
    if cv is None:
        splits = [(None, np.arange(60))]
        held = [[left_out_values(X, coded(y), alpha, weights)] for alpha in ALPHAS]
        scores = model.cv_results_["mean_test_score"][None]
    else:
        splits = list(StratifiedKFold(3).split(X, y))
        held = [[] for _ in ALPHAS]
        for (_, j), test, _, reference in references(X, y, ALPHAS, splits, weights):
            held[j].append(reference.values(X[test]))
        scores = split_scores(model)
    tested = np.concatenate([test for _, test in splits])
    for j, values in enumerate(held):
        w = None if weights is None else weights[tested]
        scale = best_scale(np.concatenate(values), y[tested], w)
        for i, (_, test) in enumerate(splits):
            w = None if weights is None else weights[test]
            expected = metric(y[test], probabilities_of(values[i], scale), w)
            assert_allclose(scores[i, j], expected, 1e-5)
        if ALPHAS[j] == model.alpha_:
            assert_allclose(model.probability_scale_, scale, 1e-4)


@pytest.mark.parametrize("cv", [None, 3])
def test_a_callable_scorer_may_ask_for_probabilities(cv):
    X, y = make_data()

    def likelihood(estimator, X, y):
        return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)

    options = {"cv": cv, "probability": True}
    model = ParallelRidgeClassifierCV(ALPHAS, scoring=likelihood, **options).fit(X, y)
    named = ParallelRidgeClassifierCV(ALPHAS, scoring="neg_log_loss", **options).fit(X, y)
    scores = named.cv_results_["mean_test_score"]
    assert_allclose(model.cv_results_["mean_test_score"], scores, 1e-12)
    with pytest.raises(AttributeError, match="predict_proba"):
        ParallelRidgeClassifierCV(ALPHAS, scoring=likelihood, cv=cv).fit(X, y)


@pytest.mark.parametrize("scoring", METRICS_OF_ERRORS)
@pytest.mark.parametrize("target", TARGETS)
def test_error_scores_of_rows_left_out_are_those_of_the_metrics(scoring, target):
    X, y = make_data(40, 5, target)
    Y, metric = coded(y), METRICS_OF_ERRORS[scoring]
    for weights in (None, weights_of(40)):
        model = ParallelRidgeClassifierCV(ALPHAS, scoring=scoring).fit(X, y, weights)
        expected = [metric(Y, left_out_values(X, Y, alpha, weights), weights) for alpha in ALPHAS]
        assert_allclose(model.cv_results_["mean_test_score"], expected, 1e-9)


def test_a_score_without_a_name_is_that_of_ridge_classifier_cv():
    X, y = make_data()
    # With weights, scikit-learn's squared errors of leave-one-out are a mean over rows all the same.
    for cv, scoring in ((None, "neg_mean_squared_error"), (3, "accuracy")):
        unnamed = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y)
        named = ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring=scoring).fit(X, y)
        scores = unnamed.cv_results_["mean_test_score"]
        assert_array_equal(scores, named.cv_results_["mean_test_score"])
        assert_allclose(unnamed.best_score_, RidgeClassifierCV(ALPHAS, cv=cv).fit(X, y).best_score_)
