"""Laws of the estimator: scikit-learn's answers, batches that add up, and nothing half done."""

import copy
import doctest
import importlib
import os
import pickle
import pkgutil
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from fractions import Fraction
from itertools import cycle, product
from operator import mul
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info, threadpool_limits

import parallel_ridge
from parallel_ridge import (
    BackendUnavailable,
    IllConditionedWarning,
    OpenMPBackend,
    ParallelRidgeClassifier,
    SufficientStatistics,
    get_backend,
    register_backend,
    solvers,
)
from parallel_ridge.backends import Backend, openmp

SOLVERS = ("auto", "cholesky", "eigen", "svd", "dual", "cg")
FROM_STATISTICS = ("auto", "cholesky", "eigen")
FLOATS = {"float64": 1e-8, "float32": 2e-5, "float16": 1e-4}  # tolerances, relative
INTEGERS = ("uint8", "int8", "bool", "int16", "uint16", "int32", "int64")
CONTAINERS = {"dense": np.asarray, "csr": sp.csr_matrix, "csc": sp.csc_matrix}
TARGETS = ("binary", "multiclass", "multilabel")


# ------------------------------------------------------------------------------------------------
# Data and comparisons
# ------------------------------------------------------------------------------------------------


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
    """Everything that an estimator holds, as a deep copy."""
    return copy.deepcopy(vars(estimator))


def assert_same_state(estimator, before):
    now = vars(estimator)
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


# ------------------------------------------------------------------------------------------------
# scikit-learn's answers
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "container"),
    [
        *product([*FLOATS, *INTEGERS], ["dense"]),
        *product(["float64", "float32", "uint8", "int64", "bool"], ["csr"]),
        *product(["float64", "uint8"], ["csc"]),
    ],
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_answers_are_those_of_scikit_learn(solver, dtype, container, backend):
    tolerance = FLOATS.get(dtype, 1e-8)
    by_class = {"a": 2.0, "b": 0.5, "cc": 1.0, -1: 3.0, 7: 0.25}
    weightings = cycle([(0, None), (1, None), (0, "dict"), (1, "balanced"), (1, "dict")])
    cases = product(TARGETS, (True, False), ((60, 5), (15, 40)))
    for (target, fit_intercept, shape), (weighted, class_weight) in zip(
        cases, weightings, strict=False
    ):
        case = (target, fit_intercept, shape, weighted, class_weight)
        X, y = make_data(*shape, target, dtype)
        if class_weight == "dict":
            # scikit-learn takes dicts for single labels only
            members = np.unique(y).tolist()
            class_weight = {c: by_class[c] for c in members} if target != "multilabel" else None
        options = {"alpha": 1.5, "fit_intercept": fit_intercept, "class_weight": class_weight}
        sample_weight = weights_of(len(X)) if weighted else None
        held = CONTAINERS[container](X)
        model = ParallelRidgeClassifier(solver=solver, backend=backend, **options)
        assert model.fit(held, y, sample_weight) is model
        reference = oracle(X, y, sample_weight, **options)
        assert_same_model(model, reference, held, tolerance, case)
        assert model.coef_.dtype == (np.float32 if dtype in ("float32", "float16") else np.float64)
        small = "dual" if shape == (15, 40) else "cholesky"
        assert model.solver_ == (small if solver == "auto" else solver)
        assert (model.n_iter_ is None) == (solver != "cg")
        assert model.score(held, y) == reference.score(float64(X), y)


@st.composite
def problems(draw):
    """Small awkward data: few rows, repeated rows, constant and equal columns, missing classes."""
    n, d, k = draw(st.integers(2, 14)), draw(st.integers(1, 9)), draw(st.integers(2, 4))
    dtype = draw(st.sampled_from(["float64", *INTEGERS]))
    low = 0 if np.dtype(dtype).kind in "bu" else -3
    cells = st.lists(st.integers(low, 3), min_size=n * d, max_size=n * d)
    X = np.array(draw(cells)).reshape(n, d).astype(dtype)
    if draw(st.booleans()):
        codes = draw(st.lists(st.integers(0, 1), min_size=n * k, max_size=n * k))
        y = np.array(codes).reshape(n, k)
    else:
        k = min(n, k)
        rest = draw(st.lists(st.integers(0, k - 1), min_size=n - k, max_size=n - k))
        y = np.array([*range(k), *rest]) * 3 - 4
    weights = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n).filter(any)
    options = {
        "alpha": draw(st.sampled_from([0.1, 1.0, 1, 100.0])),
        "fit_intercept": draw(st.booleans()),
        "class_weight": draw(st.sampled_from([None, "balanced"])),
    }
    container = draw(st.sampled_from(sorted(CONTAINERS)))
    return X, y, draw(st.none() | weights), options, container, draw(st.sampled_from(SOLVERS))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_answers_to_awkward_data_are_those_of_scikit_learn(backend, problem):
    X, y, weights, options, container, solver = problem
    held = CONTAINERS[container](X)
    model = ParallelRidgeClassifier(solver=solver, backend=backend, **options)
    model.fit(held, y, weights)
    reference = oracle(X, y, weights, **options)
    # Weights count in units of a target a unit of the features: they may all be zero.
    assert_close(model.coef_, reference.coef_, 1e-8, 1.0)
    assert_close(model.intercept_, reference.intercept_, 1e-8, 1.0)
    values = reference.decision_function(float64(X))
    assert_close(model.decision_function(held), values, 1e-8, 1.0)


LABELS = {
    "strings": ["no", "yes", "perhaps"],
    "negative integers": [-5, -1, 3],
    "far integers": [-(10**9), 0, 10**9],
    "booleans": [False, True],
    "objects": np.array(["x", "yy", "zzz"], dtype=object),
    "whole floats": [1.0, 2.0, 5.0],
    "int8": np.array([-128, 0, 127], np.int8),
    "uint8": np.array([0, 1, 255], np.uint8),
    "uint64": np.array([0, 1, 2], np.uint64),
    "large uint64": np.array([2**63, 2**63 + 4096], np.uint64),
    "int64 extremes": np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_any_kind_come_back(labels):
    X, _ = make_data(40, 3)
    y = np.asarray(labels)[np.arange(40) % len(labels)]
    model = ParallelRidgeClassifier().fit(X, y)
    assert model.classes_.tolist() == sorted(labels)
    predicted = model.predict(X)
    assert predicted.dtype == model.classes_.dtype and set(predicted) <= set(y)
    numbers = oracle(X, np.searchsorted(sorted(labels), y))
    assert_close(model.coef_, numbers.coef_)
    assert_array_equal(predicted, model.classes_[numbers.predict(X)])
    assert_array_equal(ParallelRidgeClassifier().fit(X, y.tolist()).coef_, model.coef_)


def test_targets_of_any_container_give_the_same_model():
    pd = pytest.importorskip("pandas")
    X, y = make_data()
    model = ParallelRidgeClassifier().fit(X, y)
    for held in (y.tolist(), pd.Series(y), pd.Series(y, dtype="category"), y.astype(object)):
        assert_array_equal(ParallelRidgeClassifier().fit(X, held).coef_, model.coef_)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert_array_equal(ParallelRidgeClassifier().fit(X, y[:, None]).coef_, model.coef_)
    _, Y = make_data(target="multilabel")
    model = ParallelRidgeClassifier().fit(X, Y)
    for held in (Y.tolist(), Y.astype(bool), sp.csr_matrix(Y), sp.csc_matrix(Y), pd.DataFrame(Y)):
        assert_array_equal(ParallelRidgeClassifier().fit(X, held).coef_, model.coef_)


def test_indicators_of_plus_and_minus_one_are_those_of_one_and_zero():
    X, Y = make_data(target="multilabel")
    model = ParallelRidgeClassifier().fit(X, 2 * Y - 1)
    assert_close(model.coef_, oracle(X, 2 * Y - 1).coef_)
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, Y).coef_)


@pytest.mark.parametrize("values", [[1, 2], [0, 1, 2], [0.0, 0.5], ["a", "b"]], ids=str)
def test_other_indicators_are_refused(values):
    X, _ = make_data()
    Y = np.random.default_rng(0).choice(values, size=(60, 3))
    model = ParallelRidgeClassifier()
    with pytest.raises(ValueError, match=r"(?i)multi-?(label|output)|Unknown label type"):
        model.fit(X, Y)
    assert_same_state(model, state(ParallelRidgeClassifier()))


