"""Folds: scikit-learn's scores."""

import warnings
from itertools import cycle, product

import numpy as np
import pytest
import scipy.sparse as sp
from _data.model_selection import (
    ALPHAS,
    CONTAINERS,
    METRICS_OF_ERRORS,
    NAN,
    Reference,
    coded,
    fit_of,
    make_data,
    reference_scores,
    references,
    split_scores,
    weights_of,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import (
    get_scorer,
    mean_squared_error,
)
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    check_cv,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight

from parallel_ridge import (
    ParallelRidgeClassifierCV,
)

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")


def bootstrap(n, rng):
    """Training rows drawn with replacement, tested on those that were not drawn."""
    for _ in range(3):
        train = rng.integers(0, n, n)
        yield train, np.setdiff1d(np.arange(n), train)


SPLITTERS = {
    "number": lambda n, rng: 3,
    "stratified": lambda n, rng: StratifiedKFold(4, shuffle=True, random_state=3),
    "folds": lambda n, rng: KFold(3),
    "shuffled folds": lambda n, rng: KFold(4, shuffle=True, random_state=0),
    "draws": lambda n, rng: ShuffleSplit(4, test_size=0.3, train_size=0.5, random_state=0),
    "repeated folds": lambda n, rng: RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    "time series": lambda n, rng: TimeSeriesSplit(3),
    "predefined": lambda n, rng: PredefinedSplit(rng.permutation(np.arange(n) % 4) - 1),
    "groups": lambda n, rng: LeaveOneGroupOut(),
    "positions": lambda n, rng: [(np.arange(0, n, 2), np.arange(1, n, 2)), (range(9, n), range(9))],
    "negative positions": lambda n, rng: [(np.arange(-n, -9), np.arange(-9, 0))],
    "masks": lambda n, rng: [(np.arange(n) % 3 != r, np.arange(n) % 3 == r) for r in range(2)],
    "overlapping sets": lambda n, rng: [(np.arange(n - 5), np.arange(n // 2, n)), (range(n), [4])],
    "repeated rows": lambda n, rng: list(bootstrap(n, rng)),
}


@st.composite
def searches(draw):
    """Random rows, labels, options and splits."""
    n, k = draw(st.integers(24, 60)), draw(st.integers(2, 4))
    d = draw(st.integers(1, 12) | st.integers(61, 90))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    dtype = draw(st.sampled_from(["float64", "float32", "uint8"]))
    X, y = make_data(n, d, "binary" if k == 2 else "multiclass", dtype, seed, k)
    container = draw(st.sampled_from(sorted(CONTAINERS)))
    if container == "csr":
        X = X * (rng.random(X.shape) < 0.4).astype(X.dtype)
    class_weight = draw(st.sampled_from([None, "balanced", "dict"]))
    if class_weight == "dict":
        class_weight = dict(zip(np.unique(y).tolist(), [2.0, 0.5, 1.0, 3.0], strict=False))
    options = {
        "fit_intercept": draw(st.booleans()),
        "class_weight": class_weight,
        "objective": draw(st.sampled_from(["sum", "mean"])),
        "standardize": draw(st.booleans()),
    }
    weights = weights_of(n, seed) if draw(st.booleans()) else None
    name = draw(st.sampled_from(sorted(SPLITTERS)))
    groups = np.arange(n) % 3 if name == "groups" else None
    cv = SPLITTERS[name](n, rng)
    splits = [
        (np.arange(n)[np.asarray(train)], np.arange(n)[np.asarray(test)])
        for train, test in check_cv(cv, y, classifier=True).split(X, y, groups)
    ]
    for train, test in splits:
        w = np.ones(n) if weights is None else weights
        assume(len(np.unique(y[train])) > 1 and w[train].any() and w[test].any())
    factor = draw(st.sampled_from([1.0, 30.0])) * (625 if dtype == "uint8" else 1)
    if options["objective"] == "mean":
        factor /= n
    if options["standardize"] and dtype == "uint8":
        factor /= 625
    alphas = [alpha * factor for alpha in draw(st.permutations([0.1, 1.0, 10.0]))]
    if draw(st.booleans()):  # enough for a banded form to pay
        alphas = [*alphas, *(np.logspace(2, 4, 7) * factor)]
    return X, y, CONTAINERS[container], cv, groups, splits, weights, alphas, options


@settings(max_examples=30, deadline=None)
@given(searches(), st.sampled_from(["neg_mean_squared_error", "r2"]))
def test_scores_of_splits_are_those_of_scikit_learn(backend, search, of_errors):
    X, y, container, cv, groups, splits, weights, alphas, options = search
    options["backend"] = backend
    model = ParallelRidgeClassifierCV(alphas, cv=cv, **options)
    fit_of(model, container(X), y, weights, groups=groups)
    errors = ParallelRidgeClassifierCV(alphas, cv=cv, scoring=of_errors, **options)
    fit_of(errors, container(X), y, weights, groups=groups)
    del options["backend"]
    Y = coded(y)
    some = [0, 1, 2, len(alphas) - 1]  # of many penalties; the oracle is slow
    scores, unsure, error_scores = np.full((3, len(splits), 4), NAN)
    near = 1e-3 if X.dtype == np.float32 else 1e-8
    kinds = [set() for _ in splits]  # classes with weight, of either set
    for kind, rows in (
        (kind, rows) for kind, split in zip(kinds, splits, strict=True) for rows in split
    ):
        kind.add(tuple(np.unique(y[rows] if weights is None else y[rows][weights[rows] > 0])))
    for at, test, w, reference in references(
        X, y, [alphas[j] for j in some], splits, weights, **options
    ):
        right, sure = reference.hits(X[test], y[test])
        scores[at] = np.average(right, weights=w)
        unsure[at] = np.average(sure < near, weights=w)
        if kinds[at[0]] == {tuple(np.unique(y))}:  # all targets are there, and vary
            values = reference.values(X[test]).reshape(Y[test].shape)
            error_scores[at] = METRICS_OF_ERRORS[of_errors](Y[test], values, w)
    assert (np.abs(split_scores(model)[:, some] - scores) <= unsure + 1e-12).all()
    tolerance = 1e-4 if X.dtype == np.float32 else 1e-9
    known = np.isfinite(error_scores)
    assert_allclose(split_scores(errors)[:, some][known], error_scores[known], tolerance, tolerance)
    results = model.cv_results_
    assert_allclose(results["mean_test_score"], split_scores(model).mean(axis=0), 1e-14)
    assert_allclose(results["std_test_score"], split_scores(model).std(axis=0), atol=1e-14)
    # A tie up to rounding goes to the larger alpha, whose mean may be the last bit less.
    assert model.best_score_ == pytest.approx(results["mean_test_score"].max(), rel=1e-12)
    # The fit to all rows, too: decision values count in units of the targets.
    whole = Reference(X, y, model.alpha_, weights, **options)
    tolerance = 1e-4 if X.dtype == np.float32 else 1e-8
    assert_allclose(model.decision_function(container(X)), whole.values(X), atol=tolerance)


@pytest.mark.parametrize(
    ("name", "scoring"),
    list(zip(SPLITTERS, cycle(["accuracy", "balanced_accuracy", "f1_weighted"]), strict=False)),
)
def test_scores_are_those_of_grid_search(name, scoring, backend):
    for target, shape in (("binary", (40, 70)), ("multiclass", (61, 5))):
        X, y = make_data(*shape, target)
        cv = SPLITTERS[name](len(X), np.random.default_rng(0))
        groups = np.arange(len(X)) % 3 if name == "groups" else None
        if name == "overlapping sets":
            cv = cv[:1]  # balanced scores of a single row are of one class
        grid = GridSearchCV(
            RidgeClassifier(solver="svd"), {"alpha": ALPHAS}, cv=cv, scoring=scoring
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
            grid.fit(X, y, groups=groups)
            model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring=scoring, backend=backend)
            fit_of(model, X, y, groups=groups)
        assert model.n_splits_ == grid.n_splits_
        for column in (*(f"split{i}_test_score" for i in range(grid.n_splits_)), "mean_test_score"):
            assert_allclose(model.cv_results_[column], grid.cv_results_[column], 1e-10, 1e-10)
        best = grid.cv_results_["mean_test_score"]
        assert best[ALPHAS.index(model.alpha_)] >= best.max() - 1e-12


@pytest.mark.parametrize("times", [2, 3, 4])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", [(30, 4), (30, 40)])
def test_a_training_row_counts_as_often_as_its_set_holds_it(shape, standardize, times):
    X, y = make_data(*shape)
    test = np.arange(20, 30)
    train = np.concatenate([np.arange(20), *[[0, 5]] * (times - 1)])
    options = {"standardize": standardize}
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=[(train, test)], scoring="neg_mean_squared_error", **options
    ).fit(X, y)
    expected = [
        -mean_squared_error(coded(y)[test], reference.values(X[test]))
        for _, _, _, reference in references(X, y, ALPHAS, [(train, test)], **options)
    ]
    assert_allclose(split_scores(model)[0], expected, 1e-10)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "int64"])
def test_weights_by_training_set_count_where_all_rows_have_none(dtype):
    # As many rows of each class: "balanced" is no weight at all for all rows, but is for splits.
    X = (make_data(40, 3, dtype="uint8")[0] // 2).astype(dtype)
    y = np.arange(40) % 2
    X[:, 0] += y.astype(dtype)
    splits = [(np.flatnonzero((y == 0) | (np.arange(40) < 10)), np.arange(10, 40, 3))]
    model = ParallelRidgeClassifierCV(
        [625.0], cv=splits, class_weight="balanced", scoring="neg_mean_squared_error"
    ).fit(X, y)
    (train, test) = splits[0]
    reference = Reference(X[train], y[train], 625.0, class_weight="balanced")
    assert_allclose(
        model.best_score_, -mean_squared_error(2 * y[test] - 1, reference.values(X[test]))
    )


def test_a_test_row_counts_as_often_as_its_set_holds_it():
    X, y = make_data(30, 4)
    train, test = np.arange(20), np.array([20, 20, 20, 21, 22, 29, 29])
    for scoring in ("accuracy", "balanced_accuracy"):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=[(train, test)], scoring=scoring).fit(X, y)
        expected = reference_scores(get_scorer(scoring), X, y, ALPHAS, [(train, test)])
        assert_allclose(split_scores(model), expected, 1e-12)


def test_scores_of_multilabel_splits_are_those_of_grid_search():
    X, Y = make_data(60, 5, "multilabel")
    for scoring, given_y in product(("accuracy", "f1_macro", "jaccard_micro", "roc_auc"), (0, 1)):
        grid = GridSearchCV(
            RidgeClassifier(solver="svd"), {"alpha": ALPHAS}, cv=KFold(3), scoring=scoring
        )
        grid.fit(X, Y)
        y = sp.csr_matrix(Y) if given_y and scoring != "roc_auc" else Y
        model = ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring=scoring).fit(X, y)
        expected = [grid.cv_results_[f"split{i}_test_score"] for i in range(3)]
        assert_allclose(split_scores(model), expected, 1e-10)
        assert_array_equal(model.predict(X), RidgeClassifier(model.alpha_).fit(X, Y).predict(X))


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(60, 5), (30, 50)])
def test_sparse_rows_have_the_scores_of_dense_ones(shape, dtype):
    X, y = make_data(*shape, dtype="uint8")
    X = np.where(X > 110, X, 0).astype(dtype)
    X[:, 1] = 1  # an intercept makes this no column at all
    for cv, fit_intercept, standardize in ((None, 1, 0), (3, 1, 1), (None, 0, 1), (3, 0, 0)):
        fit_intercept, standardize = bool(fit_intercept), bool(standardize)
        options = {"fit_intercept": fit_intercept, "standardize": standardize}
        alphas = np.array([1.0, 30.0]) * (1 if standardize or dtype == "bool" else 600)
        dense, sparse, expected = (
            ParallelRidgeClassifierCV(alphas, cv=cv, scoring="r2", **options).fit(rows, y)
            for rows in (X, sp.csr_matrix(X), X.astype(np.float64))
        )
        tolerance = 1e-4 if dtype == "float32" else 1e-10
        for model in (dense, sparse):
            assert_allclose(
                model.cv_results_["mean_test_score"],
                expected.cv_results_["mean_test_score"],
                tolerance,
                tolerance,
                err_msg=str((model is sparse, cv, options)),
            )


