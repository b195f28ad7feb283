"""RDDs, arrays, multilabel columns, statistics and batches."""

import numpy as np
import pytest
import scipy.sparse as sp
from _data.spark import ALPHAS, KINDS, Kind, assert_same_model, frame, spark_backend
from sklearn.datasets import make_multilabel_classification

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    sufficient_statistics,
)

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_fewer_rows_than_features(spark, digits):
    X, y, _ = digits
    rows = frame(spark, KINDS[2], X[:40], y[:40] % 3, partitions=2)
    model = ParallelRidgeClassifier(10.0).fit(rows, "label")
    same = ParallelRidgeClassifier(10.0).fit(X[:40].astype(np.float64), y[:40] % 3)
    assert (model.solver_, same.solver_) == ("cholesky", "dual")
    assert_same_model(model, same, 1e-10)


def test_an_rdd_of_arrays(spark, digits):
    X, y, w = digits
    parts = np.array_split(np.arange(len(y)), 7)
    context = spark.sparkContext
    plain = context.parallelize([(X[p], y[p]) for p in parts], 3)
    expected = ParallelRidgeClassifier().fit(X, y)
    model = ParallelRidgeClassifier().fit(plain)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert model.score(plain, None) == pytest.approx(expected.score(X, y))
    answers = np.concatenate(model.predict(plain).collect())
    np.testing.assert_array_equal(answers, expected.predict(X))
    weighted = context.parallelize([(sp.csr_matrix(X[p] * 1.0), y[p], w[p]) for p in parts], 3)
    model = ParallelRidgeClassifier(10.0).fit(weighted)
    assert_same_model(
        model, ParallelRidgeClassifier(10.0).fit(sp.csr_matrix(X * 1.0), y, sample_weight=w)
    )
    search = ParallelRidgeClassifierCV(ALPHAS, cv=3).fit(plain)
    assert search.best_score_ > 0.9
    with pytest.raises(ValueError, match="pass the RDD alone"):
        ParallelRidgeClassifier().fit(plain, "label")
    with pytest.raises(ValueError, match=r"An RDD holds \(X, y\).*partition 0"):
        ParallelRidgeClassifier().fit(context.parallelize([X[:5]], 1))
    bad = X[parts[1]].astype(float)
    bad[3, 2] = np.inf
    with pytest.raises(ValueError, match=r"infinity: row 3, column 2.*partition 1"):
        ParallelRidgeClassifier().fit(
            context.parallelize([(X[parts[0]] * 1.0, y[parts[0]]), (bad, y[parts[1]])], 2)
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("solver", ["auto", "svd", "dual"])
def test_arrays_are_spread_over_the_cluster(spark, digits, dtype, solver):
    X, y, w = digits
    X = X.astype(dtype)
    backend = spark_backend(spark)
    rows = slice(50 if solver == "dual" else None)
    model = ParallelRidgeClassifier(10.0, solver=solver, backend=backend)
    same = ParallelRidgeClassifier(10.0, solver=solver)
    weight = w[rows] + 1
    for sample_weight in (None, weight):
        model.fit(X[rows], y[rows], sample_weight=sample_weight)
        same.fit(X[rows], y[rows], sample_weight=sample_weight)
        assert_same_model(model, same, 1e-10)
    assert model.score(X, y) == same.score(X, y)


def test_a_search_over_arrays_runs_in_the_cluster(spark, digits):
    X, y, _ = digits
    search, same = (
        ParallelRidgeClassifierCV(ALPHAS, cv=3, backend=backend).fit(X[:500], y[:500])
        for backend in (spark_backend(spark), "openmp")
    )
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], same.cv_results_["mean_test_score"]
    )


