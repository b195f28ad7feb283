"""Features that are made in the tasks that read the samples give the answers of a pipeline of arrays."""

import _data.pipelines
import numpy as np
import pytest
from _data.pipelines import Counting, Faulty, Spectrum, make_series
from _data.spark import KINDS, frame, kind_id
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest
from sklearn.kernel_approximation import RBFSampler
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV, make_block_pipeline

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:The best alpha"),
    pytest.mark.filterwarnings("ignore:Features .* are constant"),
    pytest.mark.filterwarnings("ignore:invalid value encountered in divide"),
]
ALPHAS = [0.1, 3.0, 100.0]
LAST = {
    "fit": ParallelRidgeClassifier(0.5),
    "weights": ParallelRidgeClassifier(0.5, class_weight="balanced"),
    "leave-one-out": ParallelRidgeClassifierCV(ALPHAS),
    "scores": ParallelRidgeClassifierCV(ALPHAS, scoring="r2"),
}


@pytest.fixture(autouse=True)
def transformers_of_tests_travel():
    """Executors cannot import the modules of tests."""
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(_data.pipelines)
    yield
    cloudpickle.unregister_pickle_by_value(_data.pipelines)


def rows_of(spark, digits, kind):
    """Samples as a DataFrame, and as the arrays that its columns hold."""
    X, y, w = digits
    return frame(spark, kind, X, y, w), X.astype(kind.dtype), y, w


@pytest.mark.parametrize(
    ("last", "kind"),
    [("fit", 0), ("weights", 2), ("leave-one-out", 0), ("scores", 2)],
    ids=lambda value: kind_id(KINDS[value]) if isinstance(value, int) else value,
)
def test_data_frames_give_the_fits_of_arrays(spark, digits, last, kind):
    samples, X, y, w = rows_of(spark, digits, KINDS[kind])
    steps = StandardScaler(), RBFSampler(gamma=0.01, n_components=80, random_state=0), LAST[last]
    found = make_block_pipeline(*map(clone, steps), fit_rows=500, block_rows=100)
    expected = make_block_pipeline(*map(clone, steps), fit_rows=500)
    name = found.steps[-1][0]
    found.fit(samples, "label", **{f"{name}__sample_weight": "w"})
    expected.fit(X, y, **{f"{name}__sample_weight": w})
    assert_allclose(found[0].scale_, expected[0].scale_, 1e-12)
    assert_allclose(found[-1].coef_, expected[-1].coef_, 1e-8, 1e-10)
    answers = [row.prediction for row in found.predict(samples).collect()]
    assert_array_equal(answers, expected.predict(X))
    one = found.decision_function(samples).first().decision
    assert_allclose(one, expected.decision_function(X[:1])[0], 1e-8, 1e-10)
    assert found.score(samples, "label") == pytest.approx(expected.score(X, y), 1e-12)
    weighted = found.score(samples, "label", "w")
    assert weighted == pytest.approx(expected.score(X, y, w), 1e-12)
    assert_array_equal(found.predict(X), expected.predict(X))  # arrays too
    if last not in ("fit", "weights"):
        assert found[-1].alpha_ == expected[-1].alpha_


def test_folds_of_a_column(spark, digits):
    from pyspark.sql.types import IntegerType

    X, y, _ = digits
    folds = np.arange(len(y)) % 3
    more = [("fold", IntegerType(), folds)]
    samples = frame(spark, KINDS[2], X, y, more=more)
    steps = StandardScaler(), ParallelRidgeClassifierCV(ALPHAS, cv="fold")
    found = make_block_pipeline(*steps).fit(samples, "label")
    splits = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(3)]
    expected = make_block_pipeline(
        StandardScaler(), ParallelRidgeClassifierCV(ALPHAS, cv=splits)
    ).fit(X, y)
    assert_allclose(
        found[-1].cv_results_["mean_test_score"], expected[-1].cv_results_["mean_test_score"], 1e-9
    )


def test_transformers_see_all_rows_in_batches_or_some(spark, digits):
    samples, X, y, _ = rows_of(spark, digits, KINDS[0])
    calls = []
    make_block_pipeline(Counting(calls), ParallelRidgeClassifier(), fit_rows=700).fit(
        samples, "label"
    )
    sizes = [size for what, size in calls if what == "partial_fit"]
    assert len(sizes) == 3 and sum(sizes) == len(y) and max(sizes) - min(sizes) <= 1
    best = make_block_pipeline(SelectKBest(k=20), ParallelRidgeClassifier(), fit_rows=10**6)
    expected = SelectKBest(k=20).fit(X, y)
    assert_allclose(best.fit(samples, "label")[0].scores_, expected.scores_, 1e-9)
    best.set_params(fit_rows=300).fit(samples, "label")
    assert np.nanargmax(best[0].scores_) == np.nanargmax(expected.scores_)


def test_samples_of_any_shape_in_an_rdd(spark):
    X, y = make_series(300)
    parts = np.array_split(np.arange(300), 5)
    rdd = spark.sparkContext.parallelize([(X[p], y[p]) for p in parts], 3)
    power = 3
    cube = FunctionTransformer(lambda X: X**power)  # a function of this test travels by value
    steps = cube, Spectrum(), ParallelRidgeClassifier(0.1)
    found, expected = make_block_pipeline(*steps), make_block_pipeline(*map(clone, steps))
    assert_allclose(found.fit(rdd)[-1].coef_, expected.fit(X, y)[-1].coef_, 1e-9, 1e-12)
    assert_array_equal(np.concatenate(found.predict(rdd).collect()), expected.predict(X))
    assert found.score(rdd) == expected.score(X, y)
    with pytest.raises(ValueError, match="pass the RDD alone"):
        found.fit(rdd, y)


def test_errors_name_step_rows_and_partition(spark, digits):
    X, y, _ = digits
    X = X.astype(float)
    X[:, 0] = np.arange(len(X))
    samples = frame(spark, KINDS[2], X, y, partitions=3)
    model = make_block_pipeline(StandardScaler(), ParallelRidgeClassifier()).fit(X, y)
    before = model.predict(X)
    for fault, kind, message in (
        (
            "columns",
            ValueError,
            r"Step 'faulty' \(Faulty\) returned 63 features for rows .*partition 1",
        ),
        ("nan", ValueError, r"Feature 1 of row 401 .* step 'faulty' \(Faulty\) .*partition 1"),
        ("error", RuntimeError, r"no such entry.*step .faulty., rows 400 to"),
    ):
        broken = make_block_pipeline(Faulty(fault, 1000.0), ParallelRidgeClassifier())
        with pytest.raises(kind, match=message):
            broken.fit(samples, "label")
    with pytest.raises(ValueError, match="y of a DataFrame is the name of a column"):
        model.fit(samples, y)
    with pytest.raises(ValueError, match=r"Column 'labl' is missing|'labl'"):
        model.fit(samples, "labl")
    with pytest.raises(ValueError, match="cache='memory' keeps features of arrays"):
        make_block_pipeline(StandardScaler(), ParallelRidgeClassifier(), cache="memory").fit(
            samples, "label"
        )
    assert_array_equal(model.predict(X), before)
