"""Searches with fewer rows than features, against a fit for each split and each row."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold

from parallel_ridge import OpenMPBackend, ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.exceptions import IllConditionedWarning
from parallel_ridge.folding import WideRows
from parallel_ridge.reductions import ColumnForm
from parallel_ridge.solvers import Problem
from parallel_ridge.sources import Block, Labels, as_source

# The grids here are short on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")
ALPHAS = [3.0, 100.0]
N, D = 24, 60


def wide_data(dtype, far=0.0, k=3):
    rng = np.random.default_rng(3)
    y = rng.integers(0, k, N)
    X = 20.0 * rng.normal(size=(N, D)) + 10.0 * np.outer(y, rng.normal(size=D)) + far
    X[:, 5] = 7.0  # constant
    return (np.clip(X + 100, 0, 255) if dtype == "u1" else X).astype(dtype), y


def targets(model, y):
    if y.ndim == 2:
        return 2.0 * y - 1.0
    coded = 2.0 * (y[:, None] == model.classes_) - 1.0
    return coded[:, 1:] if len(model.classes_) == 2 else coded


def fitted(X, y, weights, options, alpha):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        model = ParallelRidgeClassifier(alpha, solver="svd", **options)
        return model.fit(X.astype(np.float64), y, weights)


OPTIONS = st.fixed_dictionaries(
    {
        "fit_intercept": st.booleans(),
        "standardize": st.booleans(),
        "class_weight": st.sampled_from([None, "balanced", {0: 3.0}]),
        "objective": st.sampled_from(["sum", "mean"]),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["f4", "f8", "u1", "i8"]),
    st.sampled_from(["array", "fortran", "csr"]),
    st.sampled_from(["one", "two", "many"]),
    st.booleans(),
    OPTIONS,
    st.sampled_from([KFold(3), StratifiedKFold(4), ShuffleSplit(3, test_size=0.3, random_state=0)]),
    st.sampled_from([ALPHAS, np.geomspace(1.0, 1e4, 20).tolist()]),
)
def test_splits_are_scored_as_fits_to_their_training_sets(
    backend, dtype, layout, labels, weighted, options, cv, alphas
):
    X, y = wide_data(dtype, k=2 if labels == "two" else 3)
    weights = np.random.default_rng(1).integers(1, 4, N).astype(float) if weighted else None
    options = dict(options)
    if labels == "many":
        y = np.stack([y == 0, y != 1, y == 2], axis=1).astype(int)
        options["class_weight"] = None
        cv = KFold(3) if isinstance(cv, StratifiedKFold) else cv
    rows = {"array": X, "fortran": np.asfortranarray(X), "csr": sp.csr_matrix(X)}[layout]
    model = ParallelRidgeClassifierCV(alphas, cv=cv, scoring="r2", backend=backend, **options)
    model.fit(rows, y, weights)
    assert model.solver_ == "dual"
    for i, (train, test) in enumerate(cv.split(X, y)):
        for j in (0, len(alphas) - 1):
            one = None if weights is None else weights[train]
            fit = fitted(X[train], y[train], one, options, alphas[j])
            values = fit.decision_function(X[test].astype(np.float64)).reshape(len(test), -1)
            expected = r2_score(
                targets(model, y)[test],
                values,
                sample_weight=None if weights is None else weights[test],
            )
            tolerance = 1e-4 if dtype == "f4" else 1e-8
            found = model.cv_results_[f"split{i}_test_score"][j]
            assert_allclose(found, expected, tolerance, tolerance)
    whole = fitted(X, y, weights, options, model.alpha_)
    size = np.abs(whole.coef_).max()
    assert_allclose(model.coef_, whole.coef_, 1e-4, (1e-4 if dtype == "f4" else 1e-8) * size)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["f4", "f8", "u1"]),
    st.booleans(),
    st.sampled_from(["none", "positive", "zeros"]),
    st.booleans(),
    st.sampled_from([2, 3]),
)
def test_left_out_values_are_those_of_fits_without_the_row(
    dtype, sparse, weighted, fit_intercept, k
):
    X, y = wide_data(dtype, k=k)
    weights = None
    if weighted != "none":
        weights = np.random.default_rng(1).integers(1, 4, N).astype(float)
        weights[:4] = 0.0 if weighted == "zeros" else 1.0
    model = ParallelRidgeClassifierCV(
        [10.0], store_cv_results=True, fit_intercept=fit_intercept
    ).fit(sp.csr_matrix(X) if sparse else X, y, weights)
    found = model.loo_decision_.reshape(N, -1)
    for i in range(N):
        others = np.delete(np.arange(N), i)
        one = None if weights is None else weights[others]
        fit = fitted(X[others], y[others], one, {"fit_intercept": fit_intercept}, 10.0)
        expected = fit.decision_function(X[i : i + 1].astype(np.float64)).reshape(-1)
        tolerance = 1e-4 if dtype == "f4" else 1e-8
        assert_allclose(found[i], expected, tolerance, tolerance)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("far", [0.0, 1e3])
def test_leave_one_out_has_scikit_learns_scores(dtype, far):
    X, y = wide_data(dtype, far if dtype != "u1" else 0.0)
    alphas = np.geomspace(1e-3, 1e5, 9)
    ours = ParallelRidgeClassifierCV(alphas).fit(X, y)
    theirs = RidgeClassifierCV(alphas).fit(X.astype(np.float64), y)
    assert ours.alpha_ == theirs.alpha_
    assert_allclose(ours.best_score_, theirs.best_score_, 1e-4 if dtype == "f4" else 1e-8)


@pytest.mark.filterwarnings("ignore::parallel_ridge.exceptions.IllConditionedWarning")
@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_penalties_that_products_cannot_show_are_seen_by_a_qr(cv, dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(N, D)) @ np.diag(np.geomspace(1.0, 1e-6, D))).astype(dtype)
    X[:, :3] *= 1e4
    y = (rng.normal(size=N) > 0).astype(int)
    alphas = np.geomspace(1e-11, 1.0, 5)
    model = ParallelRidgeClassifierCV(alphas, cv=cv, scoring="r2").fit(X, y)
    wide = ParallelRidgeClassifierCV(alphas, cv=cv, scoring="r2").fit(X.astype(np.float64), y)
    tolerance = 1e-2 if dtype == "f4" else 1e-6
    scores = model.cv_results_["mean_test_score"]
    assert_allclose(scores, wide.cv_results_["mean_test_score"], tolerance, tolerance)
    assert model.alpha_ == wide.alpha_


@pytest.mark.parametrize("kind", ["nan", "infinity"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cv", [None, 3])
def test_rows_that_are_not_finite_are_named(kind, sparse, cv):
    X, y = wide_data("f8")
    X[17, 41] = np.nan if kind == "nan" else np.inf
    rows = sp.csr_matrix(X) if sparse else X
    for model in (ParallelRidgeClassifierCV(ALPHAS, cv=cv), ParallelRidgeClassifier()):
        with pytest.raises(ValueError, match=r"(NaN|infinity): row 17, column 41"):
            model.fit(rows, y)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_products_of_rows_have_the_same_bits_for_any_number_of_threads(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 255, (40, 3000)).astype(dtype)
    y = rng.integers(0, 3, 40)
    source, _ = as_source(X, y)
    first, *others = (
        WideRows.of(OpenMPBackend(n), source).fold(OpenMPBackend(n), Problem()) for n in (1, 2, 3)
    )
    assert first.kind == {"f4": "float32", "f8": "float64", "u1": "exact"}[dtype]
    for other in others:
        assert np.array_equal(np.triu(other.K), np.triu(first.K))
    fits = [ParallelRidgeClassifier(n_jobs=n).fit(X, y) for n in (1, 2, 3)]
    for fit in fits[1:]:  # LAPACK may round differently on more threads
        assert np.abs(fit.coef_ - fits[0].coef_).max() <= 1e-12 * np.abs(fit.coef_).max()


def test_many_rows_without_weight_make_no_system_of_rows():
    rng = np.random.default_rng(0)
    n, d = 60_000, 20
    X, y, weights = rng.normal(size=(n, d)), rng.integers(0, 2, n), np.zeros(n)
    weights[::5000] = 1.0
    some = weights > 0.0
    model = ParallelRidgeClassifierCV([1.0], store_cv_results=True).fit(X, y, weights)
    expected = ParallelRidgeClassifierCV([1.0], store_cv_results=True).fit(X[some], y[some])
    assert_allclose(model.loo_decision_[some], expected.loo_decision_, 1e-8)


def test_columns_that_overflow_are_named():
    X = np.ones((12, 5))
    X[3, 2] = 1e200
    form = ColumnForm(np.ones(5), centre=True, standardize=False)
    for columns in (X, sp.csr_matrix(X)):
        block = Block(slice(100, 112), columns, Labels(np.zeros(12, np.int32)), None)
        with pytest.raises(ValueError, match="Column 103 of X"):
            form.form(block, np.dtype(np.float64), 1)
