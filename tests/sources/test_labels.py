"""Labels keep their values."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    sufficient_statistics,
)

LARGE = [2**60, 2**60 + 1, 2**60 + 2]


@pytest.mark.parametrize("kind", ["i8", "u8", ">i8", ">u8"])
@pytest.mark.parametrize("classes", [LARGE, np.array(LARGE), np.array(LARGE, "u8")])
def test_labels_beyond_float64_meet_declared_classes(kind, classes):
    rng = np.random.default_rng(0)
    k = rng.integers(0, 3, 600)
    X, y = rng.normal(size=(600, 4)), np.array(LARGE, kind)[k]
    model = ParallelRidgeClassifier().partial_fit(X[:300], y[:300], classes=classes)
    model.partial_fit(X[300:], y[300:].astype("i8"), classes=classes)
    assert_array_equal(model.statistics_.class_counts, np.bincount(k))
    assert model.classes_.tolist() == LARGE
    assert set(model.predict(X).tolist()) <= set(LARGE)


@pytest.mark.filterwarnings("ignore:The best alpha", "ignore:A column-vector y was passed")
@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (LARGE, "Int64"),
        (LARGE, "UInt64"),
        (LARGE, "int64[pyarrow]"),
        ([2**63, 2**63 + 1, 2**64 - 1], "uint64[pyarrow]"),
        ([False, True], "boolean"),
        ([1.0, 2.0], "Float64"),
    ],
)
@pytest.mark.parametrize("shape", ["series", "array", "frame"])
def test_labels_of_pandas_own_types_keep_their_values(labels, kind, shape):
    rng = np.random.default_rng(0)
    X, k = rng.normal(size=(60, 4)), np.arange(60) % len(labels)
    y = pd.Series([labels[i] for i in k], dtype=kind)
    y = {"series": y, "array": y.array, "frame": y.to_frame("y")}[shape]
    models = [
        ParallelRidgeClassifier().fit(X, y),
        ParallelRidgeClassifier().partial_fit(X, y),
        ParallelRidgeClassifier().partial_fit(X, y, classes=pd.array(labels, dtype=kind)),
        ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=3).fit(X, y),
        ParallelRidgeClassifierCV([0.1, 1.0, 10.0]).fit(X, y),
    ]
    for model in models:
        assert model.classes_.tolist() == labels
        predicted = model.predict(X)
        assert set(predicted.tolist()) <= set(labels)
        right = [one == labels[i] for one, i in zip(predicted.tolist(), k, strict=True)]
        assert model.score(X, y) == pytest.approx(np.mean(right))


def test_missing_labels_of_pandas_own_types_are_refused():
    y = pd.Series([1, 2, None, 1], dtype="Int64")
    with pytest.raises(ValueError, match="y contains NaN"):
        ParallelRidgeClassifier().fit(np.eye(4), y)


def test_dates_of_several_units_stay_what_they_are_or_are_refused():
    X = np.random.default_rng(0).normal(size=(12, 2))
    days = np.array(["2020-01-01", "2021-01-01"] * 6, "M8[D]")
    fine = np.array(["2022-01-01T00:00:00.000000001", "2020-01-01"] * 6, "M8[ns]")
    far = np.array(["9999-01-01", "2020-01-01"] * 6, "M8[D]")  # which nanoseconds do not reach
    both = sufficient_statistics(X, days) + sufficient_statistics(X, fine)
    assert_array_equal(both.classes, np.array([*days[:2], fine[0]]))
    assert_array_equal(both.class_counts, [12, 6, 6])
    model = ParallelRidgeClassifier().partial_fit(X, days).partial_fit(X, fine)
    assert_array_equal(model.classes_, both.classes)
    for first, second in ((far, fine), (fine, far)):
        with pytest.raises(ValueError, match="cannot hold the label 9999-01-01"):
            _ = sufficient_statistics(X, first) + sufficient_statistics(X, second)
        with pytest.raises(ValueError, match="cannot hold the label 9999-01-01"):
            ParallelRidgeClassifier().partial_fit(X, first).partial_fit(X, second)


def test_classes_that_no_dtype_holds_are_refused():
    X, y = np.eye(4), np.arange(4) % 2
    with pytest.raises(ValueError, match="have no integer dtype in common"):
        ParallelRidgeClassifier().partial_fit(X, y, classes=[-1, 0, 1, 2**63])
    with pytest.raises(ValueError, match="strings and numbers have no common order"):
        ParallelRidgeClassifier().partial_fit(X, y, classes=["a", "b"])


@pytest.mark.filterwarnings("ignore:The best alpha")
@pytest.mark.parametrize("kind", [">f8", ">i8", "<f4", ">u2", "i1", "?", "u8"])
def test_labels_come_back_in_their_dtype(kind):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), (np.arange(60) % 2).astype(kind)
    for model in (
        ParallelRidgeClassifier().fit(X, y),
        ParallelRidgeClassifier().partial_fit(X, y),
        ParallelRidgeClassifierCV([0.1, 1.0, 10.0]).fit(X, y),
    ):
        assert model.classes_.dtype == np.unique(y).dtype
        assert model.classes_.dtype.byteorder == np.unique(y).dtype.byteorder
        assert model.predict(X).dtype == model.classes_.dtype
