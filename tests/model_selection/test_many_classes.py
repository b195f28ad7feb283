"""Scores of many classes: as counted by hand, without tables or matrices of all classes."""

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
)
from sklearn.model_selection import KFold

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.reductions import (
    AccuracyReduction,
    ConfusionReduction,
    PathDecisions,
    SquaredErrorReduction,
)
from parallel_ridge.sources import Block, Labels

ALPHAS = [0.1, 10.0, 1000.0]


def make_data(n=900, d=40, k=300, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    centres = rng.normal(size=(k, d))
    return (centres[y] + rng.normal(size=(n, d))).astype(dtype), y, rng.random(n)


def quietly(model, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # folds lack classes, ends are best
        return model.fit(*args)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [2, 3, 300])
def test_counts_of_a_block_equal_those_by_hand(k, weighted):
    rng = np.random.default_rng(k)
    X, y, w = make_data(n=500, k=k)
    p, t = 4, 1 if k == 2 else k
    coefs, intercepts = rng.normal(size=(p, t, 40)), rng.normal(size=(p, t))
    decisions = PathDecisions(coefs, intercepts)
    block = Block(slice(0, 500), X, Labels(y.astype(np.int32)), w if weighted else None)
    values = np.einsum("nd,ptd->npt", X, coefs) + intercepts
    codes = (values[:, :, 0] > 0).astype(int) if k == 2 else values.argmax(axis=2)
    assert_array_equal(decisions.classes(block), codes)

    accuracy = AccuracyReduction(decisions, weighted)
    right = accuracy.zero(1)
    accuracy.add(right, block)
    weights = w if weighted else np.ones(500)
    assert_allclose(right, [*(weights @ (codes == y[:, None])), weights.sum()], rtol=1e-13)

    confusion = ConfusionReduction(decisions, k, weighted)
    counts = confusion.zero(1)
    confusion.add(counts, block)
    for j in range(p):
        table = np.zeros((k, k))
        true, predicted, found = counts[0].of_penalty(j)
        table[true, predicted] = found
        expected = confusion_matrix(y, codes[:, j], labels=np.arange(k), sample_weight=weights)
        assert_allclose(table, expected, rtol=1e-13)

    errors = SquaredErrorReduction(decisions, k, slice(1, 2) if k == 2 else slice(None))
    sums = errors.zero(1)
    errors.add(sums, block)
    targets = np.where(y[:, None] == np.arange(k), 1.0, -1.0)[:, errors.targets]
    squares = (targets[:, None] - values) ** 2 * weights[:, None, None]
    assert_allclose(sums[:-1, :-1], squares.sum(axis=0), rtol=1e-11)
    assert_allclose(sums[:-1, -1], (squares.mean(axis=2) ** 2).sum(axis=0), rtol=1e-11)
    assert_allclose(sums[-1], [*(weights @ targets), weights.sum()], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("form", ["f8", "f4", "sparse"])
@pytest.mark.parametrize(
    ("scoring", "score"),
    [
        ("accuracy", accuracy_score),
        ("balanced_accuracy", balanced_accuracy_score),
        ("neg_mean_squared_error", None),
    ],
)
@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.filterwarnings("ignore:A single label")
def test_scores_of_folds_that_lack_classes(scoring, score, form):
    X, y, w = make_data(dtype="f8" if form == "sparse" else form)
    if form == "sparse":
        X = sp.csr_matrix(X * (np.abs(X) > 1.0))
    splits = list(KFold(3, shuffle=True, random_state=0).split(np.zeros(len(y))))
    model = quietly(ParallelRidgeClassifierCV(ALPHAS, cv=splits, scoring=scoring), X, y, w)
    for i, (train, test) in enumerate(splits):
        for j, alpha in enumerate(ALPHAS):
            one = ParallelRidgeClassifier(alpha).fit(X[train], y[train], w[train])
            if score is not None:
                expected = score(y[test], one.predict(X[test]), sample_weight=w[test])
            else:
                values = np.full((len(test), 300), -1.0)
                values[:, one.classes_] = one.decision_function(X[test])
                errors = (np.where(y[test][:, None] == np.arange(300), 1.0, -1.0) - values) ** 2
                expected = -np.average(errors.mean(axis=1), weights=w[test])
            found = model.cv_results_[f"split{i}_test_score"][j]
            assert_allclose(found, expected, rtol=1e-5 if form == "f4" else 1e-9)


@pytest.mark.parametrize("form", ["f8", "f4", "u1", "sparse"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [310, 900])
def test_leave_one_out_scores_are_those_of_its_decision_values(n, weighted, form):
    d = 400 if n == 310 else 40  # 310 rows can be interpolated
    X, y, w = make_data(n, d, dtype="f4" if form == "f4" else "f8")
    if form == "u1":
        X = np.rint(20 * (X - X.min())).astype("u1")
    elif form == "sparse":
        X = sp.csr_matrix(X * (np.abs(X) > 1.0))
    w = np.where(np.arange(n) % 7 == 0, 0.0, w) if weighted else None
    scores = {}
    for scoring in (None, "neg_mean_squared_error", "accuracy"):
        model = ParallelRidgeClassifierCV([5.0], scoring=scoring, store_cv_results=True)
        model.fit(X, y, w)
        scores[scoring] = model.best_score_
    values = model.loo_decision_
    errors = (np.where(y[:, None] == np.arange(300), 1.0, -1.0) - values) ** 2
    of_rows = errors.mean(axis=1)
    rtol = {"rtol": 1e-5 if form == "f4" else 1e-9}
    weights = np.ones(n) if w is None else w
    assert_allclose(scores["neg_mean_squared_error"], -np.average(of_rows, weights=weights), **rtol)
    # The default weights squared errors and averages over rows, as in scikit-learn.
    assert_allclose(scores[None], -(of_rows * weights).mean(), **rtol)
    right = values.argmax(axis=1) == y
    assert_allclose(scores["accuracy"], np.average(right, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("scoring", [None, "accuracy", "balanced_accuracy"])
def test_threads_do_not_change_scores_of_many_classes(scoring):
    X, y, w = make_data(2500, 24, 200, "f4")
    found = [
        quietly(ParallelRidgeClassifierCV(ALPHAS, scoring=scoring, n_jobs=n_jobs), X, y, w)
        for n_jobs in (1, 2, 4)
    ]
    for model in found[1:]:
        assert_array_equal(
            model.cv_results_["mean_test_score"], found[0].cv_results_["mean_test_score"]
        )


@pytest.mark.parametrize("cv", [3, None])
def test_no_table_or_matrix_of_classes_is_formed(cv):
    n, k = 3000, 1000
    X, y, _ = make_data(n, 16, k, "f4")
    model = ParallelRidgeClassifierCV(np.logspace(-1, 3, 10), cv=cv)
    tracemalloc.start()
    try:
        quietly(model, X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A k x k table of each penalty would take 80 MB, and decision values of all rows 120 MB.
    assert peak < 30e6


def test_a_scorer_without_weights_sees_each_row_once():
    X, y, _ = make_data()
    model = ParallelRidgeClassifierCV(
        [10.0], cv=KFold(3, shuffle=True, random_state=0), scoring=_kappa
    )
    quietly(model, X, y)
    assert 0.0 < model.best_score_ < 1.0


def _kappa(model, X, y):
    return cohen_kappa_score(y, model.predict(X))
