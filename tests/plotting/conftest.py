"""Fixtures that tests of plotting share."""

import matplotlib.pyplot as plt
import pytest
from _data.plotting import UNSORTED
from sklearn.datasets import load_digits
from sklearn.linear_model import (
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@pytest.fixture(scope="module")
def grid(digits):
    return GridSearchCV(RidgeClassifier(), {"alpha": UNSORTED}, cv=5).fit(*digits)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")
