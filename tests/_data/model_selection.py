"""Data and comparisons that tests of model_selection share."""

import warnings

import numpy as np
import scipy.optimize
import scipy.sparse as sp
import scipy.special
import sklearn
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import (
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight

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


def hits(estimator, X, y):
    return np.mean(estimator.predict(X) == y)


def largest_value(estimator, X, y):
    return np.quantile(np.abs(estimator.decision_function(X)), 0.7)