def test_multilabel_columns(spark):
    X, Y = make_multilabel_classification(300, 12, n_classes=4, random_state=0)
    rows = spark.createDataFrame(
        spark.sparkContext.parallelize(
            [(x.tolist(), y.tolist()) for x, y in zip(X, Y, strict=True)], 3
        ),
        "features array<double>, label array<int>",
    )
    model = ParallelRidgeClassifier(backend=spark_backend(spark, features="features"))
    model.fit(rows, "label")
    same = ParallelRidgeClassifier().fit(X, Y)
    assert_same_model(model, same, 1e-9)
    assert [row.prediction for row in model.predict(rows).collect()] == same.predict(X).tolist()
    assert model.score(rows, "label") == pytest.approx(same.score(X, Y))
    weights = np.arange(300) % 3.0
    parts = [(X[p], Y[p], weights[p]) for p in np.array_split(np.arange(300), 5)]
    weighted = model.score(spark.sparkContext.parallelize(parts, 2), None)
    assert weighted == pytest.approx(same.score(X, Y, weights))


@pytest.mark.parametrize("multilabel", [False, True])
def test_rows_without_weight_have_no_score(spark, multilabel):
    X, y = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
    y = y if multilabel else y[:, 0]
    kinds = "features array<double>, label " + ("array<int>" if multilabel else "int")
    backend = spark_backend(spark, features="features")
    model = ParallelRidgeClassifier(backend=backend).fit(X, y)
    items = [(a.tolist(), b.tolist()) for a, b in zip(X, y, strict=True)]
    rows = spark.createDataFrame(items, kinds).selectExpr("*", "0.0d as none")
    cases = [
        (rows, "label", "none"),
        (rows.where("label is null"), "label", None),  # no rows
        (spark.sparkContext.parallelize([(X, y, np.zeros(60))]), None, None),
    ]
    for given in cases:
        assert np.isnan(backend.score(model, *given))
        with pytest.raises(ValueError, match="no rows with a positive weight to score"):
            model.score(*given)


def test_statistics_of_a_data_frame(spark, digits):
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X, y)
    statistics = sufficient_statistics(rows, "label")
    expected = sufficient_statistics(X, y)
    assert statistics.exact
    np.testing.assert_array_equal(np.triu(statistics.gram), np.triu(expected.gram))
    assert (statistics - expected).n_samples == 0


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_integers_in_wide_columns_have_the_bits_of_bytes(spark, digits, dtype):
    X, y, _ = digits
    kind = {"int32": KINDS[3], "float64": KINDS[2]}[dtype]
    expected = sufficient_statistics(X, y)
    rows = frame(spark, kind, X.astype(dtype), y)
    for n_partitions in (1, 5):
        assert sufficient_statistics(rows.repartition(n_partitions), "label") == expected
    wide = X.astype(dtype)
    wide[1234] *= 2**20 if dtype == "int32" else 0.3  # one partition has it
    found = sufficient_statistics(frame(spark, kind, wide, y), "label").reshift(np.zeros(64))
    assert not found.exact
    squares = wide.astype(float).T @ wide
    np.testing.assert_allclose(
        np.triu(found.gram), np.triu(squares), rtol=1e-12, atol=1e-12 * squares.max()
    )


def test_statistics_take_one_pass(spark, digits):
    X, y, _ = digits
    tracker = spark.sparkContext.accumulator(0)
    expected = sufficient_statistics(X, y)

    def counted(index, items):
        tracker.add(1)
        return items

    blocks = spark.sparkContext.parallelize([(X[:900], y[:900]), (X[900:], y[900:])], 2)
    found = sufficient_statistics(blocks.mapPartitionsWithIndex(counted))
    assert found == expected
    assert tracker.value == 2  # one for each partition
    with pytest.raises(ValueError, match="y of a DataFrame is the name of a column"):
        sufficient_statistics(frame(spark, Kind("array", np.float64), X[:5] * 1.0, y[:5]))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_statistics_about_a_shift_of_ones_own(spark, digits, dtype):
    X, y, _ = digits
    kind = {"uint8": KINDS[0], "int32": KINDS[3], "float64": KINDS[2]}[dtype]
    shift = np.linspace(0.0, 3.0, X.shape[1])
    rows = frame(spark, kind, X.astype(dtype), y)
    found = sufficient_statistics(rows, "label", shift=shift)
    expected = sufficient_statistics(X.astype(dtype), y, shift=shift)
    np.testing.assert_array_equal(found.shift, expected.shift)
    assert found.exact == expected.exact
    np.testing.assert_allclose(
        np.triu(found.gram), np.triu(expected.gram), rtol=1e-12, atol=1e-12 * expected.gram.max()
    )
    with pytest.raises(ValueError, match=f"shift must be {X.shape[1]} finite numbers"):
        sufficient_statistics(rows, "label", shift=shift[1:])


