"""A BlockPipeline gives the answers of scikit-learn's Pipeline, whatever the samples are."""

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import TARGETS, assert_close, make_data, weights_of
from _data.pipelines import Spectrum, make_series
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.kernel_approximation import RBFSampler
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from parallel_ridge import (
    BlockPipeline,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    make_block_pipeline,
)

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")
ALPHAS = [0.1, 3.0, 100.0]


def pair(*steps, **options):
    """A BlockPipeline and scikit-learn's pipeline of clones of its steps."""
    return make_block_pipeline(*steps, **options), make_pipeline(*map(clone, steps))


def assert_same(blocks, whole, X, y, tolerance=1e-10):
    assert_array_equal(blocks.classes_, whole.classes_)
    assert_close(blocks[-1].coef_, whole[-1].coef_, tolerance)
    assert_close(blocks[-1].intercept_, whole[-1].intercept_, tolerance, 1.0)
    assert_close(blocks.decision_function(X), whole.decision_function(X), tolerance, 1.0)
    assert_array_equal(blocks.predict(X), whole.predict(X))
    assert blocks.score(X, y) == whole.score(X, y)
    if hasattr(whole, "predict_proba"):
        assert_allclose(blocks.predict_proba(X), whole.predict_proba(X), 1e-6)
        assert_allclose(blocks.predict_log_proba(X), whole.predict_log_proba(X), 1e-5)


LAST = {
    "one alpha": ParallelRidgeClassifier(2.0),
    "standardize": ParallelRidgeClassifier(0.5, standardize=True, objective="mean"),
    "cg": ParallelRidgeClassifier(2.0, solver="cg"),
    "svd": ParallelRidgeClassifier(2.0, solver="svd"),
    "balanced": ParallelRidgeClassifier(2.0, class_weight="balanced"),
    "folds": ParallelRidgeClassifierCV(ALPHAS, cv=3),
    "log-loss": ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring="neg_log_loss", probability=True),
    "squares": ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring="r2"),
    "leave-one-out": ParallelRidgeClassifierCV(ALPHAS, store_cv_results=True),
    "labels": ParallelRidgeClassifierCV(ALPHAS, cv=4, scoring="balanced_accuracy"),
}


@pytest.mark.parametrize("target", ["binary", "multiclass"])
@pytest.mark.parametrize("last", LAST)
def test_every_fit_and_search(last, target):
    X, y = make_data(150, 4, target)
    steps = StandardScaler(), PolynomialFeatures(2), LAST[last]
    blocks, whole = pair(*steps, block_rows=16)
    weights = weights_of(150) + 0.25
    name = whole.steps[-1][0]
    for extra in ({}, {f"{name}__sample_weight": weights}):
        blocks.fit(X, y, **extra)
        whole.fit(X, y, **extra)
        assert_same(blocks, whole, X, y, 1e-6 if last == "cg" else 1e-9)
        if hasattr(whole[-1], "cv_results_"):
            mean = "mean_test_score"
            assert_allclose(blocks[-1].cv_results_[mean], whole[-1].cv_results_[mean], 1e-8)
            assert blocks[-1].alpha_ == whole[-1].alpha_
        assert blocks.score(X, y, weights) == pytest.approx(
            whole.score(X, y, sample_weight=weights), 1e-14
        )


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(20, 90),
    block_rows=st.one_of(st.none(), st.integers(1, 100)),
    dtype=st.sampled_from(["float64", "float32", "uint8", "int32", "bool"]),
    target=st.sampled_from(TARGETS),
    cv=st.sampled_from([None, 3]),
    cache=st.sampled_from([None, "memory"]),
)
def test_any_blocks_give_the_same(n, block_rows, dtype, target, cv, cache):
    X, y = make_data(n, 3, target, dtype)
    last = ParallelRidgeClassifierCV(ALPHAS, cv=cv, scoring="neg_mean_squared_error")
    blocks, whole = pair(PolynomialFeatures(2), last, block_rows=block_rows, cache=cache)
    assert_same(blocks.fit(X, y), whole.fit(X, y), X, y, 1e-4 if dtype == "float32" else 1e-9)
    assert_close(
        blocks[-1].cv_results_["mean_test_score"],
        whole[-1].cv_results_["mean_test_score"],
        1e-4 if dtype == "float32" else 1e-9,
    )


def test_integer_features_give_the_same_bits():
    X, y = make_data(200, 4, dtype="uint8")
    last = ParallelRidgeClassifier(10.0, store_statistics=True)
    blocks, whole = pair(PolynomialFeatures(1), last, block_rows=7)
    blocks.fit(X, y)
    whole.fit(X, y)
    assert blocks[-1].statistics_ == whole[-1].statistics_ and blocks[-1].statistics_.exact
    assert_array_equal(blocks[-1].coef_, whole[-1].coef_)


def test_samples_of_three_dimensions():
    X, y = make_series()
    for last in (ParallelRidgeClassifier(0.1), ParallelRidgeClassifierCV(ALPHAS, cv=3)):
        blocks, whole = pair(Spectrum(), last, block_rows=11)
        assert_same(blocks.fit(X, y), whole.fit(X, y), X, y)


