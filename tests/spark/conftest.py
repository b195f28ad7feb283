"""Fixtures that tests of spark share."""

import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    return X.astype(np.uint8), y, rng.integers(0, 4, len(y)).astype(np.float64)