def layouts(X, tmp_path):
    """The same rows, differently laid out in memory; all of them read-only where they can be."""
    wide = np.zeros((2 * len(X), 2 * X.shape[1]), X.dtype)
    wide[::2, ::2] = X
    yield "Fortran order", np.asfortranarray(X)
    yield "every other row and column", wide[::2, ::2]
    yield "negative strides", X[::-1, ::-1].copy()[::-1, ::-1]
    yield "other byte order", X.astype(X.dtype.newbyteorder(">"))
    yield "nested lists", X.tolist()
    file = np.memmap(tmp_path / X.dtype.name, dtype=X.dtype, mode="w+", shape=X.shape)
    file[:] = X
    yield "memory map", np.memmap(tmp_path / X.dtype.name, dtype=X.dtype, mode="r", shape=X.shape)
    unaligned = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    unaligned[:] = X
    yield "unaligned", unaligned


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int32", "bool"])
def test_layout_in_memory_does_not_matter(dtype, solver, tmp_path):
    X, y = make_data(700, 6, dtype=dtype)
    model = ParallelRidgeClassifier(solver=solver).fit(X, y)
    tolerance = FLOATS.get(dtype, 1e-12)
    for name, held in layouts(X, tmp_path):
        if isinstance(held, np.ndarray):
            held.setflags(write=False)
        other = ParallelRidgeClassifier(solver=solver).fit(held, y)
        assert_close(other.coef_, model.coef_, tolerance, case=name)
        assert_array_equal(other.predict(held), model.predict(X), err_msg=name)


def test_rows_that_overlap_in_memory():
    windows = sliding_window_view(np.random.default_rng(0).normal(size=400), 30)
    y = np.arange(len(windows)) % 3
    assert_close(
        ParallelRidgeClassifier().fit(windows, y).coef_,
        ParallelRidgeClassifier().fit(windows.copy(), y).coef_,
    )


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csr_array, sp.coo_array])
@pytest.mark.parametrize("solver", ["auto", "dual", "svd", "cg"])
def test_sparse_matrices_with_repeats_and_out_of_order_are_left_as_they_are(solver, make):
    X, y = make_data(30, 4)
    rows, columns = np.indices(X.shape)
    rows, columns = np.r_[rows.ravel()[::-1], 3], np.r_[columns.ravel()[::-1], 2]
    data = np.r_[X.ravel()[::-1], 5.0]
    order = np.argsort(rows, kind="stable")
    indptr = np.searchsorted(rows[order], np.arange(31))
    held = sp.csr_matrix((data[order], columns[order], indptr), shape=X.shape)
    if make is not sp.csr_matrix:
        held = make(held)
    before = held.data.copy()
    model = ParallelRidgeClassifier(solver=solver).fit(held, y)
    assert_array_equal(held.data, before)
    X[3, 2] += 5.0
    assert_same_model(model, oracle(X, y), held)


# ------------------------------------------------------------------------------------------------
# Degenerate and ill-conditioned data
# ------------------------------------------------------------------------------------------------


def least_norm(X, y, fit_intercept=True, classes=None):
    """Weights of least norm among those of least squares."""
    X = float64(X)
    Y = 2.0 * (np.asarray(y)[:, None] == np.unique(y)) - 1.0
    Y = Y[:, 1:] if Y.shape[1] == 2 else Y
    if fit_intercept:
        X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    coef = np.linalg.lstsq(X, Y, rcond=1e-12)[0].T
    return coef[0] if len(coef) == 1 else coef


@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(60, 5), (20, 50), (12, 12)], ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_no_penalty_gives_the_least_squares_of_least_norm(solver, shape, fit_intercept):
    X, y = make_data(*shape)
    X *= np.geomspace(1, 3, shape[1])
    options = {"alpha": 0, "fit_intercept": fit_intercept, "solver": solver}
    model = ParallelRidgeClassifier(**options).fit(X, y)
    # A square system of random rows squares to a condition number of some 1e4.
    tolerance = 1e-6 if solver == "cg" else 1e-8
    assert_close(model.coef_, least_norm(X, y, fit_intercept), tolerance)
    if shape == (60, 5):
        assert_same_model(model, oracle(X, y, alpha=0, fit_intercept=fit_intercept), X)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize("solver", ["auto", "cholesky", "dual"])
def test_equal_columns_without_penalty_warn_and_go_to_svd(solver, dtype):
    X, y = make_data(dtype=dtype)
    X = np.column_stack([X, X[:, :2]])
    with pytest.warns(IllConditionedWarning, match="'svd'"):
        model = ParallelRidgeClassifier(alpha=0, solver=solver).fit(X, y)
    assert model.solver_ == "svd"
    assert_close(model.coef_, least_norm(X, y))


@pytest.mark.parametrize("solver", SOLVERS)
def test_equal_columns_share_their_weight(solver):
    X, y = make_data(dtype="int16")
    X = np.column_stack([X, X[:, :2]])
    model = ParallelRidgeClassifier(solver=solver).fit(X, y)
    assert_same_model(model, oracle(X, y), X)
    assert_close(model.coef_[:, -2:], model.coef_[:, :2])


@pytest.mark.parametrize("way", [*SOLVERS, "fit_statistics", "coef_path of 12"])
def test_nearly_equal_columns_keep_eight_digits_or_warn(way):
    X, y = make_data(200, 6)
    X = np.column_stack([X, X[:, 0] + 1e-6 * np.random.default_rng(5).normal(size=200)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ParallelRidgeClassifier(alpha=0, solver=way if way in SOLVERS else "auto")
        if way in SOLVERS:
            coef = model.fit(X, y).coef_
        elif way == "fit_statistics":
            coef = model.fit_statistics(SufficientStatistics.from_data(X, y)).coef_
        else:
            model.set_params(alpha=1.0, store_statistics=True).fit(X, y)
            coef = model.coef_path(np.zeros(12))[0][0]
    if not any(warning.category is IllConditionedWarning for warning in caught):
        assert_close(coef, least_norm(X, y))


@pytest.mark.parametrize("spectrum", ["one small", "geometric", "one large"])
@pytest.mark.parametrize("shape", [(400, 30), (20, 50)], ids=str)
def test_any_condition_number_keeps_eight_digits_or_warns(spectrum, shape):
    rng = np.random.default_rng(0)
    r = min(shape)
    for condition in np.logspace(5, 15, 51):
        smallest = condition**-0.5
        sizes = {
            "one small": np.r_[np.ones(r - 1), smallest],
            "geometric": np.geomspace(1.0, smallest, r),
            "one large": np.r_[1.0, np.full(r - 1, smallest)],
        }[spectrum]
        left, right = (np.linalg.qr(rng.standard_normal((m, r)))[0] for m in shape)
        X, y = 10 * (left * sizes) @ right.T, rng.integers(0, 3, shape[0])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = ParallelRidgeClassifier(0.0, fit_intercept=False).fit(X, y)
        warned = any(warning.category is IllConditionedWarning for warning in caught)
        assert warned == (model.solver_ == "svd")
        exact = np.linalg.lstsq(X, np.where(y[:, None] == np.arange(3), 1.0, -1.0), rcond=None)[0].T
        if not warned:
            assert np.linalg.norm(model.coef_ - exact) <= 1e-8 * np.linalg.norm(exact)


def ill_conditioned(dtype, nearly):
    """Rows whose third column is nearly a multiple of the first."""
    X, y = make_data(400, 6, dtype="float64" if np.dtype(dtype).kind == "f" else dtype)
    rng = np.random.default_rng(5)
    if np.dtype(dtype).kind == "f":
        X[:, 2] = X[:, 0] + nearly * rng.normal(size=len(X))
    else:
        X[:, 2] = np.rint(1.0 / nearly) * X[:, 0] + rng.integers(0, 2, len(X))
    return X.astype(dtype), y


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("container", ["dense", "csr"])
@pytest.mark.parametrize(
    ("dtype", "nearly"),
    [("float64", 1e-4), ("float64", 1e-5), ("float32", 1e-4), ("int32", 1e-3), ("int64", 1e-4)],
)
def test_ill_conditioned_systems_are_refined(dtype, nearly, container, weighted, fit_intercept):
    X, y = ill_conditioned(dtype, nearly)
    weights = weights_of(len(y)) if weighted else None
    for standardize, alpha in product([False, True], [0.0, 1e-6]):
        options = {"standardize": standardize, "fit_intercept": fit_intercept, "alpha": alpha}
        model = ParallelRidgeClassifier(**options)
        model.fit(CONTAINERS[container](X), y, weights)  # a warning would be an error
        assert model.solver_ == "cholesky"
        best = ParallelRidgeClassifier(solver="svd", **options).fit(float64(X), y, weights)
        assert_close(model.coef_, best.coef_, 1e-6 if dtype == "float32" else 2e-8, case=options)


def test_float32_sums_that_lose_too_much_are_formed_again(monkeypatch):
    X, y = ill_conditioned("float32", 1e-4)
    work_dtypes = []
    fold = OpenMPBackend.fold

    def folding(self, reduction, source):
        work_dtypes.append(str(getattr(reduction, "work_dtype", "rows")))
        return fold(self, reduction, source)

    monkeypatch.setattr(OpenMPBackend, "fold", folding)
    model = ParallelRidgeClassifier(alpha=1e-6, store_statistics=True).fit(X, y)
    assert work_dtypes[0] == "float32"
    assert "float64" in work_dtypes
    best = ParallelRidgeClassifier(alpha=1e-6, solver="svd").fit(X.astype("float64"), y)
    assert_close(model.coef_, best.coef_, 1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_exact_statistics_are_solved_to_eight_digits_without_rows(fit_intercept):
    X, y = ill_conditioned("int64", 1e-4)
    best = ParallelRidgeClassifier(0.0, fit_intercept=fit_intercept, solver="svd").fit(X, y)
    model = ParallelRidgeClassifier(0.0, fit_intercept=fit_intercept, store_statistics=True)
    model.fit_statistics(SufficientStatistics.from_data(X, y))
    assert_close(model.coef_, best.coef_)
    coefs, intercepts = model.coef_path([0.0, 1.0])
    assert_close(coefs[0], best.coef_)
    if fit_intercept:
        assert_close(intercepts[0], best.intercept_, of=1.0)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("size", [2, 200, 30_000])
def test_residuals_of_exact_statistics_hold_every_digit(size, fit_intercept):
    rng = np.random.default_rng(size)
    X, y = rng.integers(-size, size + 1, (50, 7)), rng.integers(0, 3, 50)
    statistics = SufficientStatistics.from_data(X, y)
    problem = solvers.Problem(fit_intercept=fit_intercept)
    factor = solvers.NormalEquations(statistics, problem).factorise(0.1, False, 1e13)
    coef = rng.standard_normal((3, 7)) * 10.0 ** rng.integers(-6, 6, (3, 7))
    residual = solvers.exact_residual(statistics, factor)(coef)
    rows = [[Fraction(int(x)) for x in row] for row in X]
    means = [sum(column) / 50 if fit_intercept else 0 for column in zip(*rows, strict=True)]
    rows = [[x - mean for x, mean in zip(row, means, strict=True)] for row in rows]
    for j, weights in enumerate(coef):
        w = [Fraction(float(x)) for x in weights]
        target = [2 * int(label == j) - 1 for label in y]
        errors = [t - sum(map(mul, row, w)) for t, row in zip(target, rows, strict=True)]
        for i, column in enumerate(zip(*rows, strict=True)):
            exact = sum(map(mul, column, errors)) - Fraction(factor.penalty[i]) * w[i]
            terms = sum(abs(x * t) for x, t in zip(column, errors, strict=True))
            assert (
                abs(Fraction(float(residual[j, i])) - exact) <= abs(exact) / 2**52 + terms / 2**58
            )


@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
def test_float32_loses_few_digits_or_warns():
    """Whatever the condition: rows that are at hand are used, and statistics alone warn."""
    for n, nearly in product([400, 5000], np.logspace(-4, -1, 7)):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, 6))
        X[:, 2] = X[:, 0] + nearly * rng.normal(size=n)
        y = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
        X = X.astype("float32")
        best = ParallelRidgeClassifier(1e-6, solver="svd").fit(X.astype(float), y).coef_
        for solver in ("auto", "eigen"):
            fitted = ParallelRidgeClassifier(1e-6, solver=solver).fit(X, y)
            assert_close(fitted.coef_, best, 2e-2, case=(n, nearly))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = ParallelRidgeClassifier(1e-6).partial_fit(X, y)
        if not caught:
            assert_close(model.coef_, best, 2e-2, case=(n, nearly))


@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
@pytest.mark.parametrize("solver", ["auto", "svd", "cholesky"])
def test_columns_of_very_different_sizes(solver):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 50, (14, 12)).astype(float)
    X[:, 2] = 3333333 * X[:, 0] + rng.integers(0, 2, 14)
    y = np.arange(14) % 3
    model = ParallelRidgeClassifier(1e-7, solver=solver).fit(X, y)
    assert_close(model.coef_, oracle(X, y, alpha=1e-7).coef_, 1e-6)


