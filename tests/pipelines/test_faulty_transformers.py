"""Faults of transformers are named by step and row, and change nothing."""

import numpy as np
import pytest
from _data.estimators import make_data
from _data.pipelines import Faulty, Spectrum, make_series
from numpy.testing import assert_array_equal
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from parallel_ridge import (
    BlockPipeline,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    make_block_pipeline,
)

N, ROW = 2000, 777


def data():
    X, y = make_data(N, 4)
    X[ROW, 0] = 1234.5
    return X, y


FAULTS = {
    "nan": (ValueError, r"Feature 1 of row 777 is nan: what step 'faulty' \(Faulty\) returned"),
    "infinity": (ValueError, "Feature 1 of row 777 is -inf: what step 'faulty'"),
    "columns": (ValueError, r"Step 'last' .* returned 3 features for rows 7\d\d to 7\d\d, and 4"),
    "rows": (ValueError, r"Step 'faulty' \(Faulty\) returned 31 rows for 32 samples \(rows 7"),
    "shape": (ValueError, r"Step 'last' .* returned an array of shape \(32, 4, 1\)"),
    "text": (ValueError, "Step 'last' .* returned an array .* of <U"),
    "error": (LookupError, r"no such entry \(in step 'faulty', rows 768 to 799\)"),
}


def pipeline(fault, last, **options):
    steps = [
        ("scale", FunctionTransformer()),
        ("faulty", Faulty(fault, 1234.5)),
        ("last", FunctionTransformer()),
        ("ridge", last),
    ]
    # Transformers are fitted to few rows, and not to the one that is bad.
    return BlockPipeline(steps, fit_rows=100, block_rows=32, **options)


@pytest.mark.parametrize("cv", ["none", 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_the_step_and_the_rows_and_changes_nothing(fault, cv):
    X, y = data()
    kind, match = FAULTS[fault]
    last = ParallelRidgeClassifier() if cv == "none" else ParallelRidgeClassifierCV([1.0], cv=3)
    model = pipeline("none", last).fit(X, y)
    steps, before = list(model.steps), model.decision_function(X)
    model.set_params(faulty__fault=fault)
    if cv == 3:  # rows are gathered by fold
        match = match.split("rows 7")[0].split(r"rows 768")[0].split(r"\(32")[0].split("31")[0]
    with pytest.raises(kind, match=match):
        model.fit(X, y)
    assert all(a[1] is b[1] for a, b in zip(model.steps, steps, strict=True))
    model.set_params(faulty__fault="none")
    assert_array_equal(model.decision_function(X), before)


@pytest.mark.parametrize("fault", ["nan", "columns", "rows", "error"])
def test_a_fault_in_a_prediction_is_told_as_well(fault):
    X, y = data()
    model = pipeline("none", ParallelRidgeClassifier()).fit(X[:ROW], y[:ROW])
    model.set_params(faulty__fault=fault)
    kind, match = FAULTS[fault]
    for call in (model.predict, model.decision_function, lambda X: model.score(X, y)):
        with pytest.raises(kind, match=match):
            call(X)


def test_samples_that_are_not_finite_are_named_as_such():
    X, y = data()
    X[ROW, 2] = np.nan
    model = make_block_pipeline(FunctionTransformer(), ParallelRidgeClassifier(), block_rows=32)
    with pytest.raises(ValueError, match="Feature 2 of row 777 is nan: X holds NaN"):
        model.fit(X, y)


def test_features_beyond_the_chosen_dtype_are_refused():
    X, y = data()
    model = pipeline("large", ParallelRidgeClassifier(), dtype="float32")
    with pytest.raises(ValueError, match=r"Step 'last' .* too large for float32"):
        model.fit(X, y)


def test_a_dtype_that_cannot_hold_later_features_is_refused():
    X, y = data()

    def late(X):
        return X if (X[:, 0] == 1234.5).any() else X.astype(np.int64)

    model = make_block_pipeline(FunctionTransformer(late), ParallelRidgeClassifier(), block_rows=32)
    with pytest.raises(
        ValueError, match=r"returned float64 for rows 7.* and int64 before: set dtype"
    ):
        model.fit(X, y)
    model.set_params(dtype="float64").fit(X, y)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fit_rows": 0}, "fit_rows must be a positive integer; got 0"),
        ({"fit_rows": None}, "fit_rows must be"),
        ({"block_rows": 2.5}, "block_rows must be a positive integer; got 2.5"),
        ({"dtype": "int8"}, "dtype must be None or one of"),
        ({"dtype": "garbage"}, "dtype must be None or one of"),
        ({"cache": "no/such/folder"}, "'no/such/folder', which is no folder"),
        ({"cache": 3}, "cache must be"),
    ],
    ids=str,
)
def test_bad_options(options, match):
    X, y = data()
    model = make_block_pipeline(FunctionTransformer(), ParallelRidgeClassifier(), **options)
    with pytest.raises(ValueError, match=match):
        model.fit(X, y)
    assert not hasattr(model, "_features")


