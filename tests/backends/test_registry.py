"""Backends by name."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from _data.estimators import SOLVERS, assert_same_model, assert_same_state, make_data, oracle, state

import parallel_ridge
from parallel_ridge import (
    BackendUnavailable,
    OpenMPBackend,
    ParallelRidgeClassifier,
    get_backend,
    register_backend,
)
from parallel_ridge.backends import Backend, answering_backend


class SerialBackend(Backend):
    """The least that a backend must be."""

    name = "serial"

    def __init__(self, n_jobs=None):
        self.folds = 0

    def reduce(self, reduction, source):
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


class Rows(list):
    """Rows of a package that nobody else reads."""

    __module__ = "package_of_rows.table"


class ReadsRows(SerialBackend):
    def __init__(self, n_jobs=None, bias=0):
        super().__init__(n_jobs)
        self.bias = bias

    def source(self, request):
        return super().source(replace(request, X=np.array(request.X)))

    def predict(self, model, method, X, column):
        return super().predict(model, method, np.array(X), column)


class Another(ReadsRows):
    """A backend that is not registered."""


def test_an_instance_reads_the_rows_that_it_is_given(registry):
    register_backend("rows", ReadsRows, reads="package_of_rows")
    X, y = make_data()
    rows = Rows(X.tolist())
    for given in (ReadsRows(bias=1), Another(), SerialBackend()):
        assert get_backend(given, rows=rows) is given
        assert answering_backend(given, None, rows) is given
    for given in ("auto", "rows", ReadsRows(), Another()):
        model = ParallelRidgeClassifier(backend=given).fit(rows, y)
        assert_same_model(model, oracle(X, y), X)
        assert model.predict(rows).tolist() == model.predict(X).tolist()


@pytest.mark.parametrize("given", ["openmp", OpenMPBackend(1), "mpi"], ids=str)
def test_rows_that_the_chosen_backend_does_not_read_are_refused_to_fit(registry, given):
    register_backend("rows", ReadsRows, reads="package_of_rows")
    X, y = make_data()
    rows = Rows(X.tolist())
    message = r"X is a Rows of package_of_rows, .* does not read it: choose 'rows' or 'auto'"
    with pytest.raises(ValueError, match=message):
        ParallelRidgeClassifier(backend=given).fit(rows, y)
    assert type(answering_backend(given, None, rows)) is ReadsRows
    model = ParallelRidgeClassifier().fit(X, y).set_params(backend=given)
    assert model.predict(rows).tolist() == ParallelRidgeClassifier().fit(X, y).predict(X).tolist()


def test_rows_that_their_own_reader_refuses_are_not_sent_to_it(registry):
    class Choosy(ReadsRows):
        def can_read(self, X):
            return len(X) > 1

    register_backend("rows", Choosy, reads="package_of_rows")
    with pytest.raises(ValueError, match="does not read it: neither does 'rows'"):
        get_backend("openmp", rows=Rows([1]))


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