def test_errors_stay_below_eight_digits_up_to_where_refinement_begins():
    rng = np.random.default_rng(3)
    for nearly in np.logspace(-7, -3, 9):
        X = rng.normal(size=(400, 12)) + 3
        X[:, 2] = X[:, 0] + nearly * rng.normal(size=400)
        X[:, 1] = 7
        y = rng.integers(0, 3, 400)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = ParallelRidgeClassifier(4e-5, fit_intercept=False).fit(X, y)
        if not caught:
            reference = oracle(X, y, alpha=4e-5, fit_intercept=False)
            assert_close(model.coef_, reference.coef_, 2e-8, case=nearly)


def test_a_label_that_every_row_has_does_not_keep_others_from_refinement():
    X, _ = ill_conditioned("float64", 1e-4)
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, (len(X), 3))
    Y[:, 1] = 1
    model = ParallelRidgeClassifier(1e-6).fit(X, Y, rng.random(len(X)) + 0.1)
    assert model.solver_ == "cholesky"
    assert_close(model.coef_[1], np.zeros(X.shape[1]), 1e-6, 1.0)


def test_sparse_rows_far_from_zero_keep_their_digits():
    X, y = make_data(500, 3)
    X += 1e5
    dense = ParallelRidgeClassifier().fit(X, y)
    assert_close(ParallelRidgeClassifier().fit(sp.csr_matrix(X), y).coef_, dense.coef_)


@pytest.mark.parametrize("call", ["no rows", "no rows but labels", "unfitted"])
def test_no_rows_have_no_score(call):
    X, y = make_data()
    model = ParallelRidgeClassifier() if call == "unfitted" else ParallelRidgeClassifier().fit(X, y)
    with pytest.raises(ValueError, match="not fitted" if call == "unfitted" else r"0 sample\(s\)"):
        model.score(X[:0], y[:0] if call != "no rows but labels" else y)


def test_a_system_that_refinement_cannot_mend_goes_to_svd():
    X, y = ill_conditioned("float64", 1e-7)  # a condition number of some 1e14
    with pytest.warns(IllConditionedWarning, match="'svd'"):
        model = ParallelRidgeClassifier(alpha=0).fit(X, y)
    assert model.solver_ == "svd"


