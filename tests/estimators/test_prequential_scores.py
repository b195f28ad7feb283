"""Prequential scores: each batch is scored by the fit to the batches before it."""

import copy
import math
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import TARGETS, assert_same_state, make_data, state, weights_of
from sklearn.base import clone
from sklearn.metrics import accuracy_score

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")
MODELS = {
    "one alpha": ParallelRidgeClassifier(prequential=True),
    "search": ParallelRidgeClassifierCV([1.0, 30.0], cv=3, prequential=True),
}


@pytest.fixture(params=MODELS)
def model(request):
    return clone(MODELS[request.param])


BATCHES = [slice(0, 30), slice(30, 47), slice(47, 80), slice(80, 120)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix])
def test_scores_are_those_of_the_models_before_each_batch(
    model, backend, container, target, weighted
):
    X, y = make_data(120, 5, target)
    X = container(X)
    weights = weights_of(120) if weighted else None
    model.set_params(backend=backend)
    by_hand = clone(model).set_params(prequential=False)
    right = total = n = 0.0
    for i, rows in enumerate(BATCHES):
        w = None if weights is None else weights[rows]
        if i:
            right += accuracy_score(
                y[rows], by_hand.predict(X[rows]), sample_weight=w, normalize=False
            )
            total += (rows.stop - rows.start) if w is None else w.sum()
            n += rows.stop - rows.start
        by_hand.partial_fit(X[rows], y[rows], sample_weight=w)
        model.partial_fit(X[rows], y[rows], sample_weight=w)
        assert model.prequential_n_samples_ == n
        if i:
            assert model.prequential_score_ == pytest.approx(right / total, 1e-12)
        else:
            assert math.isnan(model.prequential_score_)
    assert not hasattr(by_hand, "prequential_score_")
    assert np.array_equal(by_hand.coef_, model.coef_)


def test_rows_of_a_new_class_cannot_be_right(model):
    X, y = make_data(60)
    model.partial_fit(X[:40], y[:40])
    model.partial_fit(X[40:], np.full(20, "new"))
    assert model.prequential_score_ == 0.0 and model.prequential_n_samples_ == 20
    assert "new" in model.classes_


def test_batches_without_weight_are_not_scored(model):
    X, y = make_data(60)
    model.partial_fit(X[:40], y[:40]).partial_fit(X[40:], y[40:], sample_weight=np.zeros(20))
    assert math.isnan(model.prequential_score_) and model.prequential_n_samples_ == 0
    model.partial_fit(X[40:], y[40:])
    assert model.prequential_n_samples_ == 20


@pytest.mark.parametrize(
    "call",
    [
        lambda model, X, y: model.partial_fit(X * np.nan, y),
        lambda model, X, y: model.partial_fit(X, y[:-1]),
        lambda model, X, y: model.partial_fit(X, np.arange(60)),
        lambda model, X, y: model.partial_fit(X, y, sample_weight=-np.ones(60)),
    ],
)
def test_a_batch_that_is_refused_is_not_scored(model, call):
    X, y = make_data(60)
    model.partial_fit(X[:40], y[:40]).partial_fit(X[40:], y[40:])
    score, n = model.prequential_score_, model.prequential_n_samples_
    with pytest.raises(ValueError):
        call(model, X, y)
    assert (model.prequential_score_, model.prequential_n_samples_) == (score, n)
    assert model.statistics_.n_samples == 60


def test_copies_and_pickles_go_on_from_the_score(model):
    X, y = make_data(120)
    for rows in BATCHES[:2]:
        model.partial_fit(X[rows], y[rows])
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for one in (model, *twins):
        for rows in BATCHES[2:]:
            one.partial_fit(X[rows], y[rows])
    assert {one.prequential_score_ for one in twins} == {model.prequential_score_}
    assert {one.prequential_n_samples_ for one in twins} == {90}


def test_a_fit_forgets_the_score_and_a_new_stream_begins_another(model):
    X, y = make_data(60)
    model.partial_fit(X[:30], y[:30]).partial_fit(X[30:], y[30:])
    model.fit(X, y)
    assert not hasattr(model, "prequential_score_") and not hasattr(model, "_prequential")
    with pytest.warns(UserWarning, match="starts anew"):
        model.partial_fit(X, y)
    assert math.isnan(model.prequential_score_)


def test_a_fit_that_kept_statistics_scores_the_first_batch():
    X, y = make_data(60)
    model = ParallelRidgeClassifier(store_statistics=True, prequential=True).fit(X[:30], y[:30])
    expected = model.score(X[30:], y[30:])
    assert model.partial_fit(X[30:], y[30:]).prequential_score_ == expected


def test_nothing_is_scored_and_nothing_solved_by_default(model):
    X, y = make_data(60)
    model.set_params(prequential=False)
    model.partial_fit(X[:30], y[:30]).partial_fit(X[30:], y[30:])
    assert not hasattr(model, "prequential_score_")


def test_the_option_is_checked_before_anything_changes(model):
    X, y = make_data(60)
    model.set_params(prequential="yes")
    before = state(model)
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="prequential must be True or False; got 'yes'"):
            fit(X, y)
    assert_same_state(model, before)
