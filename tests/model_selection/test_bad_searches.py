"""Bad input of searches."""

import contextlib
import copy
import re
import tracemalloc
import warnings

import numpy as np
import pytest
from _data.model_selection import ALPHAS, CONTAINERS, INF, NAN, TARGETS, make_data, split_scores
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import (
    accuracy_score,
    make_scorer,
)
from sklearn.model_selection import (
    KFold,
    ShuffleSplit,
    StratifiedKFold,
)

from parallel_ridge import (
    IllConditionedWarning,
    ParallelRidgeClassifierCV,
    reductions,
)
from parallel_ridge.sources import Block, Labels

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


def state(estimator):
    return copy.deepcopy(vars(estimator))


def assert_same_state(estimator, before):
    now = vars(estimator)
    assert now.keys() == before.keys()
    for name, value in before.items():
        assert repr(now[name]) == repr(value), name


def constant(value):
    return lambda estimator, X, y: value


BAD_OPTIONS = [
    ({"alphas": []}, "alphas is empty"),
    ({"alphas": [1.0, NAN]}, r"alphas\[1\] == nan, must be finite"),
    ({"alphas": [1.0, -2.0]}, r"alphas\[1\] == -2\.0, must be >= 0\.0"),
    ({"alphas": [1.0, INF], "cv": 3}, r"alphas\[1\] == inf, must be finite"),
    ({"alphas": -3}, r"alphas\[0\] == -3, must be >= 0\.0"),
    ({"alphas": "many"}, r"alphas\[0\] must be an instance of float, not str"),
    ({"alphas": None}, r"alphas\[0\] must be an instance of float, not NoneType"),
    ({"alphas": [True]}, r"alphas\[0\] must be an instance of float, not bool"),
    ({"alphas": [[1.0, 2.0]]}, r"alphas\[0\] must be an instance of float, not list"),
    ({"alphas": [1.0, "2"]}, r"alphas\[1\] must be an instance of float, not str"),
    ({"alphas": [0.0, 1.0]}, r"alphas=\[0.0, 1.0\].*leave-one-out"),
    ({"cv": 1}, "cv=1 "),
    ({"cv": 0}, "cv=0 "),
    ({"cv": -3}, "cv=-3 "),
    ({"cv": 2.5}, r"2\.5"),
    ({"cv": "five"}, "five"),
    ({"cv": 61}, "61"),
    ({"cv": []}, r"cv=\[\] gives no splits"),
    ({"cv": [(range(9), range(9)), (range(9), [])]}, "Split 1.* empty test set"),
    ({"cv": [([], range(9))]}, "Split 0.* empty training set"),
    ({"cv": [(range(9), [3]), ([0.5, 1.5], [2])]}, r"Split 1.*0\.5"),
    ({"cv": [(range(50), [2, 60])]}, "row 60, and there are 60 rows"),
    ({"cv": [(range(-61, 0), [1])]}, "row -61, and there are 60 rows"),
    ({"scoring": "acuracy"}, "acuracy"),
    ({"scoring": ["accuracy", "f1_macro"]}, r"got \['accuracy', 'f1_macro'\]"),
    ({"scoring": 3}, "got 3"),
    ({"scoring": accuracy_score}, "accuracy_score"),
    ({"scoring": "neg_log_loss"}, "neg_log_loss needs probabilities.*probability=True"),
    ({"scoring": "roc_auc_ovr", "cv": 3}, "roc_auc_ovr needs probabilities.*probability=True"),
    ({"scoring": "roc_auc", "cv": 3}, r"multi_class.*alpha=0\.1 on split 0"),
    ({"scoring": "f1"}, r"in scoring alpha=0\.1"),
    ({"scoring": "adjusted_mutual_info_score_", "cv": 3}, "adjusted_mutual_info_score_"),
    ({"scoring": constant(np.ones(3)), "cv": 3}, r"one number; it gave array\(\[1., 1., 1.\]\)"),
    ({"scoring": constant("high")}, "one number; it gave 'high'"),
    ({"scoring": constant(None)}, "one number; it gave None"),
    ({"scoring": constant(1j)}, "one number; it gave 1j"),
    ({"scoring": constant(NAN), "cv": 3}, r"NaN for every alpha of \[0.1, 3.0, 100.0\]"),
    ({"scoring": constant(NAN)}, r"NaN for every alpha of \[0.1, 3.0, 100.0\]"),
    ({"store_cv_results": True, "cv": 3}, "leave-one-out.*cv=3"),
    ({"store_cv_results": "all"}, "store_cv_results .* got 'all'"),
    ({"probability": 1}, "probability .* got 1"),
    ({"memory": 3}, "memory .* got 3 of type int"),
    ({"objective": "median"}, "objective='median'"),
    ({"class_weight": {"class 0": -1.0, "class 1": 1, "class 2": 1}}, r"-1\.0"),
    ({"class_weight": {"class 0": NAN, "class 1": 1, "class 2": 1}, "cv": 3}, "nan"),
    ({"class_weight": "equal"}, "class_weight .* got 'equal'"),
    ({"n_jobs": 0}, "n_jobs .* got 0"),
]


