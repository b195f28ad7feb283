"""Laws of the search over penalties: scikit-learn's scores, brute force, and nothing half done."""

import copy
import pickle
import re
import tracemalloc
import warnings
from itertools import cycle, product

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
import scipy.special
import sklearn
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge, RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import (
    accuracy_score,
    adjusted_rand_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    fbeta_score,
    get_scorer,
    log_loss,
    make_scorer,
    mean_squared_error,
    precision_score,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    check_cv,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from parallel_ridge import (
    IllConditionedWarning,
    OpenMPBackend,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    SufficientStatistics,
    reductions,
    solvers,
)
from parallel_ridge.reductions import StatisticsReduction
from parallel_ridge.sources import Block, Labels

# The grids here are short on purpose; one test is about this warning.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")

NAN, INF = float("nan"), float("inf")
ALPHAS = [0.1, 3.0, 100.0]
TARGETS = ("binary", "multiclass", "multilabel")
CONTAINERS = {"dense": np.asarray, "csr": sp.csr_matrix}
METRICS_OF_ERRORS = {
    "neg_mean_squared_error": lambda Y, V, w=None: -mean_squared_error(Y, V, sample_weight=w),
    "neg_root_mean_squared_error": lambda Y, V, w=None: (
        -root_mean_squared_error(Y, V, sample_weight=w)
    ),
    "r2": lambda Y, V, w=None: r2_score(Y, V, sample_weight=w),
}


# ------------------------------------------------------------------------------------------------
# Data and oracles
# ------------------------------------------------------------------------------------------------


def make_data(n=60, d=5, target="multiclass", dtype="float64", seed=0, k=3, signal=1.0):
    """Random rows that the labels depend on; every class has at least four rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 0.5
    scores = signal * X @ rng.normal(size=(d, k)) + rng.normal(size=(n, k))
    scores -= scores.mean(axis=0)
    if target == "multilabel":
        y = (scores > 0).astype(int)
    else:
        names = np.array(["no", "yes"] if target == "binary" else [f"class {c}" for c in range(k)])
        codes = scores[:, : len(names)].argmax(axis=1)
        codes[: 4 * len(names)] = np.arange(4 * len(names)) % len(names)
        y = names[codes]
    if np.dtype(dtype).kind == "u":
        X = np.clip(np.rint(100 + 25 * X), 0, 255)
    return X.astype(dtype), y


def weights_of(n, seed=1, zeros=0.1):
    rng = np.random.default_rng(seed)
    return rng.choice([0.0, 0.5, 1.0, 2.5], size=n, p=[zeros, 0.3 - zeros, 0.4, 0.3])


def coded(y):
    """Targets +1 and -1, shape (n, t)."""
    if y.ndim == 2:
        return 2.0 * y - 1
    classes = np.unique(y)
    return 2.0 * (y[:, None] == (classes[1:] if len(classes) == 2 else classes)) - 1


def fit_of(estimator, X, y, *arguments, **keywords):
    """A fit whose folds may lack a class."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The training set of split", UserWarning)
        return estimator.fit(X, y, *arguments, **keywords)


def split_scores(model):
    """Scores of each split and penalty, shape (splits, p)."""
    results = model.cv_results_
    return np.array([results[f"split{i}_test_score"] for i in range(model.n_splits_)])


class Reference:
    """scikit-learn's model of one training set and one penalty, with our options."""

    def __init__(
        self,
        X,
        y,
        alpha,
        weights=None,
        *,
        fit_intercept=True,
        class_weight=None,
        standardize=False,
        objective="sum",
    ):
        X = X.astype(np.float64)
        weights = np.ones(len(X)) if weights is None else weights
        if class_weight is not None:
            weights = weights * compute_sample_weight(class_weight, y)
        self.scale = np.ones(X.shape[1])
        if objective == "mean":
            alpha = alpha * weights.sum()
        model = RidgeClassifier(alpha, solver="svd", fit_intercept=fit_intercept)
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):  # faster
            if standardize:
                self.scale = StandardScaler().fit(X, sample_weight=weights).scale_
            self.model = model.fit(X / self.scale, y, weights)

    def rows(self, X):
        return X.astype(np.float64) / self.scale

    def values(self, X):
        values = self.rows(X) @ self.model.coef_.T + self.model.intercept_
        return values.reshape(-1) if len(self.model.classes_) == 2 else values

    def hits(self, X, y):
        """Whether labels are predicted, and by how much."""
        values = self.values(X)
        predicted = labels_of(values.reshape(len(X), -1), self.model.classes_)
        return predicted == y, margins(values)

    def score(self, scorer, X, y, weights=None):
        extra = {} if weights is None else {"sample_weight": weights}
        return scorer(self.model, self.rows(X), y, **extra)


def references(X, y, alphas, splits, weights=None, **options):
    """For each split and penalty its number, the rows tested, their weights and the model."""
    for i, (train, test) in enumerate(splits):
        for j, alpha in enumerate(alphas):
            w = None if weights is None else weights[train]
            test_weights = None if weights is None else weights[test]
            yield (i, j), test, test_weights, Reference(X[train], y[train], alpha, w, **options)


def reference_scores(scorer, X, y, alphas, splits, weights=None, *, weighted=True, **options):
    splits = list(splits)
    scores = np.empty((len(splits), len(alphas)))
    for at, test, w, model in references(X, y, alphas, splits, weights, **options):
        scores[at] = model.score(scorer, X[test], y[test], w if weighted else None)
    return scores


def left_out_values(X, Y, alpha, weights=None, *, fit_intercept=True, standardize=False):
    """Decision value of each row by a fit to all the others."""
    X = np.array(X.toarray() if sp.issparse(X) else X, dtype=np.float64)
    if standardize:  # by all rows
        X = X / StandardScaler().fit(X, sample_weight=weights).scale_
    values = np.empty(Y.shape)
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):  # faster
        for i in range(len(X)):
            rest = np.arange(len(X)) != i
            model = Ridge(alpha, solver="svd", fit_intercept=fit_intercept)
            model.fit(X[rest], Y[rest], None if weights is None else weights[rest])
            values[i] = X[i] @ model.coef_.T + model.intercept_
    return values