@pytest.mark.parametrize("alpha", [1e-3, 1.5, 100.0])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("shape", [(15, 40), (50, 3000), (1500, 40)], ids=str)
def test_conjugate_gradients_keep_eight_digits_or_warn(shape, dtype, alpha):
    X, y = make_data(*shape, dtype=dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ParallelRidgeClassifier(alpha, solver="cg").fit(X, y)
    if not {w.category for w in caught} & {ConvergenceWarning, IllConditionedWarning}:
        assert_close(model.coef_, oracle(X, y, alpha=alpha).coef_)


@pytest.mark.parametrize("call", ["fit", "partial_fit", "fit_statistics", "coef_path", "fit by cg"])
def test_warnings_name_the_line_of_the_caller(call):
    X, y = make_data()
    X = np.column_stack([X, X[:, 0]])
    model = ParallelRidgeClassifier(store_statistics=True).fit(X, y).set_params(alpha=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if call == "coef_path":
            model.coef_path([0.0])
        elif call == "fit_statistics":
            model.fit_statistics(model.statistics_)
        elif call == "fit by cg":
            hilbert = 1.0 / (1 + np.add.outer(np.arange(60), np.arange(30)))
            model.set_params(solver="cg", store_statistics=False).fit(hilbert, y)
        else:
            getattr(model, call)(X, y)
    category = ConvergenceWarning if call == "fit by cg" else IllConditionedWarning
    assert [(w.category, w.filename) for w in caught] == [(category, __file__)]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n", [60, 1500])
@pytest.mark.parametrize("container", CONTAINERS)
def test_constant_columns_have_no_weight(container, n, solver):
    X, y = make_data(n)
    X[:, 1], X[:, 3] = 0.1, 0.0  # a tenth: its sums round
    for standardize, alpha in ((False, 1.0), (True, 1.0), (False, 0.0), (True, 0.0)):
        case = {"standardize": standardize, "alpha": alpha}
        model = ParallelRidgeClassifier(solver=solver, **case)
        singular = solver == "dual" and not alpha
        with pytest.warns(IllConditionedWarning) if singular else nullcontext():
            model.fit(CONTAINERS[container](X), y)
        assert_close(model.coef_[:, [1, 3]], np.zeros((3, 2)), 1e-12, 1.0, case)
        without = ParallelRidgeClassifier(solver="svd", **case).fit(X[:, [0, 2, 4]], y)
        assert_close(model.coef_[:, [0, 2, 4]], without.coef_, case=case)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [1, 2, 6])
@pytest.mark.parametrize("k", [2, 3])
def test_one_sample_of_each_class_is_enough(k, d, solver):
    X, y = make_data(k, d, "binary" if k == 2 else "multiclass")
    for fit_intercept in (True, False):
        model = ParallelRidgeClassifier(fit_intercept=fit_intercept, solver=solver).fit(X, y)
        assert_same_model(model, oracle(X, y, fit_intercept=fit_intercept), X)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("way", [*SOLVERS, "partial_fit"])
def test_float32_rows_far_from_zero_keep_their_accuracy(way, standardize):
    X, y = make_data(1000, 20)
    X = (X + 1000).astype(np.float32)
    model = ParallelRidgeClassifier(standardize=standardize)
    exact = ParallelRidgeClassifier(standardize=standardize, solver="svd").fit(float64(X), y)
    if way == "partial_fit":
        for rows in np.array_split(np.arange(len(X)), 4):
            model.partial_fit(X[rows], y[rows], classes=np.unique(y))
    else:
        model.set_params(solver=way).fit(X, y)
    assert model.coef_.dtype == np.float32
    assert_close(model.coef_, exact.coef_, 2e-5)
    assert np.mean(model.predict(X) == exact.predict(float64(X))) > 0.999


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("solver", ["auto", "dual", "svd", "cg"])
def test_wide_rows_never_make_a_matrix_of_features_by_features(solver, make):
    X, y = make_data(50, 12_000, dtype="uint8")
    held = make(X)
    tracemalloc.start()
    try:
        model = ParallelRidgeClassifier(solver=solver).fit(held, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # such a matrix has 1.2e9 bytes
    assert_same_model(model, oracle(X, y), held)


# ------------------------------------------------------------------------------------------------
# Options of our own
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("container", ["dense", "csr"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_standardize_is_a_standard_scaler_before(solver, container, fit_intercept, weighted):
    for dtype, shape in product(("float64", "uint8", "float32"), ((60, 5), (15, 40))):
        X, y = make_data(*shape, dtype=dtype)
        X = X * np.arange(1, shape[1] + 1, dtype=X.dtype) if dtype != "uint8" else X
        X[:, 2] = 3  # constant
        w = weights_of(len(X)) if weighted else None
        scaler = StandardScaler(with_mean=fit_intercept).fit(float64(X), sample_weight=w)
        options = {"alpha": 2.0, "fit_intercept": fit_intercept}
        ridge = oracle(scaler.transform(float64(X)), y, w, **options)
        coef = ridge.coef_ / scaler.scale_
        model = ParallelRidgeClassifier(standardize=True, solver=solver, **options)
        model.fit(CONTAINERS[container](X), y, w)
        tolerance, case = FLOATS.get(dtype, 1e-8), (dtype, shape)
        assert_close(model.coef_, coef, tolerance, case=case)
        if fit_intercept:
            assert_close(model.intercept_, ridge.intercept_ - coef @ scaler.mean_, tolerance, 1.0)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("standardize", [False, True])
def test_the_mean_objective_multiplies_alpha_by_the_sum_of_weights(
    solver, class_weight, standardize
):
    X, y = make_data()
    w = weights_of(60)
    by_class = sklearn.utils.compute_sample_weight(class_weight, y)
    options = {"solver": solver, "class_weight": class_weight, "standardize": standardize}
    mean = ParallelRidgeClassifier(0.05, objective="mean", **options).fit(X, y, w)
    total = ParallelRidgeClassifier(0.05 * (w * by_class).sum(), **options).fit(X, y, w)
    assert_close(mean.coef_, total.coef_)
    assert_close(mean.intercept_, total.intercept_, of=1.0)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_weight_of_two_is_the_row_twice_and_of_zero_its_absence(solver, dtype):
    X, y = make_data(dtype=dtype)
    w = np.random.default_rng(2).integers(0, 4, 60)
    w[:3] = 1
    weighted = ParallelRidgeClassifier(solver=solver).fit(X, y, w)
    repeated = ParallelRidgeClassifier(solver=solver).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    assert_close(weighted.coef_, repeated.coef_)
    assert_close(weighted.intercept_, repeated.intercept_, of=1.0)


def test_a_number_as_sample_weight_is_the_weight_of_every_row():
    X, y = make_data()
    model = ParallelRidgeClassifier().fit(X, y, 3)
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y, np.full(60, 3.0)).coef_, 1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("d", [7, 200])
def test_the_number_of_threads_changes_no_bit_of_the_statistics(dtype, d):
    X, y = make_data(5000, d, dtype=dtype)
    one, two, five = (
        ParallelRidgeClassifier(n_jobs=n, store_statistics=True).fit(X, y) for n in (1, 2, 5)
    )
    assert one.statistics_ == two.statistics_ == five.statistics_
    assert_close(five.coef_, one.coef_, 1e-6 if dtype == "float32" else 1e-12)


# ------------------------------------------------------------------------------------------------
# Batches, statistics and paths
# ------------------------------------------------------------------------------------------------


def parts(n):
    """Edges that cut n rows into batches, none of them empty."""
    return st.sets(st.integers(1, n - 1), max_size=5).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    cuts=parts(60),
    dtype=st.sampled_from(["float64", "uint8", "int32", "bool"]),
    container=st.sampled_from(sorted(CONTAINERS)),
    target=st.sampled_from(TARGETS),
    weighted=st.booleans(),
    fit_intercept=st.booleans(),
    standardize=st.booleans(),
)
def test_any_batches_give_the_fit_to_all_rows(
    backend, cuts, dtype, container, target, weighted, fit_intercept, standardize
):
    X, y = make_data(60, 5, target, dtype)
    w = weights_of(60) + 0.25 if weighted else np.ones(60)
    options = {"fit_intercept": fit_intercept, "standardize": standardize, "backend": backend}
    whole = ParallelRidgeClassifier(store_statistics=True, **options)
    whole.fit(CONTAINERS[container](X), y, w)
    model = ParallelRidgeClassifier(**options)
    for rows in np.split(np.arange(60), cuts):
        held = CONTAINERS[container](X[rows])
        assert model.partial_fit(held, y[rows], whole.classes_, w[rows]) is model
    assert_array_equal(model.classes_, whole.classes_)
    if dtype != "float64" and container == "dense" and not weighted:
        assert model.statistics_ == whole.statistics_
        assert_array_equal(model.coef_, whole.coef_)
    assert_close(model.coef_, whole.coef_, 1e-9)
    assert_close(model.intercept_, whole.intercept_, 1e-9, 1.0)
    assert model.statistics_.n_samples == 60


def test_batches_may_differ_in_dtype_and_container():
    X, y = make_data(90, dtype="uint8")
    batches = [X[:20], X[20:40].astype(np.float64), sp.csr_matrix(X[40:60]), X[60:].astype("i8")]
    for order in ((0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 1, 0)):
        edges = [(0, 20), (20, 40), (40, 60), (60, 90)]
        model = ParallelRidgeClassifier()
        for i in order:
            model.partial_fit(batches[i], y[slice(*edges[i])], classes=np.unique(y))
        assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_classes_that_turn_up_later_become_classes(dtype):
    X, y = make_data(dtype=dtype)
    order = np.argsort(y == "b", kind="stable")  # "b" in the last batch only
    X, y = X[order], y[order]
    first = int((y != "b").sum())
    model = ParallelRidgeClassifier().partial_fit(X[:first], y[:first])
    assert model.coef_.shape == (5,) and model.classes_.tolist() == ["a", "cc"]
    model.partial_fit(X[first:], y[first:])
    whole = ParallelRidgeClassifier().fit(X, y)
    assert_array_equal(model.classes_, whole.classes_)
    assert_close(model.coef_, whole.coef_, 1e-9)


def test_declared_classes_bind_all_batches():
    X, y = make_data()
    model = ParallelRidgeClassifier()
    model.partial_fit(X[y == "a"], y[y == "a"], classes=["cc", "b", "a"])
    assert model.coef_.shape == (3, 5)
    before = state(model)
    with pytest.raises(ValueError, match=r"not in classes: \['z'\]"):
        model.partial_fit(X, np.where(y == "b", "z", y))
    with pytest.raises(ValueError, match=r"\['a', 'b'\] differ .* \['a', 'b', 'cc'\]"):
        model.partial_fit(X, y, classes=["a", "b"])
    assert_same_state(model, before)
    model.partial_fit(X[y != "a"], y[y != "a"], classes=["a", "b", "cc"])
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


@pytest.mark.parametrize("class_weight", [{"a": 2.0, "b": 0.5, "cc": 1.0}, {"b": 3.0}], ids=str)
def test_class_weights_do_not_depend_on_the_batches(class_weight):
    X, y = make_data()
    model = ParallelRidgeClassifier(class_weight=class_weight)
    for label in ("a", "b", "cc"):  # no batch holds all classes
        model.partial_fit(X[y == label], y[y == label], classes=["a", "b", "cc"])
    whole = ParallelRidgeClassifier(class_weight=class_weight).fit(X, y)
    assert_close(model.coef_, whole.coef_, 1e-9)


def test_a_batch_without_weight_changes_nothing():
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)
    coef = model.coef_
    model.partial_fit(X[::-1], y, sample_weight=np.zeros(60))
    assert_close(model.coef_, coef, 1e-9)


def test_balanced_classes_are_refused_in_batches():
    X, y = make_data()
    model = ParallelRidgeClassifier(class_weight="balanced")
    with pytest.raises(ValueError, match="'balanced' is not supported in partial_fit"):
        model.partial_fit(X, y)
    assert_same_state(model, state(ParallelRidgeClassifier(class_weight="balanced")))


@pytest.mark.parametrize("solver", ["svd", "dual", "cg"])
def test_solvers_that_need_rows_have_no_partial_fit_and_no_statistics(solver):
    X, y = make_data()
    model = ParallelRidgeClassifier(solver=solver)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(X, y)
    assert f"solver='{solver}' needs rows" in str(error.value.__cause__)
    with pytest.raises(ValueError, match=f"solver='{solver}' needs rows"):
        model.fit_statistics(SufficientStatistics.from_data(X, y))
    with pytest.raises(ValueError, match=f"solver='{solver}' makes no statistics"):
        model.set_params(store_statistics=True).fit(X, y)


def test_partial_fit_after_a_fit_without_statistics_starts_anew_and_says_so():
    X, y = make_data()
    model = ParallelRidgeClassifier().fit(X, y)
    with pytest.warns(UserWarning, match="set store_statistics=True") as caught:
        model.partial_fit(X[:30], y[:30])
    assert caught[0].filename == __file__
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X[:30], y[:30]).coef_, 1e-12)


