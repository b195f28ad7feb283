"""The classifier gives scikit-learn's answers, over its options in combination."""

import warnings
from itertools import cycle, product

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
    float64,
    make_data,
    oracle,
    state,
    weights_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_array_equal
from sklearn.exceptions import DataConversionWarning

from parallel_ridge import (
    ParallelRidgeClassifier,
)
from parallel_ridge.exceptions import IllConditionedWarning

INTEGERS = ("uint8", "int8", "bool", "int16", "uint16", "int32", "int64")


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
    reference = oracle(X, y, weights, **options)
    with warnings.catch_warnings():
        if np.abs(reference.coef_).max(initial=0.0) < 1e-12:  # all digits of nothing are rounding
            warnings.simplefilter("ignore", IllConditionedWarning)
        model.fit(held, y, weights)
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