def labels_of(values, classes):
    """Labels of decision values of shape (n, t)."""
    codes = (values[:, 0] > 0).astype(int) if values.shape[1] == 1 else values.argmax(axis=1)
    return classes[codes]


def margins(values):
    """How far each row is from another answer."""
    if values.ndim == 1 or values.shape[1] == 1:
        return np.abs(values).reshape(-1)
    best = np.sort(values, axis=1)
    return best[:, -1] - best[:, -2]


def probabilities_of(values, scale, multilabel=False):
    """By the definition: a softmax of scaled decision values, (-v, v) for two classes."""
    if multilabel:
        pairs = scale * np.stack([-values, values], axis=2)
        return scipy.special.softmax(pairs, axis=2)[:, :, 1]
    if values.ndim == 1 or values.shape[1] == 1:
        values = np.column_stack([-values.reshape(-1), values.reshape(-1)])
    return scipy.special.softmax(scale * values, axis=1)


def loss_of(values, y, scale, weights=None):
    """Log-loss of decision values times a scale (of labels, the sum over them)."""
    proba = probabilities_of(values, scale, y.ndim == 2)
    if y.ndim == 2:
        likelihood = np.where(y > 0, np.log(proba), np.log1p(-proba)).sum(axis=1)
    else:
        codes = np.searchsorted(np.unique(y), y)
        likelihood = np.log(proba[np.arange(len(y)), codes])
    return -np.average(likelihood, weights=weights)


def best_scale(values, y, weights=None):
    with np.errstate(all="ignore"):
        grid = np.exp(np.linspace(-9, 20, 120))
        start = np.nanargmin([loss_of(values, y, scale, weights) for scale in grid])
        around = np.log(grid[[max(start - 1, 0), min(start + 1, len(grid) - 1)]])
        found = scipy.optimize.minimize_scalar(
            lambda s: loss_of(values, y, np.exp(s), weights),
            bounds=around,
            method="bounded",
            options={"xatol": 1e-8},
        )
    return float(np.exp(found.x))


def state(estimator):
    return copy.deepcopy(vars(estimator))


def assert_same_state(estimator, before):
    now = vars(estimator)
    assert now.keys() == before.keys()
    for name, value in before.items():
        assert repr(now[name]) == repr(value), name


# ------------------------------------------------------------------------------------------------
# K-fold: scikit-learn's scores
# ------------------------------------------------------------------------------------------------


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
    if draw(st.booleans()):  # enough for a tridiagonal form to pay
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


# ------------------------------------------------------------------------------------------------
# Scorers
# ------------------------------------------------------------------------------------------------


def hits(estimator, X, y):
    return np.mean(estimator.predict(X) == y)


def largest_value(estimator, X, y):
    return np.quantile(np.abs(estimator.decision_function(X)), 0.7)


SCORERS = {  # and whether they take sample_weight
    **{name: (name, True) for name in ("accuracy", "balanced_accuracy", "f1_macro")},
    "matthews": ("matthews_corrcoef", True),
    "jaccard": ("jaccard_weighted", True),
    "rand": (make_scorer(adjusted_rand_score), False),
    "error": (
        make_scorer(lambda y_true, y_pred: np.mean(y_true != y_pred), greater_is_better=False),
        False,
    ),
    "callable": (hits, False),
    "callable of values": (largest_value, False),
}
BINARY_SCORERS = {
    "f1 of yes": (make_scorer(f1_score, pos_label="yes"), True),
    "f2 of no": (make_scorer(fbeta_score, beta=2, pos_label="no"), True),
    "precision of no": (make_scorer(precision_score, pos_label="no"), True),
    "roc_auc": ("roc_auc", True),
    "average precision": (
        make_scorer(average_precision_score, response_method="decision_function", pos_label="no"),
        True,
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [*SCORERS, *BINARY_SCORERS])
def test_every_scorer_gives_what_it_gives_in_scikit_learn(name, weighted):
    scoring, takes_weights = {**SCORERS, **BINARY_SCORERS}[name]
    for target in ("binary", "multiclass") if name in SCORERS else ("binary",):
        X, y = make_data(120, 6, target)
        weights = weights_of(120, zeros=0.0) if weighted else None
        splits = list(StratifiedKFold(3).split(X, y))
        model = ParallelRidgeClassifierCV(ALPHAS[1:], cv=3, scoring=scoring)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* takes no sample_weight", UserWarning)
            model.fit(X, y, weights)
        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        expected = reference_scores(
            scorer, X, y, ALPHAS[1:], splits, weights, weighted=takes_weights
        )
        assert_allclose(split_scores(model), expected, 1e-10, 1e-12)


def test_a_scorer_without_weights_says_so_where_there_are_some():
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring=make_scorer(adjusted_rand_score))
    with pytest.warns(UserWarning, match=r"adjusted_rand_score.*takes no sample_weight"):
        model.fit(X, y, weights_of(60))


PROBABILITY_SCORES = {
    "neg_log_loss": lambda y, P, w: -log_loss(y, P, sample_weight=w),
    "roc_auc_ovr": lambda y, P, w: roc_auc_score(
        y, P[:, 1] if P.shape[1] == 2 else P, multi_class="ovr", sample_weight=w
    ),
}


