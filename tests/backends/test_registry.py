"""Backends by name."""

import sys

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
from parallel_ridge.backends import Backend


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
