"""Fixtures that tests of kernels share."""

import pytest
from _data.kernels import LEVELS


@pytest.fixture(params=LEVELS)
def level(request, monkeypatch):
    monkeypatch.setenv("PARALLEL_RIDGE_CPU", request.param)
    return request.param
