"""Systems that a device factorises have the factors and the condition numbers of LAPACK."""

import numpy as np
import pytest
from _data.estimators import make_data
from _data.tensors import engine

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.solvers import factorising
from parallel_ridge.solvers._cholesky import cholesky
from parallel_ridge.torch import _solves


@pytest.fixture(autouse=True)
def all_orders(monkeypatch):
    monkeypatch.setattr(_solves, "LEAST_ORDER", 1)


def system_of(n, condition, seed=0):
    """A positive definite upper triangle above numbers that nobody may read, and its 1-norm."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    whole = (Q * np.geomspace(1.0, 1.0 / condition, n)) @ Q.T
    whole = (whole + whole.T) / 2
    norm = np.abs(whole).sum(axis=0)
    return np.triu(whole) + np.tril(np.full((n, n), np.nan), -1), norm


@pytest.mark.parametrize("condition", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_factors_and_conditions_are_those_of_lapack(n, condition, device):
    import torch

    system, norm = system_of(n, condition)
    there, here = system.copy(), np.nan_to_num(system)
    with factorising(_solves.DeviceCholesky(torch.device(device))):
        found, estimate = cholesky(there, norm, 1e30)
    expected, own = cholesky(here, norm, 1e30)
    tolerance = 1e-10
    np.testing.assert_allclose(np.tril(found), np.tril(expected), tolerance, tolerance)
    assert estimate == pytest.approx(own, rel=0.5)  # both are estimates


def test_systems_without_a_factor_are_told(device):
    import torch

    for factorise in (_solves.DeviceCholesky(torch.device(device)), lambda system, norm: None):
        with factorising(factorise):
            with pytest.raises(IllConditioned):
                cholesky(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([3.0, 3.0]), 1e30)
            system, norm = system_of(20, 1e9)
            with pytest.raises(IllConditioned):
                cholesky(np.nan_to_num(system), norm, 1e6)


def test_a_device_without_memory_leaves_the_system_to_lapack(device, monkeypatch):
    import torch

    def full(*arguments, **options):
        raise torch.OutOfMemoryError("the device is full")

    monkeypatch.setattr(torch.linalg, "cholesky_ex", full)
    X, y = make_data(200, 20)
    found = ParallelRidgeClassifier(backend=engine(device)).fit(X, y)
    np.testing.assert_allclose(found.coef_, ParallelRidgeClassifier().fit(X, y).coef_, 1e-9)


@pytest.mark.filterwarnings("ignore:The best alpha")
def test_fits_and_searches_factorise_there(device, monkeypatch):
    called = []
    factorise = _solves.DeviceCholesky.__call__

    def watched(self, system, norm):
        called.append(len(system))
        return factorise(self, system, norm)

    monkeypatch.setattr(_solves.DeviceCholesky, "__call__", watched)
    X, y = make_data(300, 30)
    for make in (
        ParallelRidgeClassifier,
        lambda **options: ParallelRidgeClassifierCV([1.0, 10.0], cv=3, **options),
    ):
        found, expected = make(backend=engine(device)).fit(X, y), make().fit(X, y)
        np.testing.assert_allclose(found.coef_, expected.coef_, 1e-9)
        assert called and set(called) == {30}
        called.clear()
