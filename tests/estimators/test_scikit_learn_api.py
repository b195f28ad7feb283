"""The classifier inside scikit-learn: its checks, clones, pipelines, searches."""

import copy
import pickle

import pytest
import sklearn
from _data.estimators import SOLVERS, assert_close, assert_same_state, make_data, state, weights_of
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from parallel_ridge import (
    OpenMPBackend,
    ParallelRidgeClassifier,
)

CHECKS = parametrize_with_checks(
    [
        ParallelRidgeClassifier(),
        ParallelRidgeClassifier(standardize=True, store_statistics=True),
        ParallelRidgeClassifier(backend=OpenMPBackend(n_jobs=1), objective="mean"),
        *(ParallelRidgeClassifier(solver=solver) for solver in SOLVERS[1:]),
    ]
)


# Checks with extreme class weights make the dual of tall data ill-conditioned.
@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
# Of scikit-learn 1.6 they are a generator, which pytest no longer takes.
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_sklearn_check(estimator, check):
    check(estimator)


def test_clone_copy_and_pickle_keep_options_and_answers():
    X, y = make_data()
    configured = OpenMPBackend(n_jobs=1)
    model = ParallelRidgeClassifier(2.0, backend=configured, store_statistics=True, solver="eigen")
    assert model.get_params()["backend"] is configured
    bare = clone(model)
    assert bare.get_params() == model.get_params() and bare.backend is not configured
    assert set(vars(bare)) == set(bare.get_params())
    model.fit(X, y)
    assert model.backend is configured
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.backend == configured and twin.statistics_ == model.statistics_
        assert_array_equal(twin.decision_function(X), model.decision_function(X))
        twin.partial_fit(X, y)
        assert model.statistics_.n_samples == 60
    assert clone(model).set_params(alpha=7, solver="cg").alpha == 7


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_finds_what_it_finds_with_scikit_learn(n_jobs):
    X, y = make_data(120)
    grid = {"alpha": [0.1, 10.0, 1000.0], "class_weight": [None, "balanced"]}
    ours = GridSearchCV(ParallelRidgeClassifier(), grid, n_jobs=n_jobs).fit(X, y)
    theirs = GridSearchCV(RidgeClassifier(), grid).fit(X, y)
    scores = "mean_test_score"
    assert_array_equal(ours.cv_results_[scores], theirs.cv_results_[scores])
    assert ours.best_params_ == theirs.best_params_
    assert_close(ours.best_estimator_.coef_, theirs.best_estimator_.coef_)


def test_meta_estimators_give_what_they_give_with_scikit_learn():
    X, y = make_data(120)

    def answers(ridge):
        yield cross_val_predict(ridge, X, y, method="decision_function")
        yield CalibratedClassifierCV(ridge, cv=3).fit(X, y).predict_proba(X)
        logistic = LogisticRegression(tol=1e-10, max_iter=1000)
        yield StackingClassifier([("ridge", ridge)], logistic).fit(X, y).predict_proba(X)
        yield make_pipeline(StandardScaler(), ridge).fit(X, y).decision_function(X)

    for ours, theirs in zip(
        answers(ParallelRidgeClassifier()), answers(RidgeClassifier(solver="svd")), strict=True
    ):
        assert_close(ours, theirs, 1e-6)


def test_sample_weights_are_routed():
    X, y = make_data()
    w = weights_of(60)
    with sklearn.config_context(enable_metadata_routing=True):
        ridge = ParallelRidgeClassifier().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, ridge).fit(X, y, sample_weight=w)
        ridge.set_score_request(sample_weight=True)
        search = GridSearchCV(ridge, {"alpha": [3.0]}).fit(X, y, sample_weight=w)
        partial = clone(ridge).set_partial_fit_request(sample_weight=True, classes=True)
    direct = ParallelRidgeClassifier(standardize=True).fit(X, y, w)
    assert_close(pipeline.decision_function(X), direct.decision_function(X))
    assert_close(search.best_estimator_.coef_, ParallelRidgeClassifier(3.0).fit(X, y, w).coef_)
    assert partial.fit(X, y, w).score(X, y, w) > 0.3


def test_feature_names_are_kept_and_compared():
    pd = pytest.importorskip("pandas")
    X, y = make_data()
    frame = pd.DataFrame(X, columns=list("vwxyz"))
    model = ParallelRidgeClassifier(store_statistics=True).fit(frame, y)
    assert model.feature_names_in_.tolist() == list("vwxyz")
    assert_array_equal(model.predict(frame), ParallelRidgeClassifier().fit(X, y).predict(X))
    by_statistics = ParallelRidgeClassifier().fit_statistics(model.statistics_)
    assert by_statistics.feature_names_in_.tolist() == list("vwxyz")
    before = state(model)
    other = frame.rename(columns={"x": "X"})
    for call in (model.predict, model.decision_function, lambda X: model.partial_fit(X, y)):
        with pytest.raises(ValueError, match=r"(?s)unseen.*- X\n.*missing.*- x"):
            call(other)
        with pytest.raises(ValueError, match="same order"):
            call(frame[list("zyxwv")])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    assert_same_state(model, before)
    model.fit(X, y)
    assert not hasattr(model, "feature_names_in_")
    pipeline = make_pipeline(StandardScaler(), model).set_output(transform="pandas").fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == list("vwxyz")


def test_the_diagram_of_a_fitted_model_is_cheap():
    X, y = make_data(300, 500)
    model = ParallelRidgeClassifier(backend=OpenMPBackend(2), store_statistics=True).fit(X, y)
    assert "ParallelRidgeClassifier" in model._repr_html_()
    assert len(model._repr_html_()) < 100_000
    assert repr(model).count("\n") < 4 and len(repr(model.statistics_)) < 200


@pytest.mark.parametrize("solver", SOLVERS)
def test_verbose_prints_each_step_and_silence_is_the_default(solver, capsys):
    X, y = make_data()
    ParallelRidgeClassifier(solver=solver).fit(X, y)
    assert capsys.readouterr().out == ""
    ParallelRidgeClassifier(solver=solver, verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.startswith("[ParallelRidgeClassifier] ") for line in lines)
    assert any((solver if solver != "auto" else "cholesky") in line for line in lines)