def test_partial_fit_goes_on_from_a_fit_with_statistics_and_fit_forgets_all():
    X, y = make_data()
    model = ParallelRidgeClassifier(store_statistics=True).fit(X[:30], y[:30])
    model.partial_fit(X[30:], y[30:])
    assert_close(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)
    wider, other = make_data(40, 7, "binary")
    model.partial_fit(X, y, classes=["a", "b", "cc"])
    model.set_params(store_statistics=False).fit(wider, other)
    assert not hasattr(model, "statistics_") and model.n_features_in_ == 7
    with pytest.warns(UserWarning, match="starts anew"):
        model.partial_fit(X, y)  # nor are the declared classes left


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("solver", FROM_STATISTICS)
def test_fit_statistics_is_fit(solver, dtype, target):
    X, y = make_data(dtype=dtype, target=target)
    for w, standardize in product((None, weights_of(60)), (False, True)):
        options = {"solver": solver, "standardize": standardize}
        statistics = SufficientStatistics.from_data(X, y, sample_weight=w)
        before = statistics.copy()
        model = ParallelRidgeClassifier(**options).fit_statistics(statistics)
        assert statistics == before and not hasattr(model, "statistics_")
        whole = ParallelRidgeClassifier(**options).fit(X, y, w)
        assert_same_model(model, whole, X, FLOATS.get(dtype, 1e-12))
        assert model.coef_.dtype == whole.coef_.dtype
        assert model.n_features_in_ == 5 and model.solver_ == whole.solver_


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_forgetting_rows_is_never_having_seen_them(dtype):
    X, y = make_data(100, dtype=dtype)
    y[70:] = np.where(y[70:] == "a", "d", y[70:])  # "d" goes with its rows
    model = ParallelRidgeClassifier(store_statistics=True).fit(X, y)
    rest = model.statistics_ - SufficientStatistics.from_data(X[70:], y[70:])
    model.fit_statistics(rest)
    never = ParallelRidgeClassifier(store_statistics=True).fit(X[:70], y[:70])
    assert_array_equal(model.classes_, never.classes_)
    assert_close(model.coef_, never.coef_, 1e-9)
    if dtype == "uint8":
        assert model.statistics_ == never.statistics_
        assert_array_equal(model.coef_, never.coef_)


@pytest.mark.parametrize(
    ("options", "statistics", "error", "match"),
    [
        ({}, np.eye(3), TypeError, "got ndarray"),
        ({"class_weight": {0: 2.0}}, None, ValueError, r"class_weight=\{0: 2.0\} has no effect"),
        ({"alpha": -2}, None, ValueError, "got -2"),
        ({}, "one class", ValueError, r"one class only, \['a'\]"),
        ({}, "no rows", ValueError, "no rows with a positive weight"),
    ],
)
def test_fit_statistics_refuses_what_it_cannot_use(options, statistics, error, match):
    X, y = make_data()
    if statistics is None or isinstance(statistics, str):
        rows = {None: y != "", "one class": y == "a", "no rows": y == ""}[statistics]
        classes = None if statistics == "one class" else ["a", "b", "cc"]
        statistics = SufficientStatistics.from_data(X[rows], y[rows], classes=classes)
    for model in (ParallelRidgeClassifier(), ParallelRidgeClassifier().fit(X, y)):
        before = state(model.set_params(**options))
        with pytest.raises(error, match=match):
            model.fit_statistics(statistics)
        assert_same_state(model, before)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("m", [1, 3, 12])
@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"fit_intercept": False}], ids=str)
def test_the_path_is_a_fit_for_each_alpha(options, m, target):
    X, y = make_data(target=target)
    alphas = np.geomspace(1e-3, 1e3, m)
    model = ParallelRidgeClassifier(store_statistics=True, **options).fit(X, y)
    before = state(model)
    coefs, intercepts = model.coef_path(alphas)
    assert_same_state(model, before)
    for alpha, coef, intercept in zip(alphas, coefs, intercepts, strict=True):
        single = ParallelRidgeClassifier(alpha=alpha, **options).fit(X, y)
        assert_close(coef, single.coef_)
        assert_close(intercept, np.broadcast_to(single.intercept_, intercept.shape), of=1.0)


@pytest.mark.parametrize("power", [-145, -100, -80, 0, 78, 150])
def test_a_path_in_any_units(power):
    X, y = make_data(60, 5, target="multiclass")
    unit, alphas = 10.0**power, np.geomspace(1e-2, 1e2, 12)
    paths = []
    for factor in (1.0, unit):
        model = ParallelRidgeClassifier(factor**2, store_statistics=True).fit(X * factor, y)
        paths.append(model.coef_path(alphas * factor**2)[0] * factor)
    assert_close(paths[1], paths[0], 1e-10)


@pytest.mark.parametrize("power", [-80, 0, 80])
def test_a_path_without_penalty_tells_of_equal_columns_in_any_units(power):
    X, y = make_data(60, 5)
    X[:, 1] = X[:, 0]
    statistics = SufficientStatistics.from_data(X * 10.0**power, y)
    system = solvers.NormalEquations(statistics, solvers.Problem())
    with pytest.raises(solvers.IllConditioned):
        system.path([0.0] * 7)


@pytest.mark.parametrize("m", [3, 14])
def test_a_path_of_integers_refines_the_penalties_that_need_it(m):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 200, (300, 8)).astype(np.int16)
    X = np.column_stack([X, X[:, 0] + (rng.random(300) < 0.02)])  # a copy, nearly
    y = rng.integers(0, 3, 300)
    model = ParallelRidgeClassifier(store_statistics=True).fit(X, y)
    alphas = np.geomspace(1e-9, 1e4, m)  # the smallest leave the system ill-conditioned
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coefs, _ = model.coef_path(alphas)
    for alpha, coef in zip(alphas, coefs, strict=True):
        reference = ParallelRidgeClassifier(alpha, solver="svd").fit(X.astype("f8"), y)
        assert_close(coef, reference.coef_, 1e-8)


def test_the_path_keeps_float32_and_follows_partial_fit():
    X, y = make_data(dtype="float32")
    model = ParallelRidgeClassifier().partial_fit(X[:30], y[:30]).partial_fit(X[30:], y[30:])
    coefs, intercepts = model.coef_path([1.0, 5])
    assert coefs.dtype == intercepts.dtype == np.float32
    assert_close(coefs[1], oracle(X, y, alpha=5).coef_, 2e-5)


def test_the_path_says_what_it_needs():
    X, y = make_data()
    with pytest.raises(NotFittedError):
        ParallelRidgeClassifier().coef_path([1.0])
    with pytest.raises(AttributeError, match="store_statistics=True before fit"):
        ParallelRidgeClassifier().fit(X, y).coef_path([1.0])
    model = ParallelRidgeClassifier(store_statistics=True).fit(X, y)
    for alphas, match in (([1.0, -3.0], "-3.0"), ([np.nan], "nan"), (["1"], "'1'"), ([], "empty")):
        with pytest.raises(ValueError, match=match):
            model.coef_path(alphas)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fitted_model_holds_its_weights_and_little_else(solver):
    X, y = make_data(600, 300)
    model = ParallelRidgeClassifier(solver=solver).fit(X, y)
    assert not hasattr(model, "statistics_")
    arrays = [value for value in vars(model).values() if isinstance(value, np.ndarray)]
    assert max(array.size for array in arrays) == 3 * 300
    assert all(array.base is None or array.base.size <= 3 * 300 for array in arrays)
    assert len(pickle.dumps(model)) < 20_000  # the Gram matrix has 720,000 bytes


# ------------------------------------------------------------------------------------------------
# In scikit-learn's company
# ------------------------------------------------------------------------------------------------


CHECKS = parametrize_with_checks(
    [
        ParallelRidgeClassifier(),
        ParallelRidgeClassifier(standardize=True, store_statistics=True),
        ParallelRidgeClassifier(backend=OpenMPBackend(n_jobs=1), objective="mean"),
        *(ParallelRidgeClassifier(solver=solver) for solver in SOLVERS[1:]),
    ]
)


# Checks with extreme class weights make the dual of tall data ill-conditioned.
@pytest.mark.filterwarnings("ignore::parallel_ridge.IllConditionedWarning")
# Of scikit-learn 1.6 they are a generator, which pytest no longer takes.
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_sklearn_check(estimator, check):
    check(estimator)


