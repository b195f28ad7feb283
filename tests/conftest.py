"""Fixtures shared by the tests."""

import pytest

from parallel_ridge import reductions, register_backend
from parallel_ridge.datasets import find_data, load_mnist

# Engines that must give the same answers; tests of the estimator run on each.
BACKENDS = ["openmp"]
try:
    from dask_backend import DaskBackend  # from docs: the one that the pages show
except ImportError:  # without the pages, or without Dask
    pass
else:
    register_backend("dask", DaskBackend)
    BACKENDS.append("dask")


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    """Name of a backend."""
    return request.param


@pytest.fixture(scope="session")
def mnist():
    """The MNIST digits."""
    if find_data("mnist") is None:
        pytest.skip("MNIST is not on this machine (PARALLEL_RIDGE_DATA, ../shared/data)")
    return load_mnist()


@pytest.fixture(autouse=True)
def threads_for_small_work(monkeypatch):
    """Let threads share the small problems of tests, which would not pay for them."""
    monkeypatch.setattr(reductions, "THREAD_PRODUCTS", 1)
