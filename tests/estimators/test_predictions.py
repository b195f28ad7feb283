"""Predictions: the first largest decision value, for rows of any kind, in any number of threads."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier

from parallel_ridge import ParallelRidgeClassifier
from parallel_ridge.estimators import _predictions

KINDS = {
    "one": np.array([3, 9]),
    "numbers": np.arange(5),
    "unsigned": np.array([1, 2**63 + 1, 2**64 - 1], np.uint64),
    "bytes": np.array([4, 5, 6, 7], np.uint8),
    "floats": np.array([-1.0, 0.0, 2.0]),
    "text": np.array(["cat", "dog", "owl"]),
    "objects": np.array(["cat", "dog", "a longer word"], dtype=object),
    "days": np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[D]"),
}


def fitted(n=400, d=6, k=3, dtype="f8", classes=None, **options):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 12, (n, d)).astype(dtype)
    codes = rng.integers(0, k, n)
    model = ParallelRidgeClassifier(**options)
    return model.fit(X, codes if classes is None else classes[codes]), X


def by_numpy(model, X):
    values = model.decision_function(X)
    codes = (values > 0).astype(int) if values.ndim == 1 else values.argmax(axis=1)
    return model.classes_[codes]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_labels_of_every_kind(kind):
    classes = KINDS[kind]
    if kind == "days":
        codes = np.arange(400) % 3
        model, X = fitted()
        model.classes_ = classes  # scikit-learn's checks refuse to fit to dates
        assert_array_equal(model.predict(X), classes[model.decision_function(X).argmax(axis=1)])
        assert len(codes) == len(X)
        return
    model, X = fitted(k=len(classes), classes=classes)
    answers = model.predict(X)
    assert answers.dtype == model.classes_.dtype
    assert answers.flags.writeable
    assert_array_equal(answers, by_numpy(model, X))
    assert set(answers.tolist()) <= set(classes.tolist())


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 12),
    k=st.integers(2, 40),
    dtype=st.sampled_from(["f4", "f8", "f2", "u1", "i4", "i8", "?"]),
    seed=st.integers(0, 99),
    n_jobs=st.integers(1, 4),
    form=st.sampled_from(["rows", "columns", "sparse", "every second", "list"]),
)
def test_ties_go_to_the_first(n, d, k, dtype, seed, n_jobs, form):
    rng = np.random.default_rng(seed)
    model = ParallelRidgeClassifier(n_jobs=n_jobs)
    model.fit(rng.normal(size=(2 * k, d)).astype("f4"), np.arange(2 * k) % k)
    rows = 1 if k == 2 else k
    model.coef_ = rng.integers(-1, 2, (rows, d)).astype("f4")[0 if k == 2 else slice(None)]
    model.intercept_ = np.zeros(rows, "f4")
    X = rng.integers(0, 2, (2 * n, 2 * d)).astype(dtype)[:n, :d]
    exact = X.astype("f8") @ np.atleast_2d(model.coef_).T
    wanted = model.classes_[(exact[:, 0] > 0).astype(int) if k == 2 else exact.argmax(axis=1)]
    if form == "columns":
        X = np.asfortranarray(X)
    elif form == "sparse":
        X = sp.csr_matrix(X.astype("f4"))
    elif form == "every second":
        X = np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2]
    elif form == "list":
        X = X.tolist()
    assert_array_equal(model.predict(X), wanted)
    assert_allclose(model.decision_function(X), exact[:, 0] if k == 2 else exact)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("k", [2, 7, 90])
def test_many_rows_in_threads(k, dtype, monkeypatch):
    monkeypatch.setattr(_predictions, "ONE_THREAD", 0)
    monkeypatch.setattr(_predictions, "ONE_CALL", 2**21)  # and in many calls
    model, X = fitted(n=70_000, d=11, k=k, dtype=dtype)
    assert_array_equal(model.predict(X), by_numpy(model, X))
    alone = model.decision_function(X)
    for n_jobs in (1, 3):
        assert_array_equal(model.set_params(n_jobs=n_jobs).decision_function(X), alone)
    other = RidgeClassifier().fit(X, model.predict(X))
    other.coef_, other.intercept_ = np.atleast_2d(model.coef_), model.intercept_
    assert_allclose(alone, other.decision_function(X), atol=1e-4 if dtype == "f4" else 1e-10)


def test_multilabel_targets_are_zeros_and_ones():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(3000, 5)), rng.integers(0, 2, (3000, 4))
    model = ParallelRidgeClassifier().fit(X, Y)
    for rows in (X, X[:3], sp.csr_matrix(X)):
        answers = model.predict(rows)
        assert answers.dtype == np.dtype(int)
        assert_array_equal(answers, (model.decision_function(rows) > 0).astype(int))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["rows", "columns", "sparse", "half"])
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize(("n", "row"), [(3, 1), (300, 299), (9000, 4444)])
def test_the_error_names_row_and_column(n, row, k, form, value):
    model, _ = fitted(k=k, dtype="f4")
    X = np.ones((n, 6), "f2" if form == "half" else "f4")
    X[row, 4] = X[n - 1, 5] = value
    X = {"columns": np.asfortranarray, "sparse": sp.csr_matrix}.get(form, lambda X: X)(X)
    column = 4 if row < n - 1 else "[45]"
    for method in (model.predict, model.decision_function):
        with pytest.raises(ValueError, match=rf"row {row}, column {column}"):
            method(X)


def test_values_that_overflow_are_told_apart():
    model, _ = fitted(dtype="f4")
    X = np.full((10, 6), 3e38, "f4")
    model.coef_ = np.full_like(model.coef_, 9.0)
    with pytest.raises(ValueError, match="overflow"):
        model.predict(X)


def test_predictions_do_not_change_their_rows_or_need_to_write():
    model, X = fitted()
    before = X.copy()
    X.flags.writeable = False
    model.coef_.flags.writeable = False
    model.predict(X)
    assert_array_equal(X, before)
