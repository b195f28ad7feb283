"""Alpha is chosen from the sums of folds that batches add to: the answer is that of one search."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import assert_close, assert_same_state, state
from _data.model_selection import (
    CONTAINERS,
    METRICS_OF_ERRORS,
    TARGETS,
    make_data,
    references,
    split_scores,
    weights_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from parallel_ridge import (
    IllConditionedWarning,
    ParallelRidgeClassifierCV,
    SufficientStatistics,
    sufficient_statistics,
)
from parallel_ridge.estimators import _batch_search
from parallel_ridge.model_selection import deal

pytestmark = [
    pytest.mark.filterwarnings("ignore:The best alpha"),
    pytest.mark.filterwarnings("ignore:The training set of split"),
]
ALPHAS = [0.1, 3.0, 100.0]


def splits_of(folds):
    """Splits into the rows outside of each fold and those inside."""
    return [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in np.unique(folds)]


def in_batches(model, X, y, edges, weights=None, classes=None, groups=None):
    for rows in np.split(np.arange(X.shape[0]), edges):
        model.partial_fit(
            X[rows],
            y[rows],
            classes,
            None if weights is None else weights[rows],
            None if groups is None else groups[rows],
        )
    return model


def edges_of(n):
    return st.sets(st.integers(6, n - 1), max_size=5).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    edges=edges_of(60),
    dtype=st.sampled_from(["float64", "uint8", "float32"]),
    container=st.sampled_from(sorted(CONTAINERS)),
    target=st.sampled_from(TARGETS),
    weighted=st.booleans(),
    fit_intercept=st.booleans(),
    standardize=st.booleans(),
    objective=st.sampled_from(["sum", "mean"]),
    scoring=st.sampled_from([None, *METRICS_OF_ERRORS]),
    n_folds=st.sampled_from([None, 2, 3, 15]),
)
def test_any_batches_give_the_search_over_the_same_folds(
    edges, dtype, container, target, weighted, scoring, n_folds, **options
):
    X, y = make_data(60, 5, target, dtype)
    X = CONTAINERS[container](X)
    weights = weights_of(60, zeros=0.0) if weighted else None
    model = ParallelRidgeClassifierCV(ALPHAS, cv=n_folds, scoring=scoring, **options)
    in_batches(model, X, y, edges, weights, np.arange(3) if y.ndim == 2 else np.unique(y))
    splits = splits_of(deal(0, 60, n_folds or 5))
    scoring = scoring or "neg_mean_squared_error"
    whole = ParallelRidgeClassifierCV(ALPHAS, cv=splits, scoring=scoring, **options)
    whole.fit(X, y, weights)
    tolerance = 2e-5 if dtype == "float32" else 1e-10
    assert_allclose(split_scores(model), split_scores(whole), tolerance, tolerance)
    assert model.alpha_ == whole.alpha_ and model.n_splits_ == (n_folds or 5)
    assert model.best_index_ == whole.best_index_
    assert model.best_score_ == pytest.approx(whole.best_score_, tolerance)
    assert model.cv_results_.keys() == whole.cv_results_.keys()
    assert_array_equal(model.classes_, whole.classes_)
    assert_close(model.coef_, whole.coef_, tolerance)
    assert_close(model.intercept_, whole.intercept_, tolerance, 1.0)
    assert_array_equal(model.predict(X), whole.predict(X))


@pytest.mark.parametrize("scoring", METRICS_OF_ERRORS)
@pytest.mark.parametrize("target", ["binary", "multiclass"])
def test_scores_are_those_of_scikit_learn(target, scoring):
    X, y = make_data(80, 6, target)
    weights = weights_of(80)
    model = ParallelRidgeClassifierCV(ALPHAS, cv=4, scoring=scoring)
    in_batches(model, X, y, [30, 45], weights)
    splits = splits_of(deal(0, 80, 4))
    classes = np.unique(y)
    Y = 2.0 * (y[:, None] == (classes[1:] if len(classes) == 2 else classes)) - 1
    expected = np.empty((4, 3))
    for at, test, w, reference in references(X, y, ALPHAS, splits, weights):
        values = reference.values(X[test]).reshape(len(test), -1)
        expected[at] = METRICS_OF_ERRORS[scoring](Y[test], values, w)
    assert_allclose(split_scores(model), expected, 1e-9)


@pytest.mark.parametrize("target", TARGETS)
def test_integers_give_the_same_bits_for_any_batches(target):
    X, y = make_data(90, 7, target, "uint8")
    classes = np.arange(3) if y.ndim == 2 else np.unique(y)
    models = [
        in_batches(ParallelRidgeClassifierCV(ALPHAS), X.astype(kind), y, edges, None, classes)
        for kind in ("uint8", "float64")
        for edges in ([], [2], [10, 11, 50], range(1 + 5, 90, 7))
    ]
    first = models[0]
    assert first.statistics_.exact and first.statistics_ == sufficient_statistics(X, y)
    for model in models[1:]:
        assert model.statistics_ == first.statistics_
        assert_array_equal(split_scores(model), split_scores(first))
        assert_array_equal(model.coef_, first.coef_)


def test_groups_are_held_out_whole():
    X, y = make_data(120, 6)
    groups = np.random.default_rng(0).integers(0, 12, 120)
    order = list(dict.fromkeys(groups.tolist()))
    folds = deal(0, 12, 3)[[order.index(group) for group in groups.tolist()]]
    model = ParallelRidgeClassifierCV(ALPHAS, cv=3)
    in_batches(model, X, y, [40, 45, 90], groups=groups)
    whole = ParallelRidgeClassifierCV(
        ALPHAS, cv=splits_of(folds), scoring="neg_mean_squared_error"
    ).fit(X, y)
    assert_allclose(split_scores(model), split_scores(whole), 1e-10)
    assert_close(model.coef_, whole.coef_, 1e-10)


def test_classes_may_turn_up_one_after_the_other():
    X, y = make_data(100, 6, k=5, signal=2.0)
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    edges = [int(np.searchsorted(y, f"class {c}")) for c in (2, 3, 4)]
    model = in_batches(ParallelRidgeClassifierCV(ALPHAS), X, y, edges)
    whole = ParallelRidgeClassifierCV(
        ALPHAS, cv=splits_of(deal(0, 100, 5)), scoring="neg_mean_squared_error"
    ).fit(X, y)
    assert model.classes_.tolist() == [f"class {c}" for c in range(5)]
    assert_allclose(split_scores(model), split_scores(whole), 1e-10)
    assert_close(model.coef_, whole.coef_, 1e-10)


def test_a_fold_without_rows_of_a_new_class_learns_of_it():
    X, y = make_data(40, 4)
    model = ParallelRidgeClassifierCV(ALPHAS, cv=4).partial_fit(X, y)
    model.partial_fit(X[:1], np.array(["new"], dtype=object))  # in one fold only
    assert model.classes_.tolist() == [*np.unique(y), "new"]
    assert model.coef_.shape == (4, 4) and model.statistics_.n_samples == 41


def test_weights_of_classes_count_in_fit_and_score():
    X, y = make_data(80, 5)
    table = {"class 0": 3.0, "class 1": 0.5, "class 2": 1.0}
    weights = np.array([table[label] for label in y])
    model = in_batches(ParallelRidgeClassifierCV(ALPHAS, class_weight=table), X, y, [30])
    other = in_batches(ParallelRidgeClassifierCV(ALPHAS), X, y, [30], weights)
    assert_allclose(split_scores(model), split_scores(other), 1e-12)
    assert_close(model.coef_, other.coef_, 1e-12)


@pytest.mark.parametrize("drift", [0.0, 100.0])
def test_rows_that_drift_lose_no_digits(drift):
    X, y = make_data(300, 5)
    X += drift * np.linspace(0, 1, 300)[:, None]
    model = in_batches(ParallelRidgeClassifierCV(ALPHAS), X, y, range(6, 300, 6))
    whole = ParallelRidgeClassifierCV(
        ALPHAS, cv=splits_of(deal(0, 300, 5)), scoring="neg_mean_squared_error"
    ).fit(X, y)
    assert_allclose(split_scores(model), split_scores(whole), 1e-9)
    assert_close(model.coef_, whole.coef_, 1e-8)


# ------------------------------------------------------------------------------------------------
# The stream
# ------------------------------------------------------------------------------------------------


@pytest.fixture
def searches(monkeypatch):
    """Number of rows at each search."""
    counts = []

    def counted(backend, folds, *args):
        counts.append(sum(fold.n_samples for fold in folds))
        return search_folds(backend, folds, *args)

    search_folds = _batch_search.search_folds
    monkeypatch.setattr(_batch_search, "search_folds", counted)
    return counts


def test_the_search_waits_until_somebody_asks_and_runs_once(searches):
    X, y = make_data()
    model = in_batches(ParallelRidgeClassifierCV(ALPHAS), X, y, [20, 40])
    assert not hasattr(model, "predict_proba") and not searches
    assert model.classes_.tolist() == np.unique(y).tolist()
    assert model.statistics_.n_samples == 60 and not searches
    model.predict(X)
    for name in ("alpha_", "best_score_", "best_index_", "cv_results_", "coef_", "n_splits_"):
        assert getattr(model, name) is getattr(model, name)
    assert searches == [60]
    model.partial_fit(X, y)
    assert searches == [60]
    model.score(X, y)
    assert searches == [60, 120]


def test_other_penalties_need_no_rows():
    X, y = make_data()
    model = in_batches(ParallelRidgeClassifierCV(ALPHAS), X, y, [20, 40])
    coefs, _ = model.coef_path([model.alpha_, 5.0])
    assert_close(coefs[0], model.coef_, 1e-12)


def test_batches_add_to_the_same_memory():
    X, y = make_data(400)
    model = ParallelRidgeClassifierCV(ALPHAS).partial_fit(X[:100], y[:100])
    grams = [fold.gram for fold in model._stream._now.folds]
    for i in range(100, 400, 50):
        model.partial_fit(X[i : i + 50], y[i : i + 50])
        assert all(a is b.gram for a, b in zip(grams, model._stream._now.folds, strict=True))
    total = model.statistics_
    before = total.copy()
    model.partial_fit(X, y)
    assert total == before and model.statistics_.n_samples == 800


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_answer_the_same_and_go_their_own_way(copied, asked):
    X, y = make_data(80)
    groups = np.arange(80) // 4
    model = ParallelRidgeClassifierCV(ALPHAS, cv=3)
    in_batches(model, X[:40], y[:40], [20], groups=groups[:40])
    if asked:
        model.predict(X)
    twin = copied(model)
    assert_array_equal(twin.coef_, model.coef_)
    assert_array_equal(split_scores(twin), split_scores(model))
    assert twin.statistics_ == model.statistics_
    before = state(model)
    in_batches(twin, X[40:], y[40:], [25], groups=groups[40:])
    assert model.statistics_.n_samples == 40
    assert_array_equal(state(model)["coef_"], before["coef_"])
    in_batches(model, X[40:], y[40:], [25], groups=groups[40:])
    assert twin.statistics_ == model.statistics_
    assert_array_equal(split_scores(twin), split_scores(model))
    assert set(vars(clone(model))) == set(model.get_params())


def test_a_fit_is_forgotten_and_the_user_is_told():
    X, y = make_data()
    options = {"probability": True, "store_statistics": True, "cv": 3}
    model = ParallelRidgeClassifierCV(ALPHAS, **options).fit(X, y)
    with pytest.warns(UserWarning, match="kept no statistics of folds, so partial_fit starts anew"):
        model.set_params(probability=False).partial_fit(X[:30], y[:30])
    fresh = ParallelRidgeClassifierCV(ALPHAS, cv=3).partial_fit(X[:30], y[:30])
    assert_array_equal(model.coef_, fresh.coef_)
    assert not hasattr(model, "probability_scale_") and model.statistics_.n_samples == 30
    model.fit(X, y, groups=None)
    assert not hasattr(model, "_stream") and not hasattr(model, "_dealer")
    assert model.statistics_.n_samples == 60


def test_batches_of_several_threads_all_count():
    X, y = make_data(600, 12, dtype="uint8")
    groups = np.arange(600) // 5
    model = ParallelRidgeClassifierCV(ALPHAS).partial_fit(X, y, groups=groups)
    errors, barrier = [], threading.Barrier(4)

    def add(rows):
        try:
            barrier.wait()
            in_batches(model, X[rows], y[rows], range(10, len(rows), 10), groups=groups[rows])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(s,)) for s in np.split(np.arange(600), 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert model.statistics_ == sufficient_statistics(np.vstack([X, X]), np.concatenate([y, y]))
    # Known groups go to their folds, whichever thread brings them.
    other = ParallelRidgeClassifierCV(ALPHAS).partial_fit(X, y, groups=groups)
    other.partial_fit(X, y, groups=groups)
    assert_array_equal(split_scores(model), split_scores(other))


class Interrupting:
    """Adds triangles, and is interrupted once, after some of them."""

    def __init__(self, pour, after):
        self._pour, self.left = pour, after

    def pour(self, into, other):
        if self.left == 0:
            self.left = -1
            raise KeyboardInterrupt
        self.left -= 1
        self._pour(into, other)


@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupt_between_folds_loses_none_and_counts_none_twice(after, monkeypatch):
    from parallel_ridge.estimators import _stream

    X, y = make_data(100, 6, dtype="uint8")
    model, other = (
        in_batches(ParallelRidgeClassifierCV(ALPHAS), X, y, [50]).partial_fit(X, y)
        for _ in range(2)
    )
    triangles = Interrupting(_stream._triangle.pour, after)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_stream, "_triangle", triangles)
        model.partial_fit(X[:9], y[:9])
    assert triangles.left == -1
    assert model.statistics_ == other.statistics_
    assert_array_equal(split_scores(model), split_scores(other))


# ------------------------------------------------------------------------------------------------
# Bad input
# ------------------------------------------------------------------------------------------------


def bad(X, value):
    X = X.copy()
    X[-1, -1] = value
    return X


@pytest.mark.parametrize(
    ("match", "call"),
    [
        ("NaN: row 59", lambda m, X, y: m.partial_fit(bad(X, np.nan), y)),
        ("infinity: row 59", lambda m, X, y: m.partial_fit(sp.csr_matrix(bad(X, np.inf)), y)),
        ("4 features", lambda m, X, y: m.partial_fit(X[:, 1:], y)),
        ("not in classes", lambda m, X, y: m.partial_fit(X, np.full(60, "z"))),
        ("inconsistent", lambda m, X, y: m.partial_fit(X, y[1:])),
        ("not negative", lambda m, X, y: m.partial_fit(X, y, None, -np.ones(60))),
        ("order of groups", lambda m, X, y: m.partial_fit(X, y, groups=np.arange(60))),
        (
            r"alphas\[0\] == -1.0, must be >= 0.0",
            lambda m, X, y: m.set_params(alphas=[-1.0]).partial_fit(X, y),
        ),
        ("too few folds", lambda m, X, y: m.set_params(cv=1).partial_fit(X, y)),
        ("cannot change", lambda m, X, y: m.set_params(cv=7).partial_fit(X, y)),
        ("'balanced'", lambda m, X, y: m.set_params(class_weight="balanced").partial_fit(X, y)),
        ("prequential", lambda m, X, y: m.set_params(prequential=1).partial_fit(X, y)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused_changes_nothing(match, call):
    X, y = make_data()
    options = {"alphas": ALPHAS, "cv": 3}
    classes = np.unique(y)
    model, other = (
        in_batches(ParallelRidgeClassifierCV(**options), X, y, [20, 40], None, classes)
        for _ in range(2)
    )
    with pytest.raises(ValueError, match=match):
        call(model, X, y)
    model.set_params(**ParallelRidgeClassifierCV(**options).get_params())
    assert_same_state_of_streams(model, other)
    assert model.partial_fit(X, y).statistics_ == other.partial_fit(X, y).statistics_
    assert_array_equal(split_scores(model), split_scores(other))


def assert_same_state_of_streams(model, other):
    """Equal but for the times that searches took."""
    for one, two in zip(model._stream.folds(), other._stream.folds(), strict=True):
        assert one == two
    assert_array_equal(split_scores(model), split_scores(other))
    assert model._dealer == other._dealer
    assert vars(model).keys() == vars(other).keys()


@pytest.mark.parametrize(
    ("rows", "match"),
    [(slice(0, 1), "one class only"), (slice(0, 3), "one fold")],
)
def test_a_first_batch_that_determines_nothing_is_refused(rows, match):
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS)
    before = state(model)
    with pytest.raises(ValueError, match=match):
        model.partial_fit(X[rows], y[rows], groups=np.zeros(60)[rows])
    assert_same_state(model, before)
    assert model.partial_fit(X[:2], y[:2]).n_splits_ == 2  # folds without rows are left out
    assert model.partial_fit(X[2:], y[2:]).n_splits_ == 5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scoring": "accuracy"}, "scoring='accuracy' needs them"),
        ({"scoring": lambda *args: 0.0}, "has no rows to score"),
        ({"cv": [([0, 1], [2])]}, "pass a number"),
        ({"cv": 3, "probability": True}, "must be False"),
        ({"store_cv_results": True}, "must be False"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_sums_cannot_give_has_no_partial_fit(options, match):
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS, **options)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(X, y)
    assert match in str(error.value.__cause__)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_alphas_that_the_sums_cannot_score_are_not_chosen(dtype):
    X, y = make_data(60, 5, dtype=dtype)
    X = np.column_stack([X, X[:, 0], X[:, 1]])
    alphas = [1e-13, 1.0, 100.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ParallelRidgeClassifierCV(alphas).partial_fit(X, y)
    with pytest.warns(IllConditionedWarning, match="alpha=1e-13 cannot be scored") as caught:
        assert model.alpha_ in alphas[1:]
    assert [w.filename for w in caught if w.category is IllConditionedWarning] == [__file__]
    means = model.cv_results_["mean_test_score"]
    assert np.isnan(means[0]) and np.isfinite(means[1:]).all()
    assert model.cv_results_["rank_test_score"][0] == 3
    whole = ParallelRidgeClassifierCV(
        alphas[1:], cv=splits_of(deal(0, 60, 5)), scoring="neg_mean_squared_error"
    ).fit(X, y)
    assert_allclose(split_scores(model)[:, 1:], split_scores(whole), 1e-9)


def test_the_end_of_the_grid_is_told_where_somebody_asks():
    X, y = make_data(signal=0.0)
    model = ParallelRidgeClassifierCV([1e-3, 1e-2]).partial_fit(X, y)
    with pytest.warns(UserWarning, match="The best alpha, 0.01, is the largest") as caught:
        model.predict(X)
    assert [w.filename for w in caught] == [__file__]


def test_sums_of_folds_are_the_statistics_of_their_rows():
    X, y = make_data(70, 4, dtype="uint8")
    model = in_batches(ParallelRidgeClassifierCV(ALPHAS), X, y, [20, 33], None, np.unique(y))
    folds = deal(0, 70, 5)
    for f, found in enumerate(model._stream.folds()):
        rows = folds == f
        assert found == sufficient_statistics(X[rows], y[rows], classes=np.unique(y))
    assert SufficientStatistics.sum(model._stream.folds()) == model.statistics_