@pytest.mark.parametrize(("options", "match"), BAD_OPTIONS, ids=lambda value: repr(value)[:50])
def test_bad_options_are_refused_and_change_nothing(options, match):
    X, y = make_data()
    for model in (ParallelRidgeClassifierCV(ALPHAS), ParallelRidgeClassifierCV(ALPHAS).fit(X, y)):
        before = state(model.set_params(**options))
        with pytest.raises((ValueError, TypeError), match=match):
            model.fit(X, y)
        assert_same_state(model, before)


class Mishap(Exception):
    """An error of somebody's own."""


def mishap(estimator, X, y):
    raise Mishap("the meter is broken", 17)


def wordless(estimator, X, y):
    raise Mishap(17)


@pytest.mark.parametrize("cv", [None, 3])
def test_an_error_of_a_scorer_is_its_own_and_names_penalty_and_split(cv):
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y)
    before = state(model.set_params(scoring=mishap))
    with pytest.raises(Mishap, match=r"the meter is broken .*alpha=0\.1.* split 0") as caught:
        model.fit(X, y)
    assert caught.value.args[1] == 17
    assert_same_state(model, before)
    with pytest.raises(Mishap) as caught:
        model.set_params(scoring=wordless).fit(X, y)
    assert caught.value.args == (17,)
    assert re.search(r"alpha=0\.1.* split 0", " ".join(caught.value.__notes__))

    def third(y_true, y_pred):
        third.calls += 1
        if third.calls == 5:
            raise Mishap("enough")
        return 0.5

    third.calls = 0
    model.set_params(scoring=make_scorer(third), cv=3)
    with pytest.raises(Mishap, match=r"alpha=3 on split 1"):
        model.fit(X, y)


def test_alphas_whose_score_is_nan_come_last():
    X, y = make_data(60, 5, "binary")

    def small_values(estimator, X, y):
        size = np.abs(X).max()
        return NAN if size < 0.1 else -size

    alphas = [1e6, 1.0, 1e5, 0.1]
    model = ParallelRidgeClassifierCV(alphas, cv=3, scoring=small_values, fit_intercept=False)
    model.fit(X, y)
    assert_array_equal(np.isnan(model.cv_results_["mean_test_score"]), [True, False, True, False])
    assert model.cv_results_["rank_test_score"].tolist() == [3, 1, 3, 2]
    assert model.alpha_ == 1.0 and np.isfinite(model.best_score_)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("value", "name"), [(NAN, "NaN"), (INF, "infinity")])
@pytest.mark.parametrize(
    "cv",
    [None, 3, KFold(3, shuffle=True, random_state=0), ShuffleSplit(2, random_state=0)],
    ids=str,
)
def test_the_row_of_a_bad_value_is_that_of_the_whole_array(cv, value, name, container):
    for shape, dtype in (((60, 5), "float32"), ((44, 70), "float64")):
        X, y = make_data(*shape, dtype=dtype)
        model = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y)
        X[41, 2] = value
        before = state(model)
        with pytest.raises(ValueError, match=f"{name}: row 41, column 2"):
            model.fit(CONTAINERS[container](X), y)
        assert_same_state(model, before)


def test_a_bad_value_in_a_row_that_is_only_tested_is_named():
    X, y = make_data()
    X[50, 1] = NAN
    for scoring in ("accuracy", "neg_mean_squared_error"):
        model = ParallelRidgeClassifierCV(
            ALPHAS, cv=[(range(40), range(59, 40, -1))], scoring=scoring
        )
        with pytest.raises(ValueError, match="NaN: row 50, column 1"):
            model.fit(X, y)


@pytest.mark.parametrize("cv", [None, 3])
def test_bad_labels_and_weights_are_refused_and_change_nothing(cv):
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y)
    before = state(model)
    for arguments, match in (
        ((X, y[:-1]), r"\[60, 59\]"),
        ((X, ["a"] * 60), "one class only, 'a'"),
        ((X, X[:, 0]), "continuous"),
        ((X, y, np.where(np.arange(60) == 4, -1.0, 1)), "row 4 has -1.0"),
        ((X, y, np.zeros(60)), "weights are zero"),
        ((X, y, np.ones(59)), r"\(59,\), expected \(60,\)"),
    ):
        with pytest.raises(ValueError, match=match):
            model.fit(*arguments)
        assert_same_state(model, before)


@pytest.mark.parametrize("target", TARGETS)
def test_logarithms_of_probabilities_stay_finite_where_probabilities_vanish(target):
    X, y = make_data(60, 5, target)
    model = ParallelRidgeClassifierCV(ALPHAS, probability=True).fit(X, y)
    far = 1e5 * X
    assert model.predict_proba(far).min() == 0.0
    logarithms = model.predict_log_proba(far)
    assert np.isfinite(logarithms).all() and logarithms.max() <= 0.0