def test_partial_fit_on_data_frames(spark, digits):
    X, y, _ = digits
    model = ParallelRidgeClassifier()
    for part in np.array_split(np.arange(len(y)), 3):
        model.partial_fit(frame(spark, KINDS[0], X[part], y[part]), "label", classes=np.arange(12))
    same = ParallelRidgeClassifier().partial_fit(X, y, classes=np.arange(12))
    np.testing.assert_array_equal(model.coef_, same.coef_)
    assert model.classes_.tolist() == list(range(12))
    with pytest.raises(ValueError, match=r"not in classes: \[77\]"):
        model.partial_fit(frame(spark, KINDS[0], X[:9], np.full(9, 77)), "label")
    with pytest.raises(ValueError, match=r"63 features, but .* 64"):
        model.partial_fit(frame(spark, KINDS[0], X[:9, 1:], y[:9]), "label")
    np.testing.assert_array_equal(model.coef_, same.coef_)
    floats = frame(spark, KINDS[2], X[:300] + 0.5, y[:300])
    model = ParallelRidgeClassifier(10.0).partial_fit(X[300:] * 1.0, y[300:])
    model.partial_fit(floats, "label")
    same = ParallelRidgeClassifier(10.0).fit(np.vstack([X[:300] + 0.5, X[300:]]), y)
    assert_same_model(model, same, 1e-10)


@pytest.mark.parametrize("grouped", [False, True])
def test_alpha_is_chosen_from_batches_of_data_frames(spark, digits, grouped):
    from pyspark.sql import types as T

    X, y, _ = digits
    group = np.arange(len(y)) // 30
    more = [("subject", T.LongType(), group)]
    whole = frame(spark, KINDS[0], X, y, more=more)
    groups = "subject" if grouped else None
    model = ParallelRidgeClassifierCV(ALPHAS, cv=3, prequential=True)
    for part in np.array_split(np.arange(len(y)), 3):
        rows = frame(spark, KINDS[0], X[part], y[part], more=[(*more[0][:2], group[part])])
        model.partial_fit(rows, "label", np.arange(10), groups=groups)
    same = ParallelRidgeClassifierCV(ALPHAS, cv=3, scoring="neg_mean_squared_error")
    same.fit(whole, "label", groups=groups)
    assert model.alpha_ == same.alpha_
    for i in range(3):
        name = f"split{i}_test_score"
        np.testing.assert_allclose(model.cv_results_[name], same.cv_results_[name], 1e-12)
    assert_same_model(model, same, 1e-12)
    assert model.prequential_score_ > 0.8 and model.prequential_n_samples_ == len(y) * 2 // 3
    answers = [row.prediction for row in model.predict(whole).select("prediction").collect()]
    assert answers == same.predict(X).tolist()
    with pytest.raises(ValueError, match="earlier rows were dealt by hashes"):
        model.partial_fit(X, y, groups=None if groups is None else group)


def test_labels_that_the_model_never_saw_count_as_wrong(spark, digits):
    X, y, _ = digits
    model = ParallelRidgeClassifier().fit(X[y < 9], y[y < 9])
    rows = frame(spark, KINDS[0], X, y)
    assert model.score(rows, "label") == pytest.approx(model.score(X, y))
