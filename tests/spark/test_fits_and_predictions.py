"""Spark against threads: the same fits and answers, whatever holds the rows and labels."""

import numpy as np
import pytest
import scipy.sparse as sp
from _data.spark import KINDS, Kind, assert_same_model, frame, kind_id, spark_backend
from _oracles import coded, relative_error, ridge

from parallel_ridge import (
    OpenMPBackend,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
)

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def as_kind(kind, X):
    X = X.astype(kind.dtype)
    return sp.csr_matrix(X) if kind.name == "sparse" else X


@pytest.mark.parametrize("kind", KINDS, ids=kind_id)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_a_fit_is_that_of_threads(spark, digits, kind, weighted):
    X, y, w = digits
    X, y, w = X[:600], y[:600], w[:600] if weighted else None
    # A penalty that keeps the condition low: rounding differs with the order of sums.
    options = {"alpha": 100.0, "store_statistics": True}
    model = ParallelRidgeClassifier(**options).fit(
        frame(spark, kind, X, y, w), "label", sample_weight="w" if weighted else None
    )
    same = ParallelRidgeClassifier(**options).fit(as_kind(kind, X), y, sample_weight=w)
    ours, theirs = model.statistics_, same.statistics_
    assert ours.n_samples == theirs.n_samples
    np.testing.assert_array_equal(ours.class_counts, theirs.class_counts)
    if kind.dtype.kind in "iu" and not weighted:
        assert ours.exact
        np.testing.assert_array_equal(model.coef_, same.coef_)
        np.testing.assert_array_equal(np.triu(ours.gram), np.triu(theirs.gram))
    else:
        # The products of float32 rows about another shift are rounded otherwise.
        float32 = kind.dtype == np.float32
        assert_same_model(model, same, 1e-5 if float32 else 1e-12)
    assert model.solver_ == same.solver_ == "cholesky"


def test_uint8_has_the_same_bits_for_any_partitions(spark, digits):
    X, y, _ = digits
    whole = frame(spark, KINDS[0], X, y, partitions=1).cache()
    expected = ParallelRidgeClassifier().fit(X, y)
    for rows in (whole, whole.repartition(200), whole.repartition(4, "label"), whole.coalesce(1)):
        model = ParallelRidgeClassifier().fit(rows, "label")
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        np.testing.assert_array_equal(model.intercept_, expected.intercept_)
    whole.unpersist()


def test_floats_have_the_same_bits_each_time(spark, digits):
    X, y, _ = digits
    rows = frame(spark, Kind("array", np.float64), X + 0.1, y, partitions=13)
    first, again = (
        ParallelRidgeClassifier(backend=backend).fit(rows, "label").coef_
        for backend in ("spark", spark_backend(spark, depth=2))
    )
    np.testing.assert_array_equal(first, again)
    deeper = ParallelRidgeClassifier(backend=spark_backend(spark, depth=4)).fit(rows, "label")
    np.testing.assert_allclose(deeper.coef_, first, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"standardize": True},
        {"fit_intercept": False},
        {"objective": "mean"},
        {"solver": "eigen"},
        {"solver": "svd"},
        {"class_weight": "balanced"},
        {"class_weight": {0: 2.0, 7: 0.5}},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2], KINDS[5]], ids=kind_id)
def test_options_are_those_of_threads(spark, digits, kind, options):
    X, y, w = digits
    keep = y[:400] < 8  # all classes of the weights, and not equally many
    X, y, w = X[:400][keep] + 1, y[:400][keep], w[:400][keep] + 1
    model = ParallelRidgeClassifier(10.0, **options).fit(
        frame(spark, kind, X, y, w), "label", sample_weight="w"
    )
    same = ParallelRidgeClassifier(10.0, **options).fit(as_kind(kind, X), y, sample_weight=w)
    assert_same_model(model, same, 1e-9)


@pytest.mark.parametrize("kind", [KINDS[2], KINDS[5]], ids=kind_id)
def test_conjugate_gradients_take_a_pass_for_each_iteration(spark, kind):
    X = np.random.default_rng(0).standard_normal((200, 8)) + 1
    y = (X[:, 0] > 1).astype(int)
    model = ParallelRidgeClassifier(100.0, solver="cg").fit(frame(spark, kind, X, y), "label")
    same = ParallelRidgeClassifier(100.0).fit(X, y)
    assert model.n_iter_.max() < 30
    assert_same_model(model, same, 1e-7)


