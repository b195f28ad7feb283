"""What a search leaves behind."""

import warnings
from itertools import product

import numpy as np
import pytest
from _data.model_selection import ALPHAS, TARGETS, make_data, split_scores
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ShuffleSplit,
)

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


def test_ties_up_to_rounding_go_to_the_larger_alpha():
    X, y = make_data(61, 5, "binary")
    folds = ShuffleSplit(4, test_size=0.3, train_size=0.5, random_state=0)
    model = ParallelRidgeClassifierCV(ALPHAS, cv=folds).fit(X, y)
    hits = np.rint(19 * split_scores(model)).sum(axis=0)
    assert hits[0] == hits[1] > hits[2]
    assert model.alpha_ == ALPHAS[1]
    assert model.cv_results_["rank_test_score"].tolist() == [1, 1, 3]


def test_results_have_the_format_of_grid_search():
    X, y = make_data(60, 5)
    alphas = [*ALPHAS, 1e12, 1e13]  # the last two predict alike
    grid = GridSearchCV(RidgeClassifier(), {"alpha": alphas}, cv=4).fit(X, y)
    model = ParallelRidgeClassifierCV(alphas, cv=4).fit(X, y)
    theirs, ours = grid.cv_results_, model.cv_results_
    assert ours.keys() == theirs.keys()
    for name, column in theirs.items():
        if name == "params":
            assert ours[name] == column
            continue
        assert type(ours[name]) is type(column), name
        assert ours[name].dtype == column.dtype and ours[name].shape == column.shape, name
        if name.endswith("time"):
            assert (ours[name] >= 0).all() and ours["mean_fit_time"].max() < 60
        else:
            assert_allclose(np.asarray(ours[name]), np.asarray(column), 1e-12)
    assert len(set(ours["rank_test_score"])) < len(alphas)
    assert model.best_index_ == alphas.index(model.alpha_) and model.n_splits_ == 4
    assert isinstance(model.alpha_, float) and isinstance(model.best_score_, float)
    shape = {"binary": (5,), "multiclass": (3, 5), "multilabel": (3, 5)}
    for target in TARGETS:
        model = ParallelRidgeClassifierCV(ALPHAS, cv=3).fit(*make_data(target=target))
        assert model.coef_.shape == shape[target]
        assert model.intercept_.shape == ((1,) if target == "binary" else (3,))
    assert ParallelRidgeClassifierCV(fit_intercept=False).fit(X, y).intercept_ == 0.0


@pytest.mark.parametrize("cv", [None, 3])
def test_the_fit_to_all_rows_is_that_of_the_chosen_alpha(cv):
    for target, shape in product(TARGETS, ((60, 5), (20, 40))):
        X, y = make_data(*shape, target)
        model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, store_statistics=True).fit(X, y)
        alone = ParallelRidgeClassifier(model.alpha_, store_statistics=True).fit(X, y)
        assert_allclose(model.coef_, alone.coef_, 1e-8, 1e-10)
        assert_array_equal(model.predict(X), alone.predict(X))
        assert model.solver_ == alone.solver_
        coefs, intercepts = model.coef_path([model.alpha_])
        assert_allclose(coefs[0], model.coef_, 1e-8, 1e-10)
        assert_allclose(intercepts[0], model.intercept_, 1e-8, 1e-10)


@pytest.mark.parametrize("cv", [None, 3])
def test_ties_go_to_the_larger_alpha(cv):
    X, y = make_data(60, 5, "binary")
    X = 1e-3 * X  # predictions hardly depend on such alphas
    for alphas in ([10.0, 1e3, 1e2], [1e3, 1e2, 10.0], [1e2, 10.0, 1e3]):
        model = ParallelRidgeClassifierCV(alphas, cv=cv, scoring="accuracy").fit(X, y)
        scores = model.cv_results_["mean_test_score"]
        assert len(set(scores)) == 1  # or else the test tests nothing
        assert model.alpha_ == 1e3 and model.cv_results_["rank_test_score"].tolist() == [1] * 3
    grid = GridSearchCV(RidgeClassifier(), {"alpha": alphas}, cv=3).fit(X, y)
    assert grid.cv_results_["rank_test_score"].tolist() == [1] * 3


@pytest.mark.parametrize("cv", [None, 3])
def test_an_alpha_at_the_end_of_the_grid_is_named(cv):
    X, y = make_data(60, 5, signal=0.3)
    options = {"cv": cv, "scoring": "neg_mean_squared_error"}
    best = ParallelRidgeClassifierCV(np.logspace(-3, 5, 33), **options).fit(X, y).alpha_
    down, up = [best, 1e7 * best, 1e8 * best], [best * 1e-7, best * 1e-8, best]
    for alphas, end, further in ((down, "smallest", "smaller"), (up, "largest", "larger")):
        with pytest.warns(UserWarning, match=f"alpha, {best:g}, is the {end}.* a {further} one"):
            ParallelRidgeClassifierCV(alphas, **options).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ParallelRidgeClassifierCV([1e7 * best, best, 1e-7 * best], **options).fit(X, y)
        ParallelRidgeClassifierCV([best], **options).fit(X, y)
        assert ParallelRidgeClassifierCV(best, **options).fit(X, y).alpha_ == best


@pytest.mark.parametrize("scoring", ["accuracy", "neg_mean_squared_error", "neg_log_loss"])
@pytest.mark.parametrize("cv", [None, 3])
def test_scores_do_not_depend_on_the_order_of_alphas(cv, scoring):
    X, y = make_data()
    options = {"cv": cv, "scoring": scoring, "probability": True}
    alphas = np.logspace(-4, 4, 12)
    ascending = ParallelRidgeClassifierCV(alphas, **options).fit(X, y)
    order = np.random.default_rng(0).permutation(12)
    shuffled = ParallelRidgeClassifierCV(alphas[order], **options).fit(X, y)
    scores = ascending.cv_results_["mean_test_score"][order]
    assert_allclose(shuffled.cv_results_["mean_test_score"], scores, 1e-7)
    assert shuffled.alpha_ == ascending.alpha_
    for few in (alphas[:3], alphas[5:7], alphas[:1]):  # each by a Cholesky of its own
        alone = ParallelRidgeClassifierCV(few, **options).fit(X, y)
        at = np.searchsorted(alphas, few)
        assert_allclose(
            alone.cv_results_["mean_test_score"], ascending.cv_results_["mean_test_score"][at], 1e-7
        )


@pytest.mark.parametrize("shape", [(80, 5), (40, 60)])
def test_scores_move_with_the_rows(shape):
    X, y = make_data(*shape)
    order = np.random.default_rng(0).permutation(len(X))
    place = np.argsort(order)
    splits = list(KFold(4, shuffle=True, random_state=1).split(X))
    moved = [(place[train], place[test]) for train, test in splits]
    for scoring in ("accuracy", "neg_mean_squared_error", "f1_macro"):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=splits, scoring=scoring).fit(X, y)
        other = ParallelRidgeClassifierCV(ALPHAS, cv=moved, scoring=scoring).fit(X[order], y[order])
        assert_allclose(split_scores(other), split_scores(model), 1e-9)
    loo = ParallelRidgeClassifierCV([1.0], store_cv_results=True)
    values = loo.fit(X, y).loo_decision_
    assert_allclose(clone(loo).fit(X[order], y[order]).loo_decision_, values[order], 1e-8, 1e-9)