@pytest.mark.parametrize("scoring", PROBABILITY_SCORES)
@pytest.mark.parametrize("target", ["binary", "multiclass"])
@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_probabilities_come_from_held_out_values(scoring, target, cv, weighted):
    X, y = make_data(60, 5, target)
    weights = weights_of(60, zeros=0.0) if weighted else None
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring=scoring, probability=True)
    model.fit(X, y, weights)
    metric = PROBABILITY_SCORES[scoring]
    if cv is None:
        splits = [(None, np.arange(60))]
        held = [[left_out_values(X, coded(y), alpha, weights)] for alpha in ALPHAS]
        scores = model.cv_results_["mean_test_score"][None]
    else:
        splits = list(StratifiedKFold(3).split(X, y))
        held = [[] for _ in ALPHAS]
        for (_, j), test, _, reference in references(X, y, ALPHAS, splits, weights):
            held[j].append(reference.values(X[test]))
        scores = split_scores(model)
    tested = np.concatenate([test for _, test in splits])
    for j, values in enumerate(held):
        w = None if weights is None else weights[tested]
        scale = best_scale(np.concatenate(values), y[tested], w)
        for i, (_, test) in enumerate(splits):
            w = None if weights is None else weights[test]
            expected = metric(y[test], probabilities_of(values[i], scale), w)
            assert_allclose(scores[i, j], expected, 1e-5)
        if ALPHAS[j] == model.alpha_:
            assert_allclose(model.probability_scale_, scale, 1e-4)


@pytest.mark.parametrize("cv", [None, 3])
def test_a_callable_scorer_may_ask_for_probabilities(cv):
    X, y = make_data()

    def likelihood(estimator, X, y):
        return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)

    options = {"cv": cv, "probability": True}
    model = ParallelRidgeClassifierCV(ALPHAS, scoring=likelihood, **options).fit(X, y)
    named = ParallelRidgeClassifierCV(ALPHAS, scoring="neg_log_loss", **options).fit(X, y)
    scores = named.cv_results_["mean_test_score"]
    assert_allclose(model.cv_results_["mean_test_score"], scores, 1e-12)
    with pytest.raises(AttributeError, match="predict_proba"):
        ParallelRidgeClassifierCV(ALPHAS, scoring=likelihood, cv=cv).fit(X, y)


@pytest.mark.parametrize("scoring", METRICS_OF_ERRORS)
@pytest.mark.parametrize("target", TARGETS)
def test_error_scores_of_rows_left_out_are_those_of_the_metrics(scoring, target):
    X, y = make_data(40, 5, target)
    Y, metric = coded(y), METRICS_OF_ERRORS[scoring]
    for weights in (None, weights_of(40)):
        model = ParallelRidgeClassifierCV(ALPHAS, scoring=scoring).fit(X, y, weights)
        expected = [metric(Y, left_out_values(X, Y, alpha, weights), weights) for alpha in ALPHAS]
        assert_allclose(model.cv_results_["mean_test_score"], expected, 1e-9)


def test_a_score_without_a_name_is_that_of_ridge_classifier_cv():
    X, y = make_data()
    # With weights, scikit-learn's squared errors of leave-one-out are a mean over rows all the same.
    for cv, scoring in ((None, "neg_mean_squared_error"), (3, "accuracy")):
        unnamed = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(X, y)
        named = ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring=scoring).fit(X, y)
        scores = unnamed.cv_results_["mean_test_score"]
        assert_array_equal(scores, named.cv_results_["mean_test_score"])
        assert_allclose(unnamed.best_score_, RidgeClassifierCV(ALPHAS, cv=cv).fit(X, y).best_score_)


# ------------------------------------------------------------------------------------------------
# Leave-one-out
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("shape", [(60, 5), (25, 40)])
@pytest.mark.parametrize("target", TARGETS)
def test_leave_one_out_is_that_of_ridge_classifier_cv(
    target, shape, fit_intercept, weighted, backend
):
    X, y = make_data(*shape, target)
    weights = weights_of(len(X)) if weighted else None
    for class_weight in (None,) if target == "multilabel" else (None, "balanced"):
        options = {"fit_intercept": fit_intercept, "class_weight": class_weight}
        theirs = RidgeClassifierCV(ALPHAS, store_cv_results=True, **options).fit(X, y, weights)
        ours = ParallelRidgeClassifierCV(
            ALPHAS, store_cv_results=True, backend=backend, **options
        ).fit(X, y, weights)
        assert ours.alpha_ == theirs.alpha_
        assert_allclose(ours.best_score_, theirs.best_score_, 1e-10)
        assert_allclose(ours.coef_, theirs.coef_.reshape(ours.coef_.shape), 1e-8, 1e-10)
        assert_allclose(ours.intercept_, theirs.intercept_, 1e-8, 1e-10)
        errors = theirs.cv_results_.reshape(len(X), -1, len(ALPHAS))
        means = -errors.mean(axis=(0, 1))
        assert_allclose(ours.cv_results_["mean_test_score"], means, 1e-10)
        deviations = errors.mean(axis=1).std(axis=0)
        assert_allclose(ours.cv_results_["std_test_score"], deviations, 1e-8)
        w = np.ones(len(X)) if weights is None else weights
        w = w if class_weight is None else w * compute_sample_weight(class_weight, y)
        loo = ours.loo_decision_.reshape(len(X), -1)
        assert_allclose(
            w[:, None] * (loo - coded(y)) ** 2, errors[:, :, ours.best_index_], 1e-8, 1e-10
        )
        assert ours.n_splits_ == len(X) and not any("split" in key for key in ours.cv_results_)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_mean_squared_error"])
@pytest.mark.parametrize("shape", [(45, 4), (30, 50)])
def test_a_split_for_each_row_gives_the_scores_of_leave_one_out(shape, scoring):
    X, y = make_data(*shape)
    options = {"scoring": scoring, "fit_intercept": True}
    closed = ParallelRidgeClassifierCV(ALPHAS, **options).fit(X, y)
    for cv in (LeaveOneOut(), KFold(len(X))):
        split = ParallelRidgeClassifierCV(ALPHAS, cv=cv, **options).fit(X, y)
        assert split.n_splits_ == closed.n_splits_ == len(X)
        scores = closed.cv_results_["mean_test_score"]
        assert_allclose(split.cv_results_["mean_test_score"], scores, 1e-10)
        assert split.alpha_ == closed.alpha_


