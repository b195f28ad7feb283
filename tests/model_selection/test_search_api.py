"""Searches inside scikit-learn."""

import copy
import pickle

import numpy as np
import pytest
from _data.model_selection import ALPHAS, hits, make_data, split_scores, weights_of
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import (
    LeaveOneGroupOut,
    StratifiedKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from parallel_ridge import (
    OpenMPBackend,
    ParallelRidgeClassifierCV,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


CHECKS = parametrize_with_checks(
    [
        ParallelRidgeClassifierCV(),
        ParallelRidgeClassifierCV(cv=3, probability=True, standardize=True),
    ]
)


# Of scikit-learn 1.6 they are a generator, which pytest no longer takes.
@pytest.mark.filterwarnings("ignore:The training set of split")
@pytest.mark.filterwarnings("ignore:The least populated class in y")
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_sklearn_check(estimator, check):
    check(estimator)


LABELS = {
    "strings": ["no", "perhaps", "yes"],
    "negative integers": [-5, -1, 3],
    "booleans": [False, True],
    "objects": np.array(["x", "yy", "zzz"], dtype=object),
    "whole floats": [1.0, 2.0, 5.0],
    "uint8": np.array([0, 1, 255], np.uint8),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("cv", [None, 3])
def test_labels_of_any_kind_come_back(labels, cv):
    X, _ = make_data(60, 4)
    codes = np.arange(60) % len(labels)
    X[:, 0] += 2 * codes
    y = np.asarray(labels)[codes]
    for scoring in (None, "balanced_accuracy", hits):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring=scoring, probability=True)
        of_codes = clone(model).fit(X, codes)
        model.fit(X, y)
        assert model.classes_.tolist() == list(labels)
        assert model.predict(X).dtype == model.classes_.dtype
        assert_array_equal(model.predict(X), np.asarray(labels)[of_codes.predict(X)])
        scores = of_codes.cv_results_["mean_test_score"]
        assert_array_equal(model.cv_results_["mean_test_score"], scores)
        assert_allclose(model.predict_proba(X), of_codes.predict_proba(X))


def test_data_frames_bring_their_names():
    pd = pytest.importorskip("pandas")
    X, y = make_data()
    frame = pd.DataFrame(X, columns=list("abcde"), index=np.arange(60)[::-1])
    weights = pd.Series(weights_of(60), index=frame.index)
    for cv in (None, StratifiedKFold(3, shuffle=True, random_state=0)):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, store_statistics=True)
        model.fit(frame, pd.Series(y, index=frame.index), weights)
        plain = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y, weights_of(60))
        assert model.feature_names_in_.tolist() == list("abcde")
        assert_array_equal(model.coef_, plain.coef_)
        assert model.best_score_ == plain.best_score_
        with pytest.raises(ValueError, match="feature names"):
            model.predict(frame[list("edcba")])
        assert_array_equal(model.predict(frame), plain.predict(X))


@pytest.mark.parametrize("cv", [None, 3])
def test_clone_copy_pickle_and_pipeline_keep_options_and_answers(cv):
    X, y = make_data()
    options = {"cv": cv, "probability": True, "backend": OpenMPBackend(1), "store_statistics": True}
    model = ParallelRidgeClassifierCV(ALPHAS, **options)
    bare = clone(model)
    assert set(vars(bare)) == set(bare.get_params()) and bare.backend == model.backend
    assert {k: bare.get_params()[k] for k in options} == options
    model.fit(X, y)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
        assert twin.cv_results_.keys() == model.cv_results_.keys()
    pipeline = make_pipeline(StandardScaler(), ParallelRidgeClassifierCV(ALPHAS, cv=cv)).fit(X, y)
    scaled = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(StandardScaler().fit_transform(X), y)
    assert_array_equal(pipeline[-1].coef_, scaled.coef_)
    assert set(vars(model)) > set(vars(bare))
    again = {name for name in vars(model.set_params(probability=False).fit(X, y))}
    assert "probability_scale_" not in again  # a fit leaves nothing of the one before


def test_splits_of_an_iterator_and_groups_of_a_frame_are_taken():
    X, y = make_data()
    groups = np.arange(60) // 20
    model = ParallelRidgeClassifierCV(ALPHAS, cv=LeaveOneGroupOut()).fit(X, y, groups=groups)
    splits = LeaveOneGroupOut().split(X, y, groups)
    assert_array_equal(
        split_scores(ParallelRidgeClassifierCV(ALPHAS, cv=splits).fit(X, y)), split_scores(model)
    )


@pytest.mark.parametrize("cv", [None, 3])
def test_verbose_tells_the_steps_and_silence_is_the_default(cv, capsys):
    X, y = make_data()
    ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y)
    assert capsys.readouterr() == ("", "")
    ParallelRidgeClassifierCV(ALPHAS, cv=cv, verbose=1).fit(X, y)
    assert "scored 3 penalties" in capsys.readouterr().out