def test_clone_copy_and_pickle_keep_options_and_answers():
    X, y = make_data()
    configured = OpenMPBackend(n_jobs=1)
    model = ParallelRidgeClassifier(2.0, backend=configured, store_statistics=True, solver="eigen")
    assert model.get_params()["backend"] is configured
    bare = clone(model)
    assert bare.get_params() == model.get_params() and bare.backend is not configured
    assert set(vars(bare)) == set(bare.get_params())
    model.fit(X, y)
    assert model.backend is configured
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.backend == configured and twin.statistics_ == model.statistics_
        assert_array_equal(twin.decision_function(X), model.decision_function(X))
        twin.partial_fit(X, y)
        assert model.statistics_.n_samples == 60
    assert clone(model).set_params(alpha=7, solver="cg").alpha == 7


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_finds_what_it_finds_with_scikit_learn(n_jobs):
    X, y = make_data(120)
    grid = {"alpha": [0.1, 10.0, 1000.0], "class_weight": [None, "balanced"]}
    ours = GridSearchCV(ParallelRidgeClassifier(), grid, n_jobs=n_jobs).fit(X, y)
    theirs = GridSearchCV(RidgeClassifier(), grid).fit(X, y)
    scores = "mean_test_score"
    assert_array_equal(ours.cv_results_[scores], theirs.cv_results_[scores])
    assert ours.best_params_ == theirs.best_params_
    assert_close(ours.best_estimator_.coef_, theirs.best_estimator_.coef_)


def test_meta_estimators_give_what_they_give_with_scikit_learn():
    X, y = make_data(120)

    def answers(ridge):
        yield cross_val_predict(ridge, X, y, method="decision_function")
        yield CalibratedClassifierCV(ridge, cv=3).fit(X, y).predict_proba(X)
        logistic = LogisticRegression(tol=1e-10, max_iter=1000)
        yield StackingClassifier([("ridge", ridge)], logistic).fit(X, y).predict_proba(X)
        yield make_pipeline(StandardScaler(), ridge).fit(X, y).decision_function(X)

    for ours, theirs in zip(
        answers(ParallelRidgeClassifier()), answers(RidgeClassifier(solver="svd")), strict=True
    ):
        assert_close(ours, theirs, 1e-6)


def test_sample_weights_are_routed():
    X, y = make_data()
    w = weights_of(60)
    with sklearn.config_context(enable_metadata_routing=True):
        ridge = ParallelRidgeClassifier().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, ridge).fit(X, y, sample_weight=w)
        ridge.set_score_request(sample_weight=True)
        search = GridSearchCV(ridge, {"alpha": [3.0]}).fit(X, y, sample_weight=w)
        partial = clone(ridge).set_partial_fit_request(sample_weight=True, classes=True)
    direct = ParallelRidgeClassifier(standardize=True).fit(X, y, w)
    assert_close(pipeline.decision_function(X), direct.decision_function(X))
    assert_close(search.best_estimator_.coef_, ParallelRidgeClassifier(3.0).fit(X, y, w).coef_)
    assert partial.fit(X, y, w).score(X, y, w) > 0.3


def test_feature_names_are_kept_and_compared():
    pd = pytest.importorskip("pandas")
    X, y = make_data()
    frame = pd.DataFrame(X, columns=list("vwxyz"))
    model = ParallelRidgeClassifier(store_statistics=True).fit(frame, y)
    assert model.feature_names_in_.tolist() == list("vwxyz")
    assert_array_equal(model.predict(frame), ParallelRidgeClassifier().fit(X, y).predict(X))
    by_statistics = ParallelRidgeClassifier().fit_statistics(model.statistics_)
    assert by_statistics.feature_names_in_.tolist() == list("vwxyz")
    before = state(model)
    other = frame.rename(columns={"x": "X"})
    for call in (model.predict, model.decision_function, lambda X: model.partial_fit(X, y)):
        with pytest.raises(ValueError, match=r"(?s)unseen.*- X\n.*missing.*- x"):
            call(other)
        with pytest.raises(ValueError, match="same order"):
            call(frame[list("zyxwv")])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    assert_same_state(model, before)
    model.fit(X, y)
    assert not hasattr(model, "feature_names_in_")
    pipeline = make_pipeline(StandardScaler(), model).set_output(transform="pandas").fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == list("vwxyz")


def test_the_diagram_of_a_fitted_model_is_cheap():
    X, y = make_data(300, 500)
    model = ParallelRidgeClassifier(backend=OpenMPBackend(2), store_statistics=True).fit(X, y)
    assert "ParallelRidgeClassifier" in model._repr_html_()
    assert len(model._repr_html_()) < 100_000
    assert repr(model).count("\n") < 4 and len(repr(model.statistics_)) < 200


@pytest.mark.parametrize("solver", SOLVERS)
def test_verbose_prints_each_step_and_silence_is_the_default(solver, capsys):
    X, y = make_data()
    ParallelRidgeClassifier(solver=solver).fit(X, y)
    assert capsys.readouterr().out == ""
    ParallelRidgeClassifier(solver=solver, verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.startswith("[ParallelRidgeClassifier] ") for line in lines)
    assert any((solver if solver != "auto" else "cholesky") in line for line in lines)


# ------------------------------------------------------------------------------------------------
# Backends by name
# ------------------------------------------------------------------------------------------------


class SerialBackend(Backend):
    """The least that a backend must be."""

    name = "serial"

    def __init__(self, n_jobs=None):
        self.folds = 0

    def fold(self, reduction, source):
        self.folds += 1
        total = reduction.zero(1)
        for block in source.blocks(reduction.block_rows):
            reduction.add(total, block)
        return reduction.finish(total)

    def map(self, function, items):
        return [function(item) for item in items]

    def solve_threads(self):
        return 1


@pytest.fixture
def registry(monkeypatch):
    """Registered names are forgotten after the test."""
    monkeypatch.setattr(parallel_ridge.backends, "_registry", {**parallel_ridge.backends._registry})


@pytest.mark.parametrize("entry", [SerialBackend, f"{__name__}:SerialBackend"])
def test_a_registered_backend_is_used_by_name(registry, entry, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[SerialBackend.__module__])
    register_backend("serial", entry)
    X, y = make_data()
    assert type(get_backend("serial")).__name__ == "SerialBackend"
    for solver in SOLVERS:
        model = ParallelRidgeClassifier(backend="serial", solver=solver).fit(X, y)
        assert_same_model(model, oracle(X, y), X)
    instance = SerialBackend()
    ParallelRidgeClassifier(backend=instance).fit(X, y)
    assert instance.folds == 1


def test_names_and_objects_resolve_to_backends():
    assert get_backend() == get_backend("openmp") == OpenMPBackend()
    assert get_backend("auto", n_jobs=3) == OpenMPBackend(3)
    given = OpenMPBackend(1)
    assert get_backend(given, n_jobs=3) is given


def test_a_backend_that_cannot_be_imported_says_so(registry):
    register_backend("broken", "a_module_that_nobody_has:Backend")
    X, y = make_data()
    model = ParallelRidgeClassifier(backend="broken")
    with pytest.raises(
        BackendUnavailable, match=r"backend='broken'.*a_module_that_nobody_has"
    ) as e:
        model.fit(X, y)
    assert isinstance(e.value, ImportError) and isinstance(e.value.__cause__, ImportError)
    assert_same_state(model, state(ParallelRidgeClassifier(backend="broken")))


# ------------------------------------------------------------------------------------------------
# Bad input: an error with the value in it, and nothing half done
# ------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


def at(X, value, row=3, column=2):
    """X with one value replaced."""
    X = np.array(X, dtype=object if isinstance(value, str) else None)
    X[row, column] = value
    return X


# What is wrong: (rows and labels) -> (rows, labels, weights), and the error.
BAD_ROWS = {
    "NaN": (lambda X, y: (at(X, NAN), y), "NaN: row 3, column 2"),
    "infinity": (lambda X, y: (at(X, INF), y), "infinity: row 3, column 2"),
    "minus infinity": (lambda X, y: (at(X, -INF), y), "infinity: row 3, column 2"),
    "NaN far down": (
        lambda X, y: (at(np.tile(X, (200, 1)), NAN, 9000), np.tile(y, 200)),
        "NaN: row 9000, column 2",
    ),
    "float32 NaN": (lambda X, y: (at(X.astype("f"), NAN), y), "NaN: row 3, column 2"),
    "sparse NaN": (lambda X, y: (sp.csr_matrix(at(X, NAN)), y), "NaN: row 3, column 2"),
    "sparse infinity": (lambda X, y: (sp.csc_matrix(at(X, INF)), y), "infinity: row 3, column 2"),
    "NaN of a row without weight": (
        lambda X, y: (at(X, NAN), y, (np.arange(60) != 3) * 1.0),
        "NaN: row 3, column 2",
    ),
    "fewer labels": (lambda X, y: (X, y[:-1]), r"inconsistent.*\[60, 59\]"),
    "no labels": (lambda X, y: (X, None), "requires y to be passed"),
    "NaN label": (lambda X, y: (X, np.where(y == "a", NAN, 1.0)), "y contains NaN"),
    "continuous labels": (lambda X, y: (X, X[:, 0]), "Unknown label type: continuous"),
    "several outputs": (
        lambda X, y: (X, np.tile(np.arange(60) % 3, (2, 1)).T),
        "(?i)multi-?output",
    ),
    "no rows": (lambda X, y: (X[:0], y[:0]), r"0 sample\(s\) \(shape=\(0, 5\)\)"),
    "no columns": (lambda X, y: (X[:, :0], y), r"0 feature\(s\)|0 features"),
    "junk among objects": (lambda X, y: (at(X, "junk"), y), "'junk'"),
    "strings": (lambda X, y: (np.full(X.shape, "six"), y), "'six' in row 0, column 0"),
    "lists of strings": (lambda X, y: ([["six"] * 5] * 60, y), "bytes/strings|'six'"),
    "no matrix": (lambda X, y: (None, y), "None|NoneType"),
    "one dimension": (lambda X, y: (X[:, 0], y), "Expected 2D array, got 1D"),
    "three dimensions": (lambda X, y: (X[None], y[:1]), r"dim 3, of shape \(1, 60, 5\)"),
    "complex": (lambda X, y: (X * 1j, y), "Complex data not supported"),
    "negative weight": (
        lambda X, y: (X, y, np.where(np.arange(60) == 4, -1.0, 1)),
        "row 4 has -1.0",
    ),
    "NaN weight": (lambda X, y: (X, y, np.where(np.arange(60) == 5, NAN, 1)), "row 5 has nan"),
    "infinite weight": (lambda X, y: (X, y, np.where(np.arange(60) == 6, INF, 1)), "row 6 has inf"),
    "fewer weights": (lambda X, y: (X, y, np.ones(59)), r"\(59,\), expected \(60,\)"),
    "column of weights": (lambda X, y: (X, y, np.ones((60, 1))), r"\(60, 1\)|1D"),
    "weights in words": (lambda X, y: (X, y, ["heavy"] * 60), "'heavy'"),
    "values too large": (lambda X, y: (X * 1e300, y), "too large"),
}

