"""Scorers, splitters and weights of a search are those of scikit-learn."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.fitting import cheapest_solver
from parallel_ridge.reductions import Confusion

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")
ALPHAS = [0.1, 1.0, 10.0]


def make_data(n=120, d=5, k=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = (X[:, 0] * k + rng.normal(size=n)).round().astype(int) % k
    return X, y, rng.exponential(size=n)


def answers_of(values):
    """What a scorer was called with."""
    values = np.asarray(values)
    if set(np.unique(values).tolist()) <= {0, 1}:
        return 1.0
    return 3.0 if values.min() >= 0.0 and values.max() <= 1.0 else 2.0


@pytest.mark.parametrize(
    ("methods", "with_probabilities", "without"),
    [
        (["predict_proba", "decision_function"], 3.0, 2.0),
        (("predict_proba", "predict"), 3.0, 1.0),
        (["decision_function", "predict_proba"], 2.0, 2.0),
        (("predict", "decision_function"), 1.0, 1.0),
        ("predict_proba", 3.0, None),
    ],
)
def test_a_scorer_gets_the_first_method_that_there_is(methods, with_probabilities, without):
    X, y, _ = make_data()
    scorer = make_scorer(lambda y, values: answers_of(values), response_method=methods)
    for probability, expected in ((True, with_probabilities), (False, without)):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring=scorer, probability=probability)
        if expected is None:
            with pytest.raises(ValueError, match="set probability=True"):
                model.fit(X, y)
        else:
            assert model.fit(X, y).best_score_ == expected


@pytest.mark.parametrize("score", [accuracy_score, balanced_accuracy_score])
@pytest.mark.parametrize("request_weights", [True, False])
def test_routing_says_whether_scores_are_weighted(score, request_weights):
    X, y, w = make_data()
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(score).set_score_request(sample_weight=request_weights)
        model = ParallelRidgeClassifierCV(ALPHAS, cv=KFold(3), scoring=scorer)
        if not request_weights:
            with pytest.warns(UserWarning, match="takes no sample_weight"):
                model.fit(X, y, sample_weight=w)
        else:
            model.fit(X, y, sample_weight=w)
        peer = GridSearchCV(
            RidgeClassifier().set_fit_request(sample_weight=True),
            {"alpha": ALPHAS},
            cv=KFold(3),
            scoring=scorer,
        ).fit(X, y, sample_weight=w)
    found, expected = (m.cv_results_["mean_test_score"] for m in (model, peer))
    assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("container", [pd.DataFrame, np.asarray, sp.csr_matrix])
def test_a_splitter_sees_the_rows_as_they_were_given(container):
    X, y, _ = make_data()
    given = container(X)

    class Splitter(KFold):
        def split(self, rows, labels=None, groups=None):
            assert rows is given
            if isinstance(rows, pd.DataFrame):
                first = rows.index.to_numpy() % 2
            else:
                first = rows[:, 0] > 0
                first = np.asarray(first.todense()).ravel() if sp.issparse(rows) else first
            yield from PredefinedSplit(np.asarray(first).astype(int)).split()

    model = ParallelRidgeClassifierCV(ALPHAS, cv=Splitter(2)).fit(given, y)
    peer = GridSearchCV(RidgeClassifier(), {"alpha": ALPHAS}, cv=Splitter(2)).fit(given, y)
    assert_allclose(model.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"])


def test_masks_and_slices_are_positions():
    X, y, _ = make_data()
    test = np.arange(120) < 40
    same = ParallelRidgeClassifierCV(ALPHAS, cv=[(np.flatnonzero(~test), np.arange(40))]).fit(X, y)
    for split in ((~test, test), (slice(40, None), slice(40)), (slice(40, 120), slice(None, -80))):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=[split]).fit(X, y)
        assert_allclose(
            model.cv_results_["mean_test_score"], same.cv_results_["mean_test_score"], rtol=1e-12
        )
    for mask in (np.ones(119, bool), np.ones(121, bool), np.ones(3, bool)):
        with pytest.raises(ValueError, match=f"mask of {len(mask)} rows, and there are 120 rows"):
            ParallelRidgeClassifierCV(ALPHAS, cv=[(mask, test)]).fit(X, y)
    with pytest.raises(ValueError, match="no positions of rows"):
        ParallelRidgeClassifierCV(ALPHAS, cv=[(np.eye(3, dtype=int), test)]).fit(X, y)


@pytest.mark.parametrize("solver", ["auto", "eigen", "svd", "dual", "cg"])
def test_class_weights_may_not_be_zero_for_all(solver):
    X, y, w = make_data()
    model = ParallelRidgeClassifier(class_weight={0: 0, 1: 0}, solver=solver)
    for weights in (None, w):
        with pytest.raises(ValueError, match=r"All sample weights are zero \(class_weight="):
            model.fit(X, y, weights)
    model = ParallelRidgeClassifier(class_weight={0: 0, 1: 1}, solver=solver)
    with pytest.raises(ValueError, match="All sample weights are zero"):
        model.fit(X, y, (y == 0).astype(float))
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("cv", [None, 3])
def test_searches_need_weights_too(cv):
    X, y, _ = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, class_weight={0: 0, 1: 0})
    with pytest.raises(ValueError, match="All sample weights are zero"):
        model.fit(X, y)


def test_a_batch_whose_classes_weigh_nothing_is_refused_alone():
    X, y, _ = make_data()
    with pytest.raises(ValueError, match="no rows with a positive weight"):
        ParallelRidgeClassifier(class_weight={0: 0, 1: 0}).partial_fit(X, y)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_scores_refuse_weights_that_are_none(value):
    X, y, w = make_data()
    w[7] = value
    with pytest.raises(ValueError, match=f"row 7 has {value}"):
        ParallelRidgeClassifier().fit(X, y).score(X, y, w)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [3, 150])
@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "f1_macro"])
def test_scores_of_many_classes_are_those_of_scikit_learn(scoring, k, weighted, backend):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(k), 6)
    X = rng.normal(size=(k, 20))[y] + rng.normal(size=(len(y), 20))
    w = rng.integers(1, 4, len(y)).astype(float) if weighted else None
    splits = [
        (np.flatnonzero(np.arange(len(y)) % 3 != i), np.arange(i, len(y), 3)) for i in range(3)
    ]
    model = ParallelRidgeClassifierCV(ALPHAS, cv=splits, scoring=scoring, backend=backend)
    found = model.fit(X, y, w).cv_results_
    score = {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}.get(
        scoring, lambda *pair, **options: f1_score(*pair, average="macro", **options)
    )
    for i, (train, test) in enumerate(splits):
        for j, alpha in enumerate(ALPHAS):
            peer = RidgeClassifier(alpha).fit(X[train], y[train], None if w is None else w[train])
            options = {} if w is None else {"sample_weight": w[test]}
            expected = score(y[test], peer.predict(X[test]), **options)
            assert found[f"split{i}_test_score"][j] == pytest.approx(expected, abs=1e-12)


def test_scores_of_a_thousand_classes_take_little_memory():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 16)).astype("f4"), np.arange(4000) % 1000
    for scoring in ("accuracy", "balanced_accuracy"):
        model = ParallelRidgeClassifierCV(np.logspace(-1, 3, 10), cv=2, scoring=scoring)
        tracemalloc.start()
        model.fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 120e6, scoring  # one table for each penalty would be 80 MB a block


def test_confusion_counts_add_in_any_order():
    shape = (2, 3, 3)
    a = Confusion.of(shape, np.array([4, 0, 4]), np.array([1, 2, 3]))
    b = Confusion.of(shape, np.array([17, 4]), np.array([5, 6]))
    for total in (a + b, b + a):
        assert total.cells.tolist() == [0, 4, 17] and total.counts.tolist() == [2, 10, 5]
    true, predicted, counts = (a + b).of_penalty(0)
    assert (true.tolist(), predicted.tolist(), counts.tolist()) == ([0, 1], [0, 1], [2, 10])
    true, predicted, counts = (a + b).of_penalty(1)
    assert (true.tolist(), predicted.tolist(), counts.tolist()) == ([2], [2], [5])


@pytest.mark.parametrize(
    ("n", "d", "values", "dual", "solver"),
    [
        (60_000, 784, None, True, "cholesky"),
        (500, 784, None, True, "dual"),
        (500, 784, None, False, "cholesky"),  # in Spark, or with statistics
        (1_000, 60_000, 600_000, True, "dual"),
        (1_000, 60_000, 600_000, False, "cg"),
        (100_000, 15_000, 10**9, True, "cholesky"),
        (100_000, 15_000, 10**6, True, "cg"),
        (20_000, 10**6, 2 * 10**6, True, "cg"),
        (20_000, 20_000, None, True, "cholesky"),
        (30_000, 30_000, None, True, "cg"),
    ],
)
def test_auto_takes_what_costs_least(n, d, values, dual, solver):
    assert cheapest_solver(n, d, n * d if values is None else values, dual) == solver


def test_wide_sparse_rows_are_solved_by_their_products():
    X = sp.random(200, 30_000, density=0.002, format="csr", random_state=0)
    y = np.arange(200) % 2
    model = ParallelRidgeClassifier(1e-4).fit(X, y)
    assert model.solver_ == "dual"
    exact = RidgeClassifier(1e-4, solver="sag", tol=1e-12, max_iter=20_000, random_state=0).fit(
        X, y
    )
    assert_allclose(model.coef_, np.ravel(exact.coef_), atol=1e-4)