@st.composite
def left_out(draw):
    """Few rows, narrow and wide, of which one at a time is left out."""
    n, d, seed = draw(st.integers(12, 22)), draw(st.integers(1, 30)), draw(st.integers(0, 2**16))
    target = draw(st.sampled_from(TARGETS))
    dtype = draw(st.sampled_from(["float64", "uint8"]))
    X, y = make_data(n, d, target, dtype, seed)
    container = draw(st.sampled_from(sorted(CONTAINERS)))
    if container == "csr":
        X = X * (np.random.default_rng(seed).random(X.shape) < 0.5).astype(X.dtype)
    weights = weights_of(n, seed) if draw(st.booleans()) else None
    class_weight = None if target == "multilabel" else draw(st.sampled_from([None, "balanced"]))
    options = {"fit_intercept": draw(st.booleans()), "standardize": draw(st.booleans())}
    factor = 625 if dtype == "uint8" and not options["standardize"] else 1
    alphas = [alpha * factor for alpha in draw(st.permutations([0.05, 1.0, 30.0]))]
    return X, y, CONTAINERS[container], weights, class_weight, alphas, options


@settings(max_examples=40, deadline=None)
@given(left_out(), st.sampled_from(["accuracy", "balanced_accuracy", None]), st.booleans())
def test_leave_one_out_is_a_fit_to_all_other_rows(problem, scoring, mean):
    X, y, container, weights, class_weight, alphas, options = problem
    w = np.ones(len(X)) if weights is None else weights
    if class_weight:
        w = w * compute_sample_weight(class_weight, y)
    objective, divisor = ("mean", w.sum()) if mean else ("sum", 1.0)  # the weights of all rows
    values = [left_out_values(X, coded(y), alpha, w, **options) for alpha in alphas]
    scoring = None if y.ndim == 2 else scoring
    if scoring is None:
        errors = [(w[:, None] * (v - coded(y)) ** 2).mean() for v in values]
        expected = -np.array(errors)
    else:
        assume(min(margins(v).min() for v in values) > 1e-6)
        assume(np.bincount(np.searchsorted(np.unique(y), y), w).min() > 0)
        metric = {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}[scoring]
        expected = [metric(y, labels_of(v, np.unique(y)), sample_weight=w) for v in values]
    model = ParallelRidgeClassifierCV(
        np.array(alphas) / divisor,
        scoring=scoring,
        class_weight=class_weight,
        objective=objective,
        store_cv_results=True,
        **options,
    ).fit(container(X), y, weights)
    assert_allclose(model.cv_results_["mean_test_score"], expected, 1e-7, 1e-9)
    best = values[model.best_index_]
    assert_allclose(model.loo_decision_.reshape(best.shape), best, 1e-7, 1e-7)
    single = y.ndim == 1 and len(np.unique(y)) == 2
    assert model.loo_decision_.shape == ((len(X),) if single else coded(y).shape)


def test_binary_accuracy_of_rows_left_out_is_that_of_brute_force():
    # scikit-learn's issue 34942: its RidgeClassifierCV says 1.0, always.
    X, y = make_data(50, 5, "binary", signal=0.2)
    model = ParallelRidgeClassifierCV(ALPHAS, scoring="accuracy").fit(X, y)
    left = np.arange(50)
    expected = [
        np.mean([RidgeClassifier(alpha).fit(X[left != i], y[left != i]).predict(X[[i]])[0] == y[i]
                 for i in left])
        for alpha in ALPHAS
    ]  # fmt: skip
    assert_array_equal(model.cv_results_["mean_test_score"], expected)
    assert max(expected) < 0.95
    shares = model.cv_results_["mean_test_score"]
    assert_allclose(model.cv_results_["std_test_score"], np.sqrt(shares * (1 - shares)))


@pytest.mark.parametrize("shape", [(300, 8), (30, 45)])
@pytest.mark.parametrize("container", CONTAINERS)
def test_leave_one_out_of_float32_rows_is_that_of_float64_to_their_digits(shape, container):
    X, y = make_data(*shape, dtype="float32")
    X += 100  # far from zero, where float32 has fewer digits left
    held = CONTAINERS[container](X)
    model = ParallelRidgeClassifierCV([1.0], store_cv_results=True).fit(held, y)
    exact = ParallelRidgeClassifierCV([1.0], store_cv_results=True).fit(X.astype("d"), y)
    assert_allclose(model.loo_decision_, exact.loo_decision_, atol=2e-3)
    assert model.coef_.dtype == np.float32


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"fit_intercept": False}])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_small_leverages_are_formed_in_float32_at_no_loss_of_eight_digits(
    dtype, options, weighted, monkeypatch
):
    rng = np.random.default_rng(3)
    X = rng.integers(0, 200, (4000, 30)) * (rng.random((4000, 30)) < 0.5)
    X[:, 7], X[11, :] = 5, 200  # a constant column, and a row far from the others
    X[11, 3], X[:, 4] = 0, X[:, 5] + rng.integers(0, 40, 4000)  # and nearly collinear ones
    X[:, 8] = X[:, 9]  # and equal ones
    y = (X[:, 0] > 50) + (X[:, 1] + rng.integers(0, 50, 4000) > 70)
    weights = rng.integers(0, 5, 4000).astype(float) if weighted else None
    values, kinds = [], set()
    call = reductions.LeaveOneOutDecisions.__call__

    def spied(self, block):
        kinds.add(self.leverage_dtype)
        return call(self, block)

    monkeypatch.setattr(reductions.LeaveOneOutDecisions, "__call__", spied)
    for rounding in (reductions.LEVERAGE_ROUNDING, -1.0):
        monkeypatch.setattr(reductions, "LEVERAGE_ROUNDING", rounding)
        kinds.clear()
        model = ParallelRidgeClassifierCV([10.0, 1e3], store_cv_results=True, **options)
        model.fit(X.astype(dtype), y, weights)
        values.append((model.loo_decision_, model.cv_results_["mean_test_score"]))
        assert kinds == {np.dtype("float32" if rounding > 0 else "float64")}
    assert_allclose(values[0][0], values[1][0], atol=1e-7)
    assert_allclose(values[0][1], values[1][1], rtol=1e-9)
    assert np.abs(values[0][0] - values[1][0]).max() > 0