BAD_OPTIONS = [
    ({"alpha": -1.0}, "got -1.0"),
    ({"alpha": NAN}, "got nan"),
    ({"alpha": INF}, "got inf"),
    ({"alpha": "1"}, "got '1'"),
    ({"alpha": None}, "got None"),
    ({"alpha": True}, "got True"),
    ({"alpha": [1.0, 2.0]}, r"got \[1.0, 2.0\]"),
    ({"solver": "lbfgs"}, r"solver='lbfgs'.*'auto', 'cholesky', 'eigen', 'svd', 'dual', 'cg'"),
    ({"objective": "median"}, r"objective='median'.*'sum', 'mean'"),
    ({"backend": "gpu"}, r"backend='gpu'.*'auto', .*'openmp'"),
    ({"fit_intercept": "yes"}, "fit_intercept .* got 'yes'"),
    ({"standardize": 2}, "standardize .* got 2"),
    ({"store_statistics": None}, "store_statistics .* got None"),
    ({"class_weight": "equal"}, "class_weight .* got 'equal'"),
    ({"class_weight": np.ones(3)}, "class_weight .* got array"),
    ({"class_weight": {"a": -2.0, "b": 1, "cc": 1}}, "-2.0"),
    ({"n_jobs": 0}, "n_jobs .* got 0"),
    ({"n_jobs": "two"}, "n_jobs .* got 'two'"),
]


def fresh_and_fitted(method):
    X, y = make_data(seed=7)
    yield ParallelRidgeClassifier()
    yield getattr(ParallelRidgeClassifier(), method)(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("what", BAD_ROWS)
def test_bad_rows_are_refused_and_change_nothing(what, method, backend):
    make, match = BAD_ROWS[what]
    X, y, *weights = make(*make_data())
    for model in fresh_and_fitted(method):
        before = state(model.set_params(backend=backend))
        with pytest.raises((ValueError, TypeError), match=match):
            getattr(model, method)(X, y, **dict(zip(["sample_weight"], weights, strict=False)))
        assert_same_state(model, before)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("container", ["dense", "csr"])
@pytest.mark.parametrize(("value", "name"), [(NAN, "NaN"), (INF, "infinity")])
def test_every_solver_names_the_value_that_is_not_finite(value, name, container, solver):
    for shape in ((60, 5), (15, 40)):
        X, y = make_data(*shape)
        model = ParallelRidgeClassifier(solver=solver)
        with pytest.raises(ValueError, match=f"{name}: row 3, column 2"):
            model.fit(CONTAINERS[container](at(X, value)), y)
        assert_same_state(model, state(ParallelRidgeClassifier(solver=solver)))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("options", "match"), BAD_OPTIONS, ids=lambda value: repr(value)[:40])
def test_bad_options_are_refused_and_change_nothing(options, match, method):
    X, y = make_data()
    for model in fresh_and_fitted(method):
        before = state(model.set_params(**options))
        with pytest.raises((ValueError, TypeError), match=match):
            getattr(model, method)(X, y)
        assert_same_state(model, before)


def test_rows_without_any_weight_are_refused():
    X, y = make_data()
    for method in ("fit", "partial_fit"):  # of which later batches may have some
        model = ParallelRidgeClassifier()
        with pytest.raises(ValueError, match=r"weights are zero|positive weight"):
            getattr(model, method)(X, y, sample_weight=np.zeros(60))
        assert_same_state(model, state(ParallelRidgeClassifier()))


def test_weights_of_classes_that_are_not_there_are_refused():
    X, y = make_data()
    for model in fresh_and_fitted("fit"):  # in partial_fit they may be there later
        before = state(model.set_params(class_weight={"a": 1.0, "d": 1.0}))
        with pytest.raises(ValueError, match="class_weight"):
            model.fit(X, y)
        assert_same_state(model, before)


