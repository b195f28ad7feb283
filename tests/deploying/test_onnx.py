"""Graphs of ONNX give the answers of the models that they were made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV, make_block_pipeline

onnxruntime = pytest.importorskip("onnxruntime")
to_onnx = pytest.importorskip("skl2onnx").to_onnx
pytest.importorskip("parallel_ridge.onnx")
pytestmark = [
    pytest.mark.filterwarnings("ignore:The best alpha"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def run(model, X, **options):
    """Outputs of the graph of a model."""
    graph = to_onnx(model, X[:1], options={id(model): {"zipmap": False, **options}})
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: X})


def as_raw(values):
    """Decision values as a graph has them."""
    return np.column_stack([-values, values]) if values.ndim == 1 else values


@given(
    st.integers(2, 6),
    st.integers(1, 12),
    st.sampled_from(["int64", "int32", "U", "O", "bool", "float64"]),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_random_models(n_classes, d, kind, dtype, fit_intercept, probability, seed):
    rng = np.random.default_rng(seed)
    n_classes = 2 if kind == "bool" else n_classes
    codes = np.r_[np.arange(n_classes), rng.integers(0, n_classes, 60)]
    y = np.array([f"class {c}" for c in codes]) if kind in "UO" else codes.astype(kind)
    y = y.astype(object) if kind == "O" else y
    X = (rng.normal(size=(len(y), d)) + codes[:, None] * rng.normal(size=d)).astype(dtype)
    model = ParallelRidgeClassifier(0.1, fit_intercept=fit_intercept)
    if probability:
        model = ParallelRidgeClassifierCV(
            [0.1, 1.0], cv=3, probability=True, fit_intercept=fit_intercept
        )
    model.fit(X, y)
    labels, answers = run(model, X)
    raw = as_raw(model.decision_function(X))
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    ranked = np.sort(raw, axis=1)
    sure = ranked[:, -1] - ranked[:, -2] > 10 * tolerance * max(1.0, np.abs(raw).max())
    assert_array_equal(labels[sure], model.predict(X)[sure])
    expected = model.predict_proba(X) if probability else raw
    assert answers.dtype == dtype
    assert_allclose(answers, expected, tolerance, tolerance * max(1.0, np.abs(raw).max()))
    assert_allclose(
        run(model, X, raw_scores=True)[1], raw, tolerance, tolerance * max(1.0, np.abs(raw).max())
    )


@pytest.mark.parametrize("probability", [False, True])
def test_multilabel_models(probability):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5))
    Y = (X @ rng.normal(size=(5, 3)) + 0.1 * rng.normal(size=(80, 3)) > 0).astype(int)
    model = ParallelRidgeClassifier()
    if probability:
        model = ParallelRidgeClassifierCV([0.1, 1.0], cv=3, probability=True)
    model.fit(X, Y)
    labels, answers = run(model, X)
    assert_array_equal(labels, model.predict(X))
    expected = model.predict_proba(X) if probability else model.decision_function(X)
    assert_allclose(answers, expected, 1e-10, 1e-12)


@pytest.mark.parametrize("block", [False, True])
def test_pipelines_and_dictionaries(block):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)).astype(np.float32), np.array(["a", "b", "c"] * 20)
    make = make_block_pipeline if block else make_pipeline
    model = make(StandardScaler(), ParallelRidgeClassifier()).fit(X, y)
    graph = to_onnx(model[:], X[:1])
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    labels, answers = session.run(None, {"X": X})
    assert (labels == model.predict(X)).mean() > 0.95  # ties of float32
    assert set(answers[0]) == {"a", "b", "c"}
    assert_allclose(
        [answer["b"] for answer in answers], model.decision_function(X)[:, 1], 1e-4, 1e-5
    )


def test_labels_that_onnx_lacks():
    X, y = np.eye(4), np.array([0.5, 1.5, 0.5, 1.5]).astype("M8[s]")
    model = ParallelRidgeClassifier().fit(X, y)
    with pytest.raises(ValueError, match="Labels of ONNX are integers or text"):
        run(model, X)