@pytest.mark.parametrize("scale", [1e39, 1e20, 1e-25])
def test_leverages_that_float32_cannot_hold_are_formed_in_float64(scale):
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(400, 5)), rng.normal(size=400)
    y, alphas = X[:, 0] + noise > 0, np.array([1.0, 10.0])
    usual = ParallelRidgeClassifierCV(alphas, store_cv_results=True).fit(X, y)
    model = ParallelRidgeClassifierCV(alphas * scale**2, store_cv_results=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model.fit(X * scale, y)
        assert_allclose(model.loo_decision_, usual.loo_decision_, atol=1e-7)
        X[:, 0] *= 6e23  # a number of particles beside others
        model.set_params(alphas=alphas).fit(X, y)
        assert model.score(X, y) > 0.7


@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("copies", [2, 3])
def test_leverages_of_copied_columns_keep_eight_digits(copies, alpha):
    B = np.random.default_rng(3).integers(0, 200, (4000, 15))
    y, X = B[:, 0] + B[:, 1] > 200, np.hstack([B] * copies).astype("uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = ParallelRidgeClassifierCV([alpha, 2 * alpha], store_cv_results=True).fit(X, y)
    # As one column, of copies times the weight: a penalty that is as much smaller.
    one = ParallelRidgeClassifierCV([model.alpha_ / copies], store_cv_results=True).fit(B * 1.0, y)
    errors = model.loo_decision_ - one.loo_decision_
    residuals = model.loo_decision_ - coded(y)[:, 0]
    assert np.sqrt(np.mean(errors**2)) < 1e-8 * np.sqrt(np.mean(residuals**2))


@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("many", [False, True])
def test_a_search_on_constant_columns_alone_finds_no_weights(cv, many):
    X, y = np.full((30, 4), 0.1), np.arange(30) % 3
    alphas = np.logspace(-2, 2, 40) if many else [1.0, 2.0, 1.5]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", "The best alpha")
        model = ParallelRidgeClassifierCV(alphas, cv=cv, store_cv_results=cv is None).fit(X, y)
    assert_array_equal(model.coef_, np.zeros((3, 4)))
    assert_allclose(model.intercept_, -1 / 3)
    if cv is None:
        assert_allclose(model.loo_decision_[0], [2 * 9 / 29 - 1, 2 * 10 / 29 - 1, 2 * 10 / 29 - 1])


# ------------------------------------------------------------------------------------------------
# Ill-conditioned problems
# ------------------------------------------------------------------------------------------------


def collinear(n, d, apart, seed=0):
    """Rows whose last column is nearly the first."""
    X, y = make_data(n, d, seed=seed)
    X[:, -1] = X[:, 0] + apart * np.random.default_rng(9).normal(size=n)
    return X, y


@pytest.mark.parametrize("scoring", ["accuracy", "neg_mean_squared_error"])
@pytest.mark.parametrize("cv", [None, 4])
@pytest.mark.parametrize("apart", [0.0, 1e-7, 1e-5, 1e-3])
def test_tiny_alphas_on_collinear_columns_agree_with_svd(apart, cv, scoring):
    X, y = collinear(48, 6, apart)
    alphas = [1e-14, 1e-11, 1e-8, 1e-3]
    model = ParallelRidgeClassifierCV(alphas, cv=cv, scoring=scoring)
    Y = coded(y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IllConditionedWarning)
        model.fit(X, y)
    warned = [w.filename for w in caught if w.category is IllConditionedWarning]
    assert set(warned) == ({__file__} if apart < 1e-5 else set()) or apart == 1e-5
    if cv is None:
        held = [[left_out_values(X, Y, alpha)] for alpha in alphas]
        splits, scores = [(None, np.arange(48))], model.cv_results_["mean_test_score"][None]
    else:
        splits, scores = list(StratifiedKFold(4).split(X, y)), split_scores(model)
        held = [[] for _ in alphas]
        for (_, j), test, _, reference in references(X, y, alphas, splits):
            held[j].append(reference.values(X[test]))
    for j, values in enumerate(held):
        for i, (_, test) in enumerate(splits):
            V = values[i]
            if scoring == "accuracy":
                assert margins(V).min() > 1e-6  # or else the test has no answer
                expected = np.mean(labels_of(V, np.unique(y)) == y[test])
            else:
                expected = -mean_squared_error(Y[test], V)
            assert_allclose(scores[i, j], expected, 1e-6, err_msg=f"alpha={alphas[j]:g}")


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("cv", [None, 4])
def test_rows_far_from_zero_keep_their_digits(cv, fit_intercept):
    X, y = make_data(60, 5)
    X, Y = X + 1e6, coded(y)
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=cv, scoring="neg_mean_squared_error", fit_intercept=fit_intercept
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        model.fit(X, y)
    expected = np.zeros(3)
    if cv is None:
        held = [left_out_values(X, Y, alpha, fit_intercept=fit_intercept) for alpha in ALPHAS]
        expected = [-mean_squared_error(Y, values) for values in held]
    else:
        splits = list(StratifiedKFold(4).split(X, y))
        for (_, j), test, _, reference in references(
            X, y, ALPHAS, splits, fit_intercept=fit_intercept
        ):
            expected[j] -= mean_squared_error(Y[test], reference.values(X[test])) / 4
    assert_allclose(model.cv_results_["mean_test_score"], expected, 1e-7)


@pytest.mark.parametrize("alpha", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_wide_rows_with_tiny_alphas_are_left_out_exactly(alpha, fit_intercept):
    # Rows that can be interpolated have leverages close to 1: what is left of 1 must keep its digits.
    X, y = make_data(20, 30)
    options = {"fit_intercept": fit_intercept}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        model = ParallelRidgeClassifierCV([alpha], store_cv_results=True, **options).fit(X, y)
    exact = left_out_values(X, coded(y), alpha, **options)
    assert_allclose(model.loo_decision_, exact, atol=1e-6)


def test_standardize_mends_columns_of_any_size():
    X, y = make_data(50, 5)
    X = X * np.logspace(-8, 8, 5)
    for cv in (None, 3):
        model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, standardize=True).fit(X, y)
        plain = ParallelRidgeClassifierCV(ALPHAS, cv=cv, standardize=True)
        plain.fit(X / np.logspace(-8, 8, 5), y)
        assert_allclose(
            model.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], 1e-8
        )


# ------------------------------------------------------------------------------------------------
# A class missing from a training set
# ------------------------------------------------------------------------------------------------


def late_class(n=60, labels=("a", "b", "z")):
    """Rows of which the last class comes last."""
    X, _ = make_data(n, 4)
    y = np.array(labels)[np.arange(n) % (len(labels) - 1)]
    y[n // 2 :: 2] = labels[-1]
    X[:, 0] += 3 * (y == labels[0])
    return X, y


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro"])
@pytest.mark.filterwarnings("ignore:(F-score|Precision|Recall) is ill-defined")
def test_a_class_missing_from_a_training_set_is_named_and_scores_stay(scoring, fit_intercept):
    X, y = late_class()
    options = {"cv": TimeSeriesSplit(5), "scoring": scoring}
    model = ParallelRidgeClassifierCV(ALPHAS, fit_intercept=fit_intercept, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    named = [w for w in caught if "training set of split" in str(w.message)]
    lacking = [i for i, (train, _) in enumerate(TimeSeriesSplit(5).split(X)) if "z" not in y[train]]
    assert len(lacking) > 1
    for i, w in zip(lacking, named, strict=True):
        assert f"split {i} has no row of class ['z']" in str(w.message)
        assert w.category is UserWarning and w.filename == __file__
    assert np.isfinite(split_scores(model)).all()
    ridge = RidgeClassifier(solver="svd", fit_intercept=fit_intercept)
    grid = GridSearchCV(ridge, {"alpha": ALPHAS}, **options).fit(X, y)
    expected = [grid.cv_results_[f"split{i}_test_score"] for i in range(5)]
    assert_allclose(split_scores(model), expected, 1e-12)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("labels", ["ab", "abz"])
def test_a_class_missing_from_a_training_set_is_never_predicted(labels, fit_intercept):
    X, _ = make_data(40, 4)
    y = np.array(list(labels))[np.arange(40) % len(labels)]
    splits = [(np.flatnonzero(y == "a")[:8], np.arange(25, 40))]
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=splits, scoring="accuracy", fit_intercept=fit_intercept
    )
    with pytest.warns(UserWarning, match="none of its test rows is predicted as that"):
        model.fit(X, y)
    assert_array_equal(split_scores(model), [[np.mean(y[25:] == "a")] * 3])


@pytest.mark.parametrize("scoring", METRICS_OF_ERRORS)
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_errors_where_a_class_is_missing_are_those_of_its_constant_target(fit_intercept, scoring):
    X, y = late_class()
    Y, splits = coded(y), list(TimeSeriesSplit(5).split(X))
    model = ParallelRidgeClassifierCV(
        ALPHAS, cv=splits, scoring=scoring, fit_intercept=fit_intercept
    )
    expected = np.empty((5, len(ALPHAS)))
    for (i, (train, test)), (j, alpha) in product(enumerate(splits), enumerate(ALPHAS)):
        ridge = Ridge(alpha, solver="svd", fit_intercept=fit_intercept).fit(X[train], Y[train])
        expected[i, j] = METRICS_OF_ERRORS[scoring](Y[test], ridge.predict(X[test]))
    assert_allclose(split_scores(fit_of(model, X, y)), expected, 1e-9)


def test_probabilities_stay_defined_where_a_class_is_missing_from_a_training_set():
    X, y = late_class()
    model = ParallelRidgeClassifierCV(ALPHAS, cv=TimeSeriesSplit(5), probability=True)
    proba = fit_of(model, X, y).predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1.0)
    assert 0 < model.probability_scale_ < INF

    def likelihood(estimator, X, y):
        return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)

    for scoring in (likelihood, largest_value):
        scores = split_scores(fit_of(model.set_params(scoring=scoring), X, y))
        assert np.isfinite(scores).all()