def test_an_object_that_is_no_backend_is_refused():
    X, y = make_data()
    with pytest.raises(TypeError, match="got 3"):
        ParallelRidgeClassifier(backend=3).fit(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("labels", ["aaa", [7, 7, 7], [False] * 3, [1.0] * 3], ids=str)
def test_one_class_is_refused_and_named(labels, method):
    X = np.eye(3)
    for model in (
        ParallelRidgeClassifier(),
        ParallelRidgeClassifier().fit(X, [0, 1, 0]),
    ):
        before = state(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # partial_fit starts anew
            with pytest.raises(ValueError, match=f"one class only.*{re.escape(repr(labels[0]))}"):
                getattr(model, method)(X, list(labels))
        assert_same_state(model, before)


def test_labels_that_do_not_order_are_refused():
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)
    before = state(model)
    for labels in (np.arange(60) % 3, np.array(["a", 1] * 30, dtype=object)):
        with pytest.raises((ValueError, TypeError), match=r"strings? and|str"):
            model.partial_fit(X, labels)
    with pytest.raises(ValueError, match="multilabel"):
        model.partial_fit(X, make_data(target="multilabel")[1])
    assert_same_state(model, before)


def test_partial_fit_refuses_another_number_of_features():
    X, y = make_data()
    model = ParallelRidgeClassifier().partial_fit(X, y)
    before = state(model)
    with pytest.raises(ValueError, match=r"X has 4 features.*expecting 5"):
        model.partial_fit(X[:, :4], y)
    assert_same_state(model, before)


BAD_PREDICTIONS = {
    name: (make, match)
    for name, (make, match) in BAD_ROWS.items()
    if not {"weight", "weights", "label", "labels", "outputs"} & set(name.split())
} | {"another number of features": (lambda X, y: (X[:, :4], y), "X has 4 features.*expecting 5")}
del BAD_PREDICTIONS["values too large"]


@pytest.mark.parametrize("method", ["predict", "decision_function"])
@pytest.mark.parametrize("what", BAD_PREDICTIONS)
def test_bad_rows_have_no_predictions(what, method, backend):
    make, match = BAD_PREDICTIONS[what]
    X, *_ = make(*make_data())
    for target in TARGETS:
        model = ParallelRidgeClassifier(backend=backend).fit(*make_data(target=target))
        before = state(model)
        with pytest.raises((ValueError, TypeError), match=match):
            getattr(model, method)(X)
        assert_same_state(model, before)


def test_there_are_no_predictions_before_fit():
    X, _ = make_data()
    for call in ("predict", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(ParallelRidgeClassifier(), call)(X)


def test_a_warning_made_an_error_leaves_the_model_as_it_was():
    X, y = make_data()
    model = ParallelRidgeClassifier(alpha=0).fit(X, y)
    before = state(model)
    with pytest.raises(IllConditionedWarning):  # the tests' filter makes it an error
        model.fit(np.column_stack([X, X]), y)
    assert_same_state(model, before)


# ------------------------------------------------------------------------------------------------
# Threads
# ------------------------------------------------------------------------------------------------

CORES = joblib.cpu_count()


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def watched_backend(n_jobs=None):
    """A backend that keeps, for each block, the most threads that the kernel and BLAS could use."""

    class WatchedBackend(OpenMPBackend):  # local, so that it travels to worker processes by value
        def fold(self, reduction, source):
            self.seen, add = [], reduction.add

            def watched(total, block):
                pools = threadpool_info()
                blas = [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
                self.seen.append(max([getattr(total, "n_threads", 1), *blas]))
                add(total, block)

            reduction.add = watched
            return super().fold(reduction, source)

    return WatchedBackend(n_jobs)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fold_uses_the_threads_it_was_given_and_gives_blas_its_own_back(solver):
    X, y = make_data(500, 8)
    before = blas_threads()
    for n_jobs in (1, 2):
        backend = watched_backend(n_jobs)
        model = ParallelRidgeClassifier(backend=backend, solver=solver).fit(X, y)
        assert max(backend.seen) <= n_jobs
        assert blas_threads() == before
        with pytest.raises(ValueError, match="NaN"):
            model.fit(at(X, NAN), y)
        model.predict(X)
        assert blas_threads() == before


def test_fits_at_once_give_the_same_bits_and_give_blas_its_threads_back():
    X, y = make_data(20_000, 60)
    before = blas_threads()
    alone = ParallelRidgeClassifier(n_jobs=1, store_statistics=True).fit(X, y)
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(ParallelRidgeClassifier(n_jobs=n, store_statistics=True).fit, X, y)
            for n in (1, 2, None, 1, 2, None)
        ]
        assert all(job.result().statistics_ == alone.statistics_ for job in jobs)
    assert blas_threads() == before


def test_blas_has_its_threads_back_when_the_last_of_several_fits_ends():
    # threadpoolctl lets one living thread alone set the limit of an OpenBLAS with its own threads:
    # whoever comes first and goes first must not take the way back along.
    before = blas_threads()
    first_is_in, second_is_in, first_is_out, end = (threading.Event() for _ in range(4))

    def first():
        with openmp.blas_threads(1):
            first_is_in.set()
            second_is_in.wait(10)
        first_is_out.set()
        end.wait(10)

    def second():
        first_is_in.wait(10)
        with openmp.blas_threads(1):
            second_is_in.set()
            first_is_out.wait(10)
            assert set(blas_threads()) == {1}

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        try:
            pool.submit(second).result()
            assert blas_threads() == before
        finally:
            end.set()
    assert blas_threads() == before


def test_a_fit_does_not_keep_other_threads_from_limiting_blas():
    X, y = make_data()
    before = blas_threads()
    ParallelRidgeClassifier(n_jobs=1).fit(X, y)

    def limited():
        with threadpool_limits(1, user_api="blas"):
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        assert set(pool.submit(limited).result()) == {1}
        backend = watched_backend(1)
        pool.submit(ParallelRidgeClassifier(backend=backend).fit, X, y).result()
        assert max(backend.seen) == 1
    assert blas_threads() == before


def test_worker_threads_of_joblib_use_one_thread_each():
    threads = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(lambda: OpenMPBackend().n_threads())() for _ in range(6)
    )
    assert threads == [1] * 6


@pytest.mark.parametrize("workers", ["threading", "loky"])
def test_a_grid_search_never_uses_more_threads_than_cores(workers):
    X, y = make_data()

    def most_threads(model, X, y):  # in place of a score, to come back from the worker
        return max(OpenMPBackend().n_threads(), *model.backend.seen)

    model = ParallelRidgeClassifier(backend=watched_backend())
    with joblib.parallel_config(backend=workers):
        search = GridSearchCV(model, {"alpha": [1, 2]}, n_jobs=2, cv=2, scoring=most_threads)
        search.fit(X, y)
    assert search.cv_results_["mean_test_score"].max() * 2 <= max(2, CORES)


def test_limits_of_threadpoolctl_hold():
    X, y = make_data()
    with threadpool_limits(1):
        assert OpenMPBackend().n_threads() == 1
        backend = watched_backend()
        ParallelRidgeClassifier(backend=backend).fit(X, y)
        assert max(backend.seen) == 1 and set(blas_threads()) == {1}


def test_negative_jobs_count_from_all_cores():
    assert OpenMPBackend(-1).n_threads() == CORES
    assert OpenMPBackend(-CORES).n_threads() == OpenMPBackend(-CORES - 5).n_threads() == 1
    assert OpenMPBackend(3).n_threads() == 3


def test_omp_num_threads_is_respected():
    code = "from parallel_ridge import OpenMPBackend; print(OpenMPBackend().n_threads())"
    assert run_python(code, OMP_NUM_THREADS="1").strip() == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_of_a_process_that_has_fitted_can_fit():
    # GNU OpenMP's pool of threads does not survive a fork: a child that waits for it waits forever.
    code = """
        import os, signal, time
        import numpy as np
        from parallel_ridge import ParallelRidgeClassifier
        X, y = np.random.default_rng(0).normal(size=(9000, 100)), np.arange(9000) % 3
        coef = ParallelRidgeClassifier().fit(X, y).coef_
        child = os.fork()
        if not child:
            os._exit(not np.allclose(ParallelRidgeClassifier().fit(X, y).coef_, coef))
        for _ in range(200):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.05)
        else:
            os.kill(child, signal.SIGKILL)
            status = "hangs"
        print(status)
    """
    assert run_python(code).strip() == "0"


# ------------------------------------------------------------------------------------------------
# Interrupts, memory, real data, examples
# ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT as POSIX does")
@pytest.mark.parametrize(
    ("solver", "dtype"), [("auto", "f8"), ("auto", "u1"), ("svd", "f8"), ("cg", "f8")]
)
def test_an_interrupt_stops_a_fit_within_a_second_and_leaves_it_unfitted(solver, dtype):
    code = """
        import signal, sys
        import numpy as np
        from parallel_ridge import ParallelRidgeClassifier
        signal.signal(signal.SIGINT, signal.default_int_handler)
        row = np.random.default_rng(0).integers(0, 99, 1500).astype(sys.argv[2])
        X = np.broadcast_to(row, (4_000_000, 1500))  # minutes of work in little memory
        y = np.arange(len(X), dtype=np.uint32) % 3
        model = ParallelRidgeClassifier(n_jobs=1, solver=sys.argv[1])
        print("fitting", flush=True)
        try:
            model.fit(X, y)
        except KeyboardInterrupt:
            print("stopped", sorted(vars(model)) == sorted(model.get_params()), flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(code), solver, dtype],
        stdout=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(60, child.kill)
    guard.start()
    try:
        assert child.stdout.readline() == "fitting\n"
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        start = time.perf_counter()
        assert child.stdout.readline() == "stopped True\n"
        assert time.perf_counter() - start < 3  # one second on a machine with nothing else to do
    finally:
        guard.cancel()
        child.kill()
        child.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_neither_fit_nor_predict_copies_the_rows():
    code = """
        import numpy as np
        from parallel_ridge import ParallelRidgeClassifier

        def mebibytes(name):
            with open("/proc/self/status") as status:
                (line,) = (line for line in status if line.startswith(name + ":"))
            return int(line.split()[1]) / 1024

        X = np.random.default_rng(0).integers(0, 256, (60_000, 784), dtype=np.uint8)
        y = np.arange(60_000) % 10
        model = ParallelRidgeClassifier()
        before = mebibytes("VmRSS")
        model.fit(X, y)
        print(mebibytes("VmHWM") - before)
        model.predict(X)
        print(mebibytes("VmHWM") - before)
    """
    by_fit, by_predict = map(float, run_python(code).split())
    assert by_fit < 60  # as float64 the rows take 359
    assert by_predict < 60


def test_mnist_is_as_accurate_as_with_scikit_learn(mnist):
    model = ParallelRidgeClassifier(alpha=1).fit(mnist.data, mnist.target)
    assert model.score(mnist.data_test, mnist.target_test) >= 0.8602
    floats = ParallelRidgeClassifier(alpha=1).fit(mnist.data.astype(np.float64), mnist.target)
    assert_close(floats.coef_, model.coef_)
    assert_close(floats.intercept_, model.intercept_)


def test_the_demonstration_runs_on_the_digits_of_scikit_learn(tmp_path):
    pytest.importorskip("matplotlib")
    demo = Path(__file__).parents[1] / "examples" / "demo.py"
    if not demo.exists():
        pytest.skip("the examples are not beside the tests")
    (tmp_path / "run").mkdir()
    (tmp_path / "empty").mkdir()
    printed = run_python(
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')",
        demo,
        cwd=tmp_path / "run",
        PARALLEL_RIDGE_DATA=str(tmp_path / "empty"),
        SCIKIT_LEARN_DATA=str(tmp_path / "empty"),
    )
    assert "Digits of scikit-learn (MNIST was not found" in printed
    assert "ParallelRidgeClassifier" in printed and "Hands: skipped" in printed
    for name in ("class_weights.png", "confusion_matrix.png"):
        picture = tmp_path / "run" / "demo_output" / name
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 5000


MODULES = [m.name for m in pkgutil.walk_packages(parallel_ridge.__path__, "parallel_ridge.")]


@pytest.mark.parametrize("name", ["parallel_ridge", *MODULES])
def test_examples_in_docstrings_are_true(name):
    if name.endswith("plotting"):
        pytest.importorskip("matplotlib").use("Agg")
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_sparse_float32_columns_far_from_zero_are_no_constants():
    rng = np.random.default_rng(0)
    X = (2000 + rng.choice([-1, 1], size=(300, 4))).astype(np.float32)
    y = (X[:, 0] > 2000) * 1
    sparse = ParallelRidgeClassifier().fit(sp.csr_matrix(X), y)
    assert sparse.solver_ == "cholesky"
    assert_close(sparse.coef_, ParallelRidgeClassifier().fit(X.astype("d"), y).coef_, 1e-6)
