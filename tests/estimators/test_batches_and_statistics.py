"""Batches, statistics and paths of penalties."""

import pickle
import warnings
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import (
    CONTAINERS,
    FLOATS,
    SOLVERS,
    TARGETS,
    assert_close,
    assert_same_model,
    assert_same_state,
    make_data,
    oracle,
    state,
    weights_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from parallel_ridge import (
    ParallelRidgeClassifier,
    solvers,
    sufficient_statistics,
)
from parallel_ridge.exceptions import IllConditioned

FROM_STATISTICS = ("auto", "cholesky", "eigen")


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


def test_weights_of_labels_do_not_depend_on_the_batches():
    X, y = make_data(target="multilabel")
    y[10:30, 1] = 0  # batches without a row of some label
    weight = [{1: 5.0}, {0: 0.5, 1: 2.0}, None]
    model = ParallelRidgeClassifier(class_weight=weight)
    for i in range(0, 60, 10):
        model.partial_fit(X[i : i + 10], y[i : i + 10])
    whole = ParallelRidgeClassifier(class_weight=weight).fit(X, y)
    assert_allclose(model.coef_, whole.coef_, 1e-9)


@pytest.mark.parametrize(
    ("weight", "target", "match"),
    [
        (["balanced"] * 3, "multilabel", "'balanced' is not supported"),
        ([{2: 1.0}, None, None], "multilabel", r"\[2\], which are not among the classes \[0, 1\]"),
        ({"zz": 2.0}, "multiclass", r"\['zz'\], which are not among"),
    ],
)
def test_class_weights_that_batches_cannot_have(weight, target, match):
    X, y = make_data(target=target)
    model = ParallelRidgeClassifier(class_weight=weight)
    with pytest.raises(ValueError, match=match):
        model.partial_fit(X, y, classes=None if target == "multilabel" else ["a", "b", "cc"])
    assert_same_state(model, state(ParallelRidgeClassifier(class_weight=weight)))


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
        model.fit_statistics(sufficient_statistics(X, y))
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
        statistics = sufficient_statistics(X, y, sample_weight=w)
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
    rest = model.statistics_ - sufficient_statistics(X[70:], y[70:])
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
        ({"alpha": -2}, None, ValueError, "alpha == -2, must be >= 0.0"),
        ({}, "one class", ValueError, r"one class only, \['a'\]"),
        ({}, "no rows", ValueError, "no rows with a positive weight"),
    ],
)
def test_fit_statistics_refuses_what_it_cannot_use(options, statistics, error, match):
    X, y = make_data()
    if statistics is None or isinstance(statistics, str):
        rows = {None: y != "", "one class": y == "a", "no rows": y == ""}[statistics]
        classes = None if statistics == "one class" else ["a", "b", "cc"]
        statistics = sufficient_statistics(X[rows], y[rows], classes=classes)
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
    statistics = sufficient_statistics(X * 10.0**power, y)
    system = solvers.NormalEquations(statistics, solvers.Problem())
    with pytest.raises(IllConditioned):
        solvers.solve_penalties(system, [0.0] * 7)


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
    for alphas, match in (
        ([1.0, -3.0], "-3.0"),
        ([np.nan], "nan"),
        (["1"], "not str"),
        ([], "empty"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
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