def test_an_ill_conditioned_fit_is_solved_by_qr_in_the_executors(spark):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6))
    X[:, 5] = X[:, 4] + 1e-7 * rng.standard_normal(300)
    y = (X[:, 0] + X[:, 4] > 0).astype(int)
    rows = frame(spark, Kind("array", np.float64), X, y)
    with pytest.warns(UserWarning, match="ill-conditioned"):
        model = ParallelRidgeClassifier(0.0).fit(rows, "label")
    with pytest.warns(UserWarning, match="ill-conditioned"):
        same = ParallelRidgeClassifier(0.0).fit(X, y)
    assert model.solver_ == "svd"
    np.testing.assert_allclose(model.coef_, same.coef_, rtol=1e-4)


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: np.array([f"digit {i}" for i in y]),
        lambda y: y.astype(np.float64),
        lambda y: y > 4,
        lambda y: np.where(y > 4, 7, -3),
    ],
    ids=["strings", "doubles", "booleans", "two"],
)
def test_labels_of_every_kind_are_learnt_and_predicted(spark, digits, labels):
    X, y, w = digits
    X, y, w = X[:500], labels(y[:500]), w[:500]
    rows = frame(spark, KINDS[0], X, y, w).repartition(5, "w")
    model = ParallelRidgeClassifier().fit(rows, "label")
    same = ParallelRidgeClassifier().fit(X, y)
    assert model.classes_.tolist() == same.classes_.tolist()
    assert model.score(rows, "label") == pytest.approx(same.score(X, y), abs=1e-15)
    weighted = model.score(rows, "label", sample_weight="w")
    assert weighted == pytest.approx(same.score(X, y, w), abs=1e-12)
    ordered = frame(spark, KINDS[0], X, y, w)
    answers = model.predict(ordered)
    assert answers.columns == ["features", "label", "w", "prediction"]
    assert [row.prediction for row in answers.collect()] == same.predict(X).tolist()
    values = [row.decision for row in model.decision_function(ordered).collect()]
    np.testing.assert_allclose(values, same.decision_function(X), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids=kind_id)
def test_predictions_come_lazily_for_every_kind(spark, digits, kind):
    X, y, _ = digits
    X, y = X[:200], y[:200]
    rows = frame(spark, kind, X, y, more=[("note", _string(), ["n"] * 200)])
    model = ParallelRidgeClassifier(100.0).fit(rows.drop("note"), "label")
    answers = model.predict(rows)
    assert answers.columns[-2:] == ["note", "prediction"]
    given = as_kind(kind, X)
    if kind.name == "columns":
        pandas = pytest.importorskip("pandas")
        given = pandas.DataFrame(given, columns=model.feature_names_in_)
    same = model.predict(given)
    assert [row[0] for row in answers.select("prediction").collect()] == same.tolist()
    again = model.predict(answers)  # the column is replaced
    assert again.columns == answers.columns
    assert again.columns.count("prediction") == 1
    lost = rows.drop(*[name for name in rows.columns if name.startswith(("features", "x1"))])
    with pytest.raises(ValueError, match="There is no column"):
        model.predict(lost)


def test_columns_that_are_no_features_stay_in_the_jvm(spark, digits):
    from pyspark.sql import functions as F

    if not hasattr(F, "arrow_udf"):
        pytest.skip("needs PySpark 4.1")
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X[:60], y[:60])
    model = ParallelRidgeClassifier().fit(rows, "label")
    odd = rows.select(
        "features",
        F.expr("make_interval(1, 2)").alias("interval"),
        F.expr("array()").alias("void"),
        F.col("label").alias("twice"),
        F.lit("second").alias("twice"),
    )
    answers = model.predict(odd)
    assert answers.columns == [*odd.columns, "prediction"]
    found = answers.select("prediction").collect()
    assert [row[0] for row in found] == model.predict(X[:60]).tolist()
    kept = answers.select(
        F.expr("cast(interval as string) = '1 years 2 months' and size(void) = 0")
    ).distinct()
    assert [row[0] for row in kept.collect()] == [True]
    with pytest.raises(ValueError, match="2 columns 'features'"):
        model.predict(rows.select("features", F.col("label").alias("features")))


@pytest.mark.parametrize("at", [0.0, 30.0, 1000.0])
def test_float32_rows_lose_no_more_than_in_an_array(spark, at):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(3000, 10)) + at).astype(np.float32)
    y = (X[:, 0] - at + rng.normal(size=3000) > 0).astype(int)
    exact, _ = ridge(X, coded(y), 1.0)
    rows = frame(spark, Kind("array", np.float32), X, y).repartition(4)
    here, there = (
        relative_error(model.coef_, exact)
        for model in (
            ParallelRidgeClassifier().fit(X, y),
            ParallelRidgeClassifier().fit(rows, "label"),
        )
    )
    assert there <= 2.0 * here + 2e-7