@pytest.mark.parametrize("shape", [(60, 5), (30, 50)])
def test_standardize_is_a_scaler_fitted_to_each_training_set(shape):
    X, y = make_data(*shape)
    X = X * np.logspace(-3, 3, shape[1])
    pipeline = make_pipeline(StandardScaler(), RidgeClassifier(solver="svd"))
    grid = GridSearchCV(pipeline, {"ridgeclassifier__alpha": ALPHAS}, cv=3).fit(X, y)
    model = ParallelRidgeClassifierCV(ALPHAS, cv=3, standardize=True).fit(X, y)
    expected = [grid.cv_results_[f"split{i}_test_score"] for i in range(3)]
    assert_array_equal(split_scores(model), expected)


def test_objective_mean_is_alpha_times_the_weights_of_each_training_set():
    X, y = make_data(50, 6)
    weights = weights_of(50)
    splits = list(ShuffleSplit(3, random_state=1).split(X))
    options = {"scoring": "neg_mean_squared_error", "class_weight": "balanced"}
    means = ParallelRidgeClassifierCV(ALPHAS, cv=splits, objective="mean", **options)
    means = split_scores(means.fit(X, y, weights))
    for i, (train, test) in enumerate(splits):
        total = (weights[train] * compute_sample_weight("balanced", y[train])).sum()
        sums = ParallelRidgeClassifierCV(
            np.array(ALPHAS) * total, cv=[(train, test)], **options
        ).fit(X, y, weights)
        assert_allclose(split_scores(sums)[0], means[i], 1e-10)
