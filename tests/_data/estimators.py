"""Data and comparisons that tests of estimators share."""

import copy
import os
import subprocess
import sys
import textwrap

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.linear_model import RidgeClassifier

SOLVERS = ("auto", "cholesky", "eigen", "svd", "dual", "cg")


FLOATS = {"float64": 1e-8, "float32": 2e-5, "float16": 1e-4}  # tolerances, relative


CONTAINERS = {"dense": np.asarray, "csr": sp.csr_matrix, "csc": sp.csc_matrix}


TARGETS = ("binary", "multiclass", "multilabel")


def make_data(n=60, d=5, target="multiclass", dtype="float64", seed=0):
    """Random rows that the labels depend on; integers in -100..100, or 0..100 if unsigned."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    scores = X @ rng.normal(size=(d, 3)) + rng.normal(size=(n, 3))
    if target == "multilabel":
        y = (scores > 0).astype(int)
        y[:2] = [[0, 1, 0], [1, 0, 1]]  # each label both ways
    else:
        names = np.array([-1, 7] if target == "binary" else ["a", "b", "cc"])
        y = names[scores[:, : len(names)].argmax(axis=1)]
        y[: len(names)] = names
    kind = np.dtype(dtype).kind
    if kind == "b":
        X = X > 0.5
    elif kind in "iu":
        X = np.rint(np.clip(X * 25, -100, 100))
        X = np.abs(X) if kind == "u" else X
    return X.astype(dtype), y


def weights_of(n, seed=1):
    """Weights of which some are 0 and some 1."""
    return np.random.default_rng(seed).choice([0.0, 0.5, 1.0, 2.5], size=n, p=[0.1, 0.2, 0.5, 0.2])


def float64(X):
    """A dense float64 copy."""
    return np.array(X.toarray() if sp.issparse(X) else X, dtype=np.float64)


def oracle(X, y, sample_weight=None, **options):
    """scikit-learn's most exact answer."""
    return RidgeClassifier(solver="svd", **options).fit(float64(X), y, sample_weight)


def assert_close(actual, expected, tolerance=1e-8, of=0.0, case=""):
    """Largest difference, relative to the largest value (or to `of`, if that is larger)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, case
    scale = max(np.abs(expected).max(initial=0.0), of, 1e-300)
    error = np.abs(actual - expected).max(initial=0.0) / scale
    assert error <= tolerance, f"relative error {error:.2e} > {tolerance:.0e} {case}"


def assert_same_model(model, reference, X, tolerance=1e-8, case=""):
    """Weights and answers equal; decision values and intercepts count in units of the targets."""
    assert_array_equal(model.classes_, reference.classes_)
    assert_close(model.coef_, reference.coef_, tolerance, case=case)
    assert_close(model.intercept_, reference.intercept_, tolerance, 1.0, case)
    values = reference.decision_function(float64(X))
    assert_close(model.decision_function(X), values, tolerance, 1.0, case)
    assert_array_equal(model.predict(X), reference.predict(float64(X)), err_msg=str(case))


def state(estimator):
    """Everything that an estimator holds, as a deep copy; what a stream has yet to solve, solved."""
    return copy.deepcopy(estimator.__getstate__())


def assert_same_state(estimator, before):
    now = estimator.__getstate__()
    assert now.keys() == before.keys()
    for name, value in before.items():
        same = now[name] == value
        if isinstance(value, np.ndarray):
            same = np.array_equal(now[name], value) and now[name].dtype == value.dtype
        same = same or (now[name] is value) or repr(now[name]) == repr(value) == "nan"
        assert same, name


def run_python(code, *arguments, cwd=None, **environment):
    """Standard output of a fresh interpreter; -P keeps the checkout itself out of its path."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


NAN, INF = float("nan"), float("inf")


def at(X, value, row=3, column=2):
    """X with one value replaced."""
    X = np.array(X, dtype=object if isinstance(value, str) else None)
    X[row, column] = value
    return X
