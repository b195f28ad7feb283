"""Fixtures that tests of statistics share."""

import pytest
from _data.statistics import SAVED


@pytest.fixture(params=SAVED)
def some(request):
    return SAVED[request.param]()