def test_frames_of_pandas_on_spark_are_told_what_to_do(spark):
    class DataFrame:  # pyspark.pandas does not import with each pandas that PySpark takes
        __module__ = "pyspark.pandas.frame"

    from pyspark.sql import SparkSession  # noqa: F401  # so that PySpark is imported

    for call in (
        *(
            lambda backend=backend: ParallelRidgeClassifier(backend=backend).fit(
                DataFrame(), "label"
            )
            for backend in (
                "auto",
                "spark",
                "openmp",
                OpenMPBackend(1),
                "mpi",
                spark_backend(spark),
            )
        ),
        lambda: ParallelRidgeClassifierCV().fit(DataFrame(), "label"),
        lambda: ParallelRidgeClassifier().fit(np.eye(4), [0, 1, 0, 1]).predict(DataFrame()),
        lambda: ParallelRidgeClassifier().fit(np.eye(4), [0, 1, 0, 1]).score(DataFrame(), "label"),
    ):
        with pytest.raises(TypeError, match=r"\.to_spark\(\)"):
            call()


@pytest.mark.parametrize(
    "how", ["timestamp", "date", "decimal(4,1)", "string", "boolean", "double", "binary"]
)
def test_folds_may_be_of_any_kind_that_orders(spark, digits, how):
    from pyspark.sql import functions as F

    X, y, _ = digits
    X, y = X[:300], y[:300]
    n = 2 if how == "boolean" else 3
    days = F.expr(f"date_add(date'2026-11-20', cast(fold % {n} as int))")
    text = F.concat(F.lit("f"), F.col("fold").cast("string"))
    value = {"timestamp": days, "date": days, "binary": text}
    rows = frame(spark, KINDS[0], X, y, more=[("fold", _long(), (np.arange(300) % n).tolist())])
    rows = rows.withColumn("fold", value.get(how, F.col("fold")).cast(how))
    alphas = [1.0, 100.0, 1e4]
    model = ParallelRidgeClassifierCV(alphas, cv="fold").fit(rows, "label")
    tested = [np.arange(300) % n == i for i in range(n)]
    same = ParallelRidgeClassifierCV(alphas, cv=[(~test, test) for test in tested]).fit(X, y)
    for i in range(n):
        name = f"split{i}_test_score"
        np.testing.assert_allclose(model.cv_results_[name], same.cv_results_[name], atol=1e-12)


@pytest.mark.parametrize("kind", ["long", "decimal(20,0)"])
def test_large_labels_are_exact(spark, digits, kind):
    from pyspark.sql import functions as F

    X, _, _ = digits
    ids = [2**60, 2**60 + 1, 2**60 + 2]
    y = np.array(ids)[np.arange(90) % 3]
    rows = frame(spark, KINDS[0], X[:90], y).repartition(3)
    rows = rows.withColumn("label", F.col("label").cast(kind))
    model = ParallelRidgeClassifier().fit(rows, "label")
    assert model.classes_.tolist() == ids
    same = ParallelRidgeClassifier().fit(X[:90], y)
    np.testing.assert_array_equal(model.coef_, same.coef_)


def test_predictions_beyond_a_long_are_decimals(spark, digits):
    X, y, _ = digits
    ids = np.array([2**64 - 1, 2**63, 5], np.uint64)
    X, y = X[:90], ids[np.arange(90) % 3]
    model = ParallelRidgeClassifier().fit(X, y)
    rows = frame(spark, KINDS[0], X, np.arange(90))
    answers = model.predict(rows)
    assert answers.schema["prediction"].dataType.simpleString() == "decimal(20,0)"
    assert [int(row.prediction) for row in answers.collect()] == model.predict(X).tolist()
    again = ParallelRidgeClassifier().fit(answers, "prediction")
    assert again.classes_.tolist() == [5, 2**63, 2**64 - 1]
    assert model.score(answers, "prediction") == 1.0


def test_labels_that_are_no_doubles_are_refused_by_pyspark_ml(spark, digits):
    from parallel_ridge.spark import RidgeClassifier

    X, _, _ = digits
    y = np.array([2**60, 2**60 + 1])[np.arange(40) % 2]
    with pytest.raises(
        ValueError, match="doubles, which do not hold the label 1152921504606846977"
    ):
        RidgeClassifier().fit(frame(spark, KINDS[0], X[:40], y))
    with pytest.raises(ValueError, match="whole numbers of 64 bits"):
        halves = frame(spark, KINDS[0], X[:40], y % 2)
        halves = halves.selectExpr("features", "cast(label + 0.5 as decimal(30, 1)) label")
        ParallelRidgeClassifier().fit(halves, "label")


def _long():
    from pyspark.sql import types as T

    return T.LongType()


def _string():
    from pyspark.sql import types as T

    return T.StringType()