def test_the_last_step_is_a_ridge_classifier_of_this_package():
    X, y = data()
    with pytest.raises(TypeError, match="'ridgeclassifier' is a RidgeClassifier"):
        make_block_pipeline(StandardScaler(), RidgeClassifier()).fit(X, y)
    with pytest.raises(TypeError, match="should be transformers"):
        make_block_pipeline(RidgeClassifier(), ParallelRidgeClassifier()).fit(X, y)


@pytest.mark.parametrize(
    ("X", "y", "kind", "match"),
    [
        (np.ones((4, 2)), [0, 1, 0], ValueError, r"inconsistent numbers of samples: \[4, 3\]"),
        (np.ones((4, 2)), None, ValueError, "y is missing"),
        (np.ones((0, 2)), np.ones(0), ValueError, "0 sample"),
        ({"a": 1}, [0, 1, 0, 1], TypeError, "cannot be picked by position"),
        ((x for x in range(4)), [0, 1, 0, 1], ValueError, "generator of batches"),
        (np.ones((4, 2)), [0, 0, 0, 0], ValueError, "one class only"),
        (np.ones((4, 2)), [0.5, 0.1, 0.2, 0.9], ValueError, "continuous"),
    ],
)
def test_bad_samples_and_labels(X, y, kind, match):
    model = make_block_pipeline(FunctionTransformer(), ParallelRidgeClassifier())
    with pytest.raises(kind, match=match):
        model.fit(X, y)
    assert not hasattr(model, "_features")


def test_sparse_features_are_not_kept():
    import scipy.sparse as sp

    X, y = data()
    model = make_block_pipeline(
        FunctionTransformer(sp.csr_matrix), ParallelRidgeClassifier(), cache="memory"
    )
    with pytest.raises(ValueError, match="cache keeps dense features only"):
        model.fit(X, y)


def test_series_of_another_length_are_refused_in_predictions():
    X, y = make_series(90)
    model = make_block_pipeline(Spectrum(), ParallelRidgeClassifier()).fit(X, y)
    with pytest.raises(ValueError, match=r"'spectrum' .* returned 11 features .* and 13 before"):
        model.predict(X[:, :, :20])


@pytest.mark.parametrize("as_stream", [False, True])
def test_the_first_look_names_the_row_of_the_samples(as_stream):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6400, 3)), np.arange(6400) % 2
    X[500, 1] = np.nan  # the first look is at every hundredth row
    pipeline = make_block_pipeline(FunctionTransformer(), ParallelRidgeClassifier())
    rows = (
        ([(X[i : i + 800], y[i : i + 800]) for i in range(0, 6400, 800)],) if as_stream else (X, y)
    )
    with pytest.raises(ValueError, match="Feature 1 of row 500 is nan: X holds NaN"):
        pipeline.fit(*rows)
