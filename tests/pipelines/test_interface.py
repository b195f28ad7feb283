"""A BlockPipeline inside scikit-learn."""

import copy
import pickle

import numpy as np
import pytest
import sklearn
from _data.estimators import assert_close, make_data, weights_of
from _data.pipelines import Spectrum, make_series
from numpy.testing import assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.validation import check_is_fitted

from parallel_ridge import (
    BlockPipeline,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    make_block_pipeline,
)

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


def pipeline(**options):
    steps = [("scale", StandardScaler()), ("ridge", ParallelRidgeClassifier(2.0))]
    return BlockPipeline(steps, **options)


def test_steps_are_named_and_indexed():
    X, y = make_data()
    model = pipeline().fit(X, y)
    assert isinstance(model, Pipeline) and is_classifier(model) and len(model) == 2
    assert model.named_steps.scale is model["scale"] is model[0] is model.steps[0][1]
    assert model.named_steps["ridge"] is model[-1]
    assert type(model[:-1]) is Pipeline
    assert_array_equal(model[:-1].transform(X), model[0].transform(X))
    assert make_block_pipeline(StandardScaler(), ParallelRidgeClassifier()).steps[0][0] == (
        "standardscaler"
    )


def test_parameters_are_nested_and_cloned():
    model = pipeline(fit_rows=50, block_rows=9, dtype="float32", cache="memory", verbose=False)
    params = model.get_params()
    assert params["ridge__alpha"] == 2.0 and params["scale__with_mean"] is True
    own = {"steps", "fit_rows", "block_rows", "dtype", "cache", "verbose"}
    assert own == set(model.get_params(deep=False))
    bare = clone(model).set_params(ridge__alpha=5.0, block_rows=3)
    assert bare.get_params()["ridge__alpha"] == 5.0 and bare.block_rows == 3
    assert model.get_params()["ridge__alpha"] == 2.0 and model.block_rows == 9
    assert "block_rows=3" in repr(bare) and "alpha=5.0" in repr(bare)


def test_it_is_fitted_as_a_whole():
    X, y = make_data()
    model = pipeline()
    for call in (model.predict, model.decision_function, lambda X: model.score(X, y)):
        with pytest.raises(NotFittedError):
            call(X)
    model[-1].fit(X, y)  # one step alone
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    check_is_fitted(model.fit(X, y))
    twin = pickle.loads(pickle.dumps(model))
    assert_array_equal(twin.predict(X), model.predict(X))
    model.set_params(scale=StandardScaler())  # which made none of the features
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert_array_equal(model.fit(X, y).predict(X), twin.predict(X))


def test_methods_are_those_of_the_last_step():
    X, y = make_data()
    model = pipeline().fit(X, y)
    for name in ("predict_proba", "predict_log_proba", "transform", "fit_transform", "fit_predict"):
        assert not hasattr(model, name), name
    search = ParallelRidgeClassifierCV([1.0, 10.0], cv=3, probability=True)
    model = make_block_pipeline(StandardScaler(), search).fit(X, y)
    assert_close(model.predict_proba(X).sum(axis=1), np.ones(60), 1e-12)


def test_copies_and_pickles_answer_the_same():
    X, y = make_series()
    model = make_block_pipeline(Spectrum(), ParallelRidgeClassifier(0.1), block_rows=8).fit(X, y)
    values = model.decision_function(X)
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_array_equal(twin.decision_function(X), values)
        assert_array_equal(twin.classes_, model.classes_)


def test_the_diagram_shows_the_steps():
    X, y = make_data()
    for model in (pipeline(), pipeline().fit(X, y)):
        html = model._repr_html_()
        assert "StandardScaler" in html and "ParallelRidgeClassifier" in html
        assert "BlockPipeline" in html


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_searches_over_it_are_those_over_a_pipeline(n_jobs):
    X, y = make_data(120, 4)
    steps = PolynomialFeatures(1), ParallelRidgeClassifier()
    grid = {"polynomialfeatures__degree": [1, 2], "parallelridgeclassifier__alpha": [0.1, 50.0]}
    found = GridSearchCV(make_block_pipeline(*steps, block_rows=32), grid, n_jobs=n_jobs).fit(X, y)
    expected = GridSearchCV(make_pipeline(*map(clone, steps)), grid).fit(X, y)
    score = "mean_test_score"
    assert_array_equal(found.cv_results_[score], expected.cv_results_[score])
    assert found.best_params_ == expected.best_params_
    assert_array_equal(found.predict(X), expected.predict(X))
    Z, labels = make_series()
    spectra = make_block_pipeline(Spectrum(), ParallelRidgeClassifier())
    assert cross_val_score(spectra, Z, labels).mean() > 0.8


def test_arguments_of_steps_go_to_them():
    X, y = make_data()
    weights = weights_of(60)
    model = pipeline().fit(X, y, ridge__sample_weight=weights, scale__sample_weight=weights)
    scaler = StandardScaler().fit(X, sample_weight=weights)
    direct = ParallelRidgeClassifier(2.0).fit(scaler.transform(X), y, weights)
    assert_close(model[-1].coef_, direct.coef_, 1e-10)
    with pytest.raises(ValueError, match="stepname__parameter"):
        model.fit(X, y, sample_weight=weights)


def test_groups_go_to_the_search():
    from sklearn.model_selection import GroupKFold

    X, y = make_data()
    groups = np.arange(60) // 6
    last = ParallelRidgeClassifierCV([1.0, 10.0], cv=GroupKFold(3))
    steps = [("scale", StandardScaler()), ("ridge", last)]
    model = BlockPipeline(steps, block_rows=8).fit(X, y, ridge__groups=groups)
    direct = clone(last).fit(StandardScaler().fit_transform(X), y, groups=groups)
    assert_close(
        model[-1].cv_results_["mean_test_score"], direct.cv_results_["mean_test_score"], 1e-12
    )


def test_metadata_are_routed():
    X, y = make_data()
    weights = weights_of(60)
    with sklearn.config_context(enable_metadata_routing=True):
        ridge = ParallelRidgeClassifier(2.0).set_fit_request(sample_weight=True)
        ridge.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        model = BlockPipeline([("scale", scaler), ("ridge", ridge)])
        model.fit(X, y, sample_weight=weights)
        assert "sample_weight" in str(model.get_metadata_routing())
    scaler = StandardScaler().fit(X, sample_weight=weights)
    direct = ParallelRidgeClassifier(2.0).fit(scaler.transform(X), y, weights)
    assert_close(model[-1].coef_, direct.coef_, 1e-10)


def test_the_package_is_imported_without_pipelines():
    from _data.estimators import run_python

    code = "import sys, parallel_ridge; print('parallel_ridge.pipelines' in sys.modules)"
    assert run_python(code).strip() == "False"