# ------------------------------------------------------------------------------------------------
# Attributes
# ------------------------------------------------------------------------------------------------


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


# ------------------------------------------------------------------------------------------------
# Probabilities
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("target", TARGETS)
def test_probabilities_sum_to_one_and_grow_with_decision_values(target, cv):
    X, y = make_data(60, 5, target)
    model = ParallelRidgeClassifierCV(ALPHAS, cv=cv, probability=True).fit(X, y)
    proba, values = model.predict_proba(X), model.decision_function(X)
    with np.errstate(divide="ignore"):
        assert_allclose(model.predict_log_proba(X), np.log(proba), 1e-12)
    assert_allclose(
        proba, probabilities_of(values, model.probability_scale_, target == "multilabel"), 1e-10
    )
    if target == "multilabel":
        assert_array_equal((proba > 0.5).astype(int), model.predict(X))
        assert (np.diff(proba[np.argsort(values[:, 0]), 0]) >= 0).all()
        return
    assert proba.shape == (60, 2 if target == "binary" else 3)
    assert_allclose(proba.sum(axis=1), 1.0, 1e-12)
    assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))
    if target == "binary":
        assert (np.diff(proba[np.argsort(values), 1]) >= 0).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_scale_minimises_the_log_loss_of_rows_left_out(target, container, weighted):
    X, y = make_data(40, 5, target)
    weights = weights_of(40) if weighted else None
    model = ParallelRidgeClassifierCV([2.0], probability=True)
    model.fit(CONTAINERS[container](X), y, weights)
    values = left_out_values(X, coded(y), 2.0, weights)
    assert_allclose(model.probability_scale_, best_scale(values, y, weights), 1e-4)


def test_the_scale_of_one_label_a_row_is_that_of_labels_which_may_be_several():
    # predict_proba of labels gives each its own probability: that is what the scale must suit.
    X, names = make_data(60, 5)
    Y = (names[:, None] == np.unique(names)).astype(int)
    model = ParallelRidgeClassifierCV([2.0], probability=True).fit(X, Y)
    scale = best_scale(left_out_values(X, coded(Y), 2.0), Y)
    assert_allclose(model.probability_scale_, scale, 1e-4)


