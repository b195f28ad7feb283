"""Fits and predictions on a device are those on arrays."""

from itertools import cycle, product

import numpy as np
import pytest
from _data.estimators import (
    SOLVERS,
    TARGETS,
    assert_close,
    weights_of,
)
from _data.tensors import engine, rows_of, tensor_of, values_of

from parallel_ridge import ParallelRidgeClassifier, SufficientStatistics, TorchBackend

FLOATS = {"float64": 1e-9, "float32": 2e-5, "float16": 2e-5, "bfloat16": 2e-5}


def same_answers(model, reference, X, values, tolerance):
    """Coefficients and predictions agree, and answers are tensors beside X."""
    import torch

    assert_close(model.coef_, reference.coef_, tolerance)
    assert_close(model.intercept_, reference.intercept_, tolerance, 1.0)
    assert model.coef_.dtype == reference.coef_.dtype
    decisions = model.decision_function(X)
    assert isinstance(decisions, torch.Tensor) and decisions.device == X.device
    expected = reference.decision_function(values)
    assert values_of(decisions).dtype == expected.dtype
    assert_close(values_of(decisions), expected, tolerance, 1.0)
    predicted = model.predict(X)
    if reference.classes_.dtype.kind in "OU":
        assert isinstance(predicted, np.ndarray)
    else:
        assert isinstance(predicted, torch.Tensor) and predicted.device == X.device
        predicted = values_of(predicted)
    answers = reference.predict(values)
    assert predicted.dtype == answers.dtype and predicted.shape == answers.shape
    assert (predicted == answers).mean() > 0.99  # ties may go either way


OPTIONS = [
    {},
    {"fit_intercept": False},
    {"standardize": True, "objective": "mean", "alpha": 0.01},
    {"class_weight": "balanced"},
    {"solver": "eigen", "alpha": 10.0},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_fits_are_those_on_arrays(dtype, target, options, device):
    X, values, y = rows_of(dtype, device, n=900, target=target)
    for weights in (None, weights_of(len(y))):
        model = ParallelRidgeClassifier(backend=engine(device), **options).fit(X, y, weights)
        reference = ParallelRidgeClassifier(**options).fit(values, y, weights)
        assert model.solver_ == reference.solver_
        same_answers(model, reference, X, values, FLOATS[dtype])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "int16"])
@pytest.mark.parametrize("target", TARGETS)
def test_fits_to_integers_have_the_same_bits(dtype, target, device):
    X, values, y = rows_of(dtype, device, n=900, target=target)
    model = ParallelRidgeClassifier(backend=engine(device)).fit(X, y)
    reference = ParallelRidgeClassifier().fit(values, y)
    assert np.array_equal(model.coef_, reference.coef_)
    same_answers(model, reference, X, values, 1e-12)


WIDE = (30, 50)  # rows x features
CASES = [
    (solver, shape, dtype)
    for solver, shape, dtype in product(SOLVERS, [(300, 8), WIDE], ["float64", "uint8"])
    if shape != WIDE or solver not in ("eigen", "cholesky")
]


@pytest.mark.parametrize(("solver", "shape", "dtype"), CASES)
def test_all_solvers_give_the_same(solver, shape, dtype, device):
    for weights, standardize in ((None, False), (weights_of(shape[0]), True)):
        X, values, y = rows_of(dtype, device, *shape)
        options = {"solver": solver, "standardize": standardize, "alpha": 3.0}
        model = ParallelRidgeClassifier(backend=engine(device), **options).fit(X, y, weights)
        reference = ParallelRidgeClassifier(**options).fit(values, y, weights)
        assert model.solver_ == reference.solver_
        same_answers(model, reference, X, values, 1e-8)