def test_series_through_a_transformer_of_aeon():
    convolutions = pytest.importorskip("aeon.transformations.collection.convolution_based")
    X, y = make_series(60, 40)
    rocket = convolutions.MiniRocket(n_kernels=168, random_state=0)
    blocks, whole = pair(rocket, ParallelRidgeClassifierCV([1.0, 100.0], cv=3), block_rows=16)
    assert_same(blocks.fit(X, y), whole.fit(X, y), X, y, 1e-4)
    assert blocks.score(X, y) > 0.8


def test_texts_become_sparse_features():
    rng = np.random.default_rng(0)
    words = np.array(["sun", "rain", "snow", "wind", "fog", "hail"])
    y = np.arange(90) % 2
    X = [" ".join(rng.choice(words[3 * k : 3 * k + 4], 5)) for k in y]
    for samples in (X, np.array(X, dtype=object)):
        steps = HashingVectorizer(n_features=32), ParallelRidgeClassifier(0.5)
        blocks, whole = pair(*steps, block_rows=13)
        blocks.fit(samples, y)
        whole.fit(samples, y)
        assert_same(blocks, whole, samples, y)
    steps = HashingVectorizer(n_features=32), ParallelRidgeClassifierCV(ALPHAS, cv=3)
    blocks, whole = pair(*steps, block_rows=13)
    assert_same(blocks.fit(X, y), whole.fit(X, y), X, y)


def test_sparse_samples():
    X, y = make_data(90, 6)
    X = sp.csr_matrix(X * (X > 0))
    blocks, whole = pair(
        StandardScaler(with_mean=False), ParallelRidgeClassifier(0.5), block_rows=17
    )
    assert_same(blocks.fit(X, y), whole.fit(X, y), X, y)


def test_data_frames_reach_the_transformers_as_data_frames():
    pd = pytest.importorskip("pandas")
    X, y = make_data(90, 3)
    frame = pd.DataFrame(X, columns=list("abc"))
    frame["kind"] = np.array(["x", "y", "z"])[np.arange(90) % 3]
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), list("abc")), ("kind", OneHotEncoder(), ["kind"])]
    )
    blocks, whole = pair(columns, ParallelRidgeClassifierCV(ALPHAS, cv=3), block_rows=20)
    assert_same(blocks.fit(frame, y), whole.fit(frame, y), frame, y)
    assert blocks.feature_names_in_.tolist() == ["a", "b", "c", "kind"]
    assert blocks.n_features_in_ == 4


def test_labels_reach_the_transformers_that_need_them():
    X, y = make_data(90, 8)
    blocks, whole = pair(SelectKBest(k=4), ParallelRidgeClassifier(0.5), block_rows=20)
    assert_same(blocks.fit(X, y), whole.fit(X, y), X, y)


def test_passthrough_and_no_transformers():
    X, y = make_data(60, 4)
    for steps in (
        [("ridge", ParallelRidgeClassifier())],
        [("none", "passthrough"), ("ridge", ParallelRidgeClassifier())],
        [("none", None), ("scale", StandardScaler()), ("ridge", ParallelRidgeClassifier())],
    ):
        blocks = BlockPipeline(steps, block_rows=9).fit(X, y)
        whole = Pipeline([(name, clone(step) if name != "none" else step) for name, step in steps])
        assert_same(blocks, whole.fit(X, y), X, y)


def test_fewer_samples_than_features():
    X, y = make_data(40, 5)
    features = RBFSampler(gamma=0.1, n_components=100, random_state=0)
    for last in (ParallelRidgeClassifier(0.5), ParallelRidgeClassifierCV(ALPHAS, cv=4)):
        blocks, whole = pair(features, last, block_rows=7)
        assert_same(blocks.fit(X, y), whole.fit(X, y), X, y, 1e-8)


@pytest.mark.parametrize("dtype", ["float16", "float32", np.float64])
def test_features_of_the_chosen_dtype(dtype):
    X, y = make_data(120, 6)
    last = ParallelRidgeClassifierCV(ALPHAS, cv=3)
    blocks = make_block_pipeline(StandardScaler(), last, dtype=dtype, block_rows=32).fit(X, y)
    Z = StandardScaler().fit_transform(X).astype(dtype)
    whole = clone(last).fit(Z, y)
    assert blocks[-1].coef_.dtype == whole.coef_.dtype
    assert_close(blocks[-1].coef_, whole.coef_, 1e-4)
    assert_array_equal(blocks.predict(X), whole.predict(Z))


def test_a_transformer_before_another_is_fitted_first():
    X, y = make_data(100, 8)
    blocks, whole = pair(
        StandardScaler(), PCA(4, svd_solver="full"), ParallelRidgeClassifier(0.5), block_rows=23
    )
    assert_same(blocks.fit(X, y), whole.fit(X, y), X, y, 1e-8)