@pytest.mark.parametrize("alpha", [1e4, 1e8])
def test_the_scale_suits_values_of_any_size(alpha):
    X, y = make_data(60, 5, "binary")
    model = ParallelRidgeClassifierCV([alpha], probability=True, fit_intercept=False).fit(X, y)
    values = left_out_values(X, coded(y), alpha, fit_intercept=False)
    best = loss_of(values, y, best_scale(values, y))
    assert best < 0.6  # or else any scale is as good
    assert loss_of(values, y, model.probability_scale_) <= best + 1e-6


def test_probabilities_need_to_be_asked_for():
    X, y = make_data()
    model = ParallelRidgeClassifierCV(ALPHAS).fit(X, y)
    for method in ("predict_proba", "predict_log_proba"):
        assert not hasattr(model, method)
        with pytest.raises(AttributeError, match=method):
            getattr(model, method)(X)
    assert not hasattr(model, "probability_scale_") and not hasattr(model, "loo_decision_")
    assert not hasattr(model.set_params(probability=True), "predict_proba")  # too late
    asked = ParallelRidgeClassifierCV(ALPHAS, probability=True)
    assert hasattr(asked, "predict_proba")
    with pytest.raises(NotFittedError):
        asked.predict_proba(X)


def test_probabilities_of_other_folds_are_scored_by_scikit_learn():
    X, y = make_data(120)
    model = ParallelRidgeClassifierCV(ALPHAS, probability=True)
    proba = cross_val_predict(model, X, y, cv=3, method="predict_proba")
    assert_allclose(proba.sum(axis=1), 1.0)
    prior = np.full((120, 3), np.unique(y, return_counts=True)[1] / 120)
    assert log_loss(y, proba) < 0.8 * log_loss(y, prior)
    for scoring in ("roc_auc_ovr", "neg_log_loss"):
        assert np.isfinite(cross_val_score(model, X, y, cv=3, scoring=scoring)).all()


# ------------------------------------------------------------------------------------------------
# In scikit-learn's company
# ------------------------------------------------------------------------------------------------


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


# ------------------------------------------------------------------------------------------------
# What it costs
# ------------------------------------------------------------------------------------------------


class Counting(OpenMPBackend):
    """A backend that counts the rows it folds to statistics, and to anything else."""

    def fold(self, reduction, source):
        rows = self.__dict__.setdefault("rows", {True: 0, False: 0})
        kind = getattr(reduction, "reductions", [reduction])[0]
        rows[isinstance(kind, StatisticsReduction)] += source.n_rows
        return super().fold(reduction, source)


@pytest.mark.parametrize(
    ("cv", "times", "scored"),
    [
        (None, 1, 1),
        (5, 1, 1),
        (KFold(3, shuffle=True), 1, 1),
        (TimeSeriesSplit(3), 1, 0.75),
        (RepeatedKFold(n_splits=3, n_repeats=2), 1, 2),
    ],
)
def test_products_of_each_row_are_formed_once_and_rows_scored_once_a_test(cv, times, scored):
    X, y = make_data(80, 4)
    for alphas in (ALPHAS, np.logspace(-3, 3, 20)):
        backend = Counting(1)
        ParallelRidgeClassifierCV(alphas, cv=cv, backend=backend).fit(X, y)
        assert backend.rows == {True: 80 * times, False: 80 * scored}


def test_errors_of_folds_cost_no_pass_for_scores():
    X, y = make_data(80, 4)
    backend = Counting(1)
    ParallelRidgeClassifierCV(ALPHAS, cv=4, scoring="r2", backend=backend).fit(X, y)
    assert backend.rows == {True: 80, False: 0}


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr"])
@pytest.mark.parametrize("cv", [None, StratifiedKFold(5, shuffle=True)], ids=str)
def test_no_search_makes_a_float_copy_of_the_rows(cv, scoring):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (30_000, 200), dtype=np.uint8)
    y = np.arange(30_000) % 3
    X[y == 1, :20] //= 2
    model = ParallelRidgeClassifierCV(np.logspace(2, 7, 6), cv=cv, scoring=scoring)
    model.set_params(probability=scoring == "roc_auc_ovr", n_jobs=2)
    tracemalloc.start()
    try:
        model.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As float64 the rows take 48 MB. Areas under curves need the values of all rows.
    assert peak < 8 * X.size / (2 if scoring == "roc_auc_ovr" else 3)


def test_few_rows_never_make_a_matrix_of_features_by_features():
    X, y = make_data(30, 4000, dtype="uint8")
    for cv, container, standardize in product((None, 3), CONTAINERS.values(), (False, True)):
        tracemalloc.start()
        try:
            ParallelRidgeClassifierCV(ALPHAS, cv=cv, standardize=standardize).fit(container(X), y)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20e6  # such a matrix has 128e6 bytes