def test_an_ill_conditioned_fit_is_refined_on_the_device(device):
    rng = np.random.default_rng(0)
    values = (
        rng.normal(size=(2000, 12)) @ np.diag(np.logspace(0, -5, 12)) @ rng.normal(size=(12, 12))
    )
    y = (values @ rng.normal(size=(12, 3))).argmax(1)
    for dtype, tolerance in (("float64", 1e-7), ("float32", 1e-4)):
        rows = values.astype(dtype)
        X = tensor_of(rows, device)
        model = ParallelRidgeClassifier(1e-9, backend=engine(device)).fit(X, y)
        reference = ParallelRidgeClassifier(1e-9).fit(rows.astype(np.float64), y)
        assert model.solver_ == "cholesky"
        assert_close(model.coef_, reference.coef_, tolerance)


def test_batches_add_up(device):
    for dtype, kinds in product(("float64", "float32", "uint8"), ("multiclass", "multilabel")):
        X, values, y = rows_of(dtype, device, n=700, target=kinds)
        model = ParallelRidgeClassifier(backend=engine(device))
        reference = ParallelRidgeClassifier()
        for rows in (slice(0, 200), slice(200, 230), slice(230, 700)):
            model.partial_fit(X[rows], y[rows])
            reference.partial_fit(values[rows], y[rows])
        assert isinstance(model.statistics_, SufficientStatistics)
        tolerance = {"float32": 1e-5}.get(dtype, 1e-10)
        same_answers(model, reference, X, values, tolerance)


def test_scores_and_engines_mix(device):
    X, values, y = rows_of("float32", device, n=500)
    weights = weights_of(500)
    model = ParallelRidgeClassifier(backend=engine(device)).fit(X, y)
    plain = ParallelRidgeClassifier().fit(values, y)
    codes = np.unique(y, return_inverse=True)[1]
    numbers = ParallelRidgeClassifier(backend=engine(device)).fit(X, tensor_of(codes, device))
    for some in (None, weights):
        expected = plain.score(values, y, some)
        assert model.score(X, y, some) == pytest.approx(expected)
        assert model.score(values, y, some) == pytest.approx(expected)
        assert plain.score(X, y, some) == pytest.approx(expected)  # the reader of tensors answers
        there = None if some is None else tensor_of(some, device)
        assert numbers.score(X, tensor_of(codes, device), there) == pytest.approx(expected)
    assert isinstance(model.predict(values), np.ndarray)


def test_rows_beyond_a_block_are_predicted(device):
    X, values, y = rows_of("float64", device, n=5000, d=4)
    model = ParallelRidgeClassifier(backend=engine(device, block_bytes=2**16)).fit(X, y)
    same_answers(model, ParallelRidgeClassifier().fit(values, y), X, values, 1e-10)


def test_the_backend_can_be_copied_and_printed():
    from pickle import dumps, loads

    from sklearn.base import clone

    backend = TorchBackend(device="cpu", block_bytes=2**20)
    assert loads(dumps(backend)) == backend
    copied = clone(ParallelRidgeClassifier(backend=backend))
    assert copied.backend == backend
    assert "block_bytes=1048576" in repr(backend)


def test_a_cache_keeps_statistics_of_tensors(device, tmp_path):
    X, _, y = rows_of("float64", device, n=300)
    options = {"backend": engine(device), "memory": str(tmp_path)}
    first = ParallelRidgeClassifier(**options).fit(X, y)
    second = ParallelRidgeClassifier(**options).fit(X, y)
    assert np.array_equal(first.coef_, second.coef_)
    assert any(tmp_path.rglob("*.pkl"))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_without_float64_what_needs_it_runs_on_the_cpu(dtype, device, monkeypatch):
    for place in ("_statistics", "_backend", "_answers"):
        monkeypatch.setattr(f"parallel_ridge.torch.{place}.has_float64", lambda device: False)
    for target, weights in zip(TARGETS, cycle([None, weights_of(900)]), strict=False):
        X, values, y = rows_of(dtype, device, n=900, target=target)
        model = ParallelRidgeClassifier(backend=engine(device)).fit(X, y, weights)
        reference = ParallelRidgeClassifier().fit(values, y, weights)
        assert_close(model.coef_, reference.coef_, 1e-5)