def test_a_set_without_weight_is_named():
    X, y = make_data()
    weights = np.ones(60)
    weights[:30] = 0
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=[(range(30, 60), range(20, 40)), (range(30), [40])]
    )
    with pytest.raises(ValueError, match=r"training set of split 1.*zero"):
        model.fit(X, y, weights)
    model.set_params(cv=[(range(30, 60), [40]), (range(30, 60), range(30))])
    with pytest.raises(ValueError, match=r"test set of split 1.*zero"):
        model.fit(X, y, weights)


def test_a_warning_made_an_error_leaves_the_model_as_it_was():
    X, y = make_data()
    model = ParallelRidgeClassifierCV([1e-13, 1.0], cv=3).fit(X, y)
    before = state(model)
    with pytest.raises(IllConditionedWarning):  # the tests' filter makes it an error
        model.fit(np.column_stack([X, X]), y)
    assert_same_state(model, before)


def test_mnist_folds_have_the_scores_of_scikit_learn(mnist):
    X, y = mnist.data[:3000], mnist.target[:3000]
    alphas = [1e4, 1e6]
    splits = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    model = ParallelRidgeClassifierCV(alphas, cv=splits).fit(X, y)
    for i, (train, test) in enumerate(splits[:2]):
        ridge = RidgeClassifier(alphas[i], solver="cholesky")
        ridge.fit(X[train].astype(np.float64), y[train])
        assert split_scores(model)[i, i] == ridge.score(X[test].astype(np.float64), y[test])


@pytest.mark.filterwarnings("ignore:The best alpha")
@pytest.mark.parametrize("verbose", [0, 1])
def test_long_searches_show_progress_if_asked(verbose, monkeypatch):
    tqdm = pytest.importorskip("tqdm.auto")
    bars = []

    class Bar(contextlib.AbstractContextManager):
        def __init__(self, iterable=None, total=None, desc=None, **_):
            self.items = iterable
            bars.append((desc, total if iterable is None else len(iterable)))

        def __iter__(self):
            return iter(self.items)

        def __exit__(self, *_):
            pass

        def update(self, n):
            pass

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 3)), np.arange(90) % 3
    overlapping = ShuffleSplit(4, random_state=0)
    ParallelRidgeClassifierCV([1.0, 10.0, 100.0], cv=overlapping, verbose=verbose).fit(X, y)
    assert (("test sets", 4) in bars) == bool(verbose)


def test_many_test_sets_do_not_make_blocks_heavy():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1500, 4)), rng.integers(0, 40, 1500)
    peaks = []
    for folds in (2, 30):
        tracemalloc.start()
        ParallelRidgeClassifierCV(np.logspace(-2, 2, 9), cv=KFold(folds)).fit(X, y)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A table of counts for each (fold, penalty) is 0.1 MB; blocks times folds of them were 100 MB.
    assert peaks[1] < peaks[0] + 3 * 30 * 9 * 40 * 40 * 8


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("scoring", ["accuracy", "neg_mean_squared_error"])
def test_many_penalties_score_as_few_do(scoring, cv, dtype):
    # Beyond some number decision values are combined from those of a few penalties.
    rng = np.random.default_rng(0)
    X = rng.integers(0, 40, (150, 12)).astype(dtype)
    X[:, -1] = X[:, 0]  # and small penalties have a singular system
    y = (X[:, :3] - 20.0 + 9 * rng.normal(size=(150, 3))).argmax(axis=1)
    alphas = np.logspace(-7, 7, 120)

    def scores(some):
        model = ParallelRidgeClassifierCV(some, cv=cv, scoring=scoring, store_cv_results=cv is None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the best of a few may be at an end
            return model.fit(X, y).cv_results_["mean_test_score"]

    some = np.arange(0, 120, 17)
    rtol = {"rtol": 1e-5 if dtype == "float32" else 1e-9}
    assert_allclose(scores(alphas)[some], scores(alphas[some]), **rtol)


@pytest.mark.filterwarnings("ignore:.*matmul:RuntimeWarning")
def test_values_that_are_not_finite_are_found():
    decisions = reductions.PathDecisions(np.ones((20, 3, 4)), np.zeros((20, 3)))
    for value in (np.nan, np.inf, -np.inf):
        X = np.zeros((5, 4))
        X[3, 2] = value
        block = Block(slice(10, 15), X, Labels(np.zeros(5, np.int32)), None)
        with pytest.raises(ValueError, match="row 13, column 2"):
            decisions.classes(block)


def test_many_penalties_of_a_fold_that_lacks_a_class():
    X, y = make_data(30, 4)
    y = (np.arange(30) < 10).astype(int)
    with pytest.warns(UserWarning, match="has no row of class"):
        model = ParallelRidgeClassifierCV(np.logspace(-3, 3, 40), cv=KFold(3)).fit(X, y)
    assert np.isfinite(model.cv_results_["mean_test_score"]).all()