@pytest.mark.parametrize(
    ("dtype", "weighted"),
    [("float64", False), ("float64", True), ("float32", True), ("uint8", False)],
)
@pytest.mark.parametrize("cv", [None, 3, ShuffleSplit(2, random_state=0)], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(cv, dtype, weighted):
    X, y = make_data(2100, 50, dtype=dtype)  # several blocks of rows
    weights = weights_of(2100) if weighted else None
    for scoring in ("neg_mean_squared_error", "neg_log_loss"):
        one, two = (
            ParallelRidgeClassifierCV(
                np.logspace(-1, 4, 10), cv=cv, scoring=scoring, probability=True, n_jobs=n_jobs
            ).fit(X, y, weights)
            for n_jobs in (1, 2)
        )
        for name, column in one.cv_results_.items():
            if name.endswith("score"):
                assert_array_equal(two.cv_results_[name], column, err_msg=name)
        assert two.probability_scale_ == one.probability_scale_
        assert_array_equal(two.coef_, one.coef_)


@pytest.mark.parametrize("cv", [None, 3])
def test_threads_of_larger_factorisations_change_rounding_at_most(cv):
    X, y = make_data(900, 300)
    one, two = (
        ParallelRidgeClassifierCV(np.logspace(-1, 4, 10), cv=cv, n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 2)
    )
    scores = [model.cv_results_["mean_test_score"] for model in (one, two)]
    assert_allclose(*scores, 1e-12)
    assert_allclose(two.coef_, one.coef_, 1e-10, 1e-14)


# ------------------------------------------------------------------------------------------------
# Bad input
# ------------------------------------------------------------------------------------------------


def constant(value):
    return lambda estimator, X, y: value


BAD_OPTIONS = [
    ({"alphas": []}, "alphas is empty"),
    ({"alphas": [1.0, NAN]}, "got nan"),
    ({"alphas": [1.0, -2.0]}, "got -2.0"),
    ({"alphas": [1.0, INF], "cv": 3}, "got inf"),
    ({"alphas": -3}, "got -3"),
    ({"alphas": "many"}, "got 'many'"),
    ({"alphas": None}, "got None"),
    ({"alphas": [True]}, "got True"),
    ({"alphas": [[1.0, 2.0]]}, r"got \[1.0, 2.0\]"),
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
    tqdm = pytest.importorskip("tqdm")
    bars = []

    def bar(items, **options):
        bars.append((options["desc"], len(items)))
        return items

    monkeypatch.setattr(tqdm, "tqdm", bar)
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


def test_penalties_too_small_for_a_tridiagonal_form_share_one_factor():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 8)) * 10.0 ** np.arange(8)  # columns that only scaling makes alike
    statistics = SufficientStatistics.from_data(X, rng.integers(0, 3, 300))
    system = solvers.NormalEquations(statistics, solvers.Problem())
    alphas = np.logspace(-1, 5, 30)
    path, solver = system.path(alphas, limit=system.search_limit)
    assert solver == "eigen"
    assert system.tridiagonal().condition(alphas.min()) > system.search_limit(alphas.min())
    for alpha, weights in zip(alphas, path, strict=True):
        reference = system.solve_cholesky(alpha)
        assert_allclose(weights.coef * X.std(axis=0), reference.coef * X.std(axis=0), atol=1e-7)


@pytest.fixture
def looked_again(monkeypatch):
    """Numbers of rows that decision values were formed of in float64."""
    seen = []
    checked = reductions.PathDecisions._checked
    monkeypatch.setattr(
        reductions.PathDecisions,
        "_checked",
        lambda self, block, X: seen.append(X.shape[0]) or checked(self, block, X),
    )
    monkeypatch.setattr(reductions, "MANY_WEIGHTS", 0)
    return seen


def block_of(X):
    return Block(slice(0, len(X)), X, Labels(np.zeros(len(X), np.int32)), None)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
@pytest.mark.parametrize("size", [1e-310, 1e-42, 1e-20, 1.0, 1e20, 1e36, 1e45])
def test_classes_that_float32_finds_are_those_of_float64(size, dtype, looked_again):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 60, (600, 20)).astype(dtype)
    X[:9] = 0
    if dtype != "uint8":
        X[300:] -= 30
    if dtype == "float64":
        X *= rng.choice([1.0, 1.0 / size], (600, 1)) if size > 1e-300 else 1.0
    coefs = np.repeat(rng.normal(size=(1, 3, 20)), 14, axis=0) * size
    coefs[1:] *= 1.0 + 1e-9 * rng.normal(size=coefs[1:].shape)
    coefs[:3, 2] = coefs[:3, 0]  # exact ties
    coefs[3:6, 1] = coefs[3:6, 2] * (1.0 + 2e-8)
    intercepts = rng.choice([0.0, 1e-7, 1.0], (14, 3)) * size
    intercepts[:8] = 0.0
    intercepts[8:10, 2] = -1e9  # of a class that is not there
    block = block_of(X)
    decisions = reductions.PathDecisions(coefs, intercepts)
    expected = decisions(block).argmax(axis=2)
    assert len(np.unique(expected)) == 3
    looked_again.clear()
    with np.errstate(all="raise"):
        found = decisions.classes(block)
    assert_array_equal(found, expected)
    assert sum(looked_again) >= 300  # ties of the best leave it open

    decisions = reductions.PathDecisions(coefs[6:], intercepts[6:])
    expected = decisions(block).argmax(axis=2)
    looked_again.clear()
    assert_array_equal(decisions.classes(block), expected)
    if size == 1.0:
        assert sum(looked_again) < 30


@pytest.mark.parametrize(
    ("rows", "weights", "intercept"),
    [
        (1e-22, 1e-22, 0.0),
        (1e-22, 1e-19, 0.0),
        (1e-43, 1e37, 1e-8),
        (1e-47, 1e37, 1e-12),
        (1e38, 1e-44, 1e-8),
    ],
)
def test_classes_of_products_that_float32_cannot_hold(rows, weights, intercept, looked_again):
    rng = np.random.default_rng(0)
    block = block_of(rng.normal(size=(2000, 10)) * rows)
    coefs = rng.normal(size=(12, 3, 10)) * weights
    decisions = reductions.PathDecisions(coefs, rng.normal(size=(12, 3)) * intercept)
    expected = decisions(block).argmax(axis=2)
    assert_array_equal(decisions.classes(block), expected)


def test_float32_suffices_for_most_rows_of_correlated_columns(looked_again):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 30)) @ rng.normal(size=(30, 200)) + 1e-2 * rng.normal(
        size=(2000, 200)
    )
    y = X[:, :5].argmax(axis=1)
    model = ParallelRidgeClassifierCV(np.logspace(-3, 3, 12), cv=3).fit(X, y)
    assert model.best_score_ > 0.5
    assert sum(looked_again) < 400  # weights of the smallest penalty are long


@pytest.mark.filterwarnings("ignore:.*matmul:RuntimeWarning")
def test_values_that_are_not_finite_are_found_behind_float32(looked_again):
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
