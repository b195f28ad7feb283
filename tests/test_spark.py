"""Spark against threads: the same fits, searches and answers, whatever holds the rows and labels."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from _oracles import coded, relative_error, ridge
from sklearn.datasets import load_digits, make_multilabel_classification

from parallel_ridge import (
    BackendUnavailable,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    SufficientStatistics,
    get_backend,
)
from parallel_ridge.backends.spark import BATCH_KEY, Partials, short_batches

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ALPHAS = [1e-2, 1e3, 1e8]  # the best of them is never at an end


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    return X.astype(np.uint8), y, rng.integers(0, 4, len(y)).astype(np.float64)


class Kind:
    """A column, or several, that hold rows."""

    def __init__(self, name, dtype):
        self.name, self.dtype = name, np.dtype(dtype)

    def row(self, x):
        if self.name == "binary":
            return (bytearray(x.tobytes()),)
        if self.name == "array":
            return (x.tolist(),)
        if self.name == "columns":
            return tuple(x.tolist())
        from pyspark.ml.linalg import Vectors

        if self.name == "sparse":
            at = np.flatnonzero(x)
            return (Vectors.sparse(len(x), at, x[at]),)
        return (Vectors.dense(x),)

    def fields(self, d):
        from pyspark.ml.linalg import VectorUDT
        from pyspark.sql import types as T

        numbers = {
            "uint8": T.ShortType, "int16": T.ShortType, "int32": T.IntegerType,
            "float32": T.FloatType, "float64": T.DoubleType,
        }  # fmt: skip
        number = numbers[str(self.dtype)]()
        if self.name == "columns":
            return [T.StructField(f"x{i}", number) for i in range(d)]
        kind = {"binary": T.BinaryType(), "array": T.ArrayType(number)}.get(self.name, VectorUDT())
        return [T.StructField("features", kind)]


KINDS = [
    Kind("binary", np.uint8),
    Kind("array", np.float32),
    Kind("array", np.float64),
    Kind("array", np.int32),
    Kind("dense", np.float64),
    Kind("sparse", np.float64),
    Kind("columns", np.float64),
    Kind("columns", np.int16),
]


def kind_id(kind):
    return f"{kind.name}-{kind.dtype}"


def frame(spark, kind, X, y, w=None, *, partitions=3, more=()):
    """A DataFrame of rows of a kind, with labels, weights and more columns (name, type, values)."""
    from pyspark.sql import types as T

    labels = {"i": T.LongType, "f": T.DoubleType, "b": T.BooleanType}
    fields = [*kind.fields(X.shape[1]), T.StructField("label", labels.get(
        np.asarray(y).dtype.kind, T.StringType)())]  # fmt: skip
    columns = [np.asarray(y).tolist()]
    if w is not None:
        fields.append(T.StructField("w", T.DoubleType()))
        columns.append(np.asarray(w).tolist())
    for name, type_, values in more:
        fields.append(T.StructField(name, type_))
        columns.append(np.asarray(values).tolist())
    X = X.astype(kind.dtype)
    rows = [(*kind.row(x), *rest) for x, rest in zip(X, zip(*columns, strict=True), strict=True)]
    return spark.createDataFrame(
        spark.sparkContext.parallelize(rows, partitions), T.StructType(fields)
    )


def as_kind(kind, X):
    X = X.astype(kind.dtype)
    return sp.csr_matrix(X) if kind.name == "sparse" else X


def assert_same_model(a, b, rtol=1e-12):
    np.testing.assert_array_equal(a.classes_, b.classes_)
    scale = np.abs(b.coef_).max()
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(a.intercept_, b.intercept_, rtol=0, atol=rtol * max(1, scale) * 64)
    assert a.coef_.dtype == b.coef_.dtype


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


def spark_backend(spark, **options):
    from parallel_ridge.backends.spark import SparkBackend

    return SparkBackend(spark, **options)


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

    model = ParallelRidgeClassifier()
    for call in (
        lambda: model.fit(DataFrame(), "label"),
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


def test_features_are_found_or_named(spark, digits):
    X, y, _ = digits
    from pyspark.sql import functions as F

    rows = frame(spark, KINDS[0], X[:200], y[:200]).withColumn("other", F.col("features"))
    with pytest.raises(
        ValueError, match=r"Several columns hold whole rows: \['features', 'other'\]"
    ):
        ParallelRidgeClassifier().fit(rows, "label")
    backend = spark_backend(spark, features="other")
    model = ParallelRidgeClassifier(backend=backend).fit(rows, "label")
    assert model.feature_columns_ == ("other",)
    columns = frame(spark, KINDS[7], X[:200], y[:200]).withColumnRenamed("x3", "x`3.a")
    model = ParallelRidgeClassifier().fit(columns, "label")
    assert model.feature_names_in_.tolist() == [c for c in columns.columns if c != "label"]
    assert model.score(columns, "label") > 0.9
    few = ParallelRidgeClassifier(backend=spark_backend(spark, features=["x7", "x20"]))
    assert few.fit(columns, "label").coef_.shape == (10, 2)
    for bad, message in (("nothing", "There is no column 'nothing'"), (["label", "no"], "'no'")):
        with pytest.raises(ValueError, match=message):
            ParallelRidgeClassifier(backend=spark_backend(spark, features=bad)).fit(rows, "label")
    with pytest.raises(ValueError, match="No column holds features"):
        ParallelRidgeClassifier().fit(rows.select("label"), "label")


def _put(rows, row, name, value):
    """The rows with one value of a column changed."""
    from pyspark.sql import functions as F

    return rows.withColumn(name, F.when(F.col("id") == row, value).otherwise(F.col(name)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("features", None, r"Column 'features' is null in row 17 .*partition 1"),
        ("label", None, r"Column 'label' is null in row 17 .*partition 1"),
        ("w", None, r"Column 'w' is null in row 17 .*partition 1"),
        ("w", -1.0, r"column 'w' has -1.0 in row 17\. \(partition 1\)"),
        ("features", "nan", r"NaN: row 17, column 0 .*partition 1"),
        ("features", "short", r"'features' has 1 values in row 17 .*partition 1"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_partition(spark, column, value, message):
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((90, 4)), np.arange(90) % 3
    more = [("id", T.LongType(), range(90))]
    rows = frame(spark, Kind("array", np.float64), X, y, np.ones(90), more=more)
    given = F.lit(value)
    if value in ("nan", "short"):
        given = F.array(*[F.lit(float("nan"))] * (4 if value == "nan" else 1))
    rows = _put(rows, 47, column, given)
    before = ParallelRidgeClassifier(store_statistics=True).fit(X, y)
    kept = before.coef_
    with pytest.raises(ValueError, match=message):
        before.partial_fit(rows, "label", sample_weight="w")
    with pytest.raises(ValueError, match=message):
        ParallelRidgeClassifierCV(ALPHAS, cv=3).fit(rows, "label", sample_weight="w")
    assert before.coef_ is kept, "a failed call changed the model"


def test_a_null_element_and_lengths_that_differ_between_partitions_are_named(spark):
    rows = spark.createDataFrame(
        spark.sparkContext.parallelize([([1.0, None], 0), ([1.0, 2.0], 1)], 2),
        "features array<double>, label int",
    )
    with pytest.raises(ValueError, match=r"array with a null in row 0, at position 1.*partition 0"):
        ParallelRidgeClassifier().fit(rows, "label")
    rows = spark.createDataFrame(
        spark.sparkContext.parallelize([([1.0], 0), ([1.0, 2.0], 1)], 2),
        "features array<double>, label int",
    )
    with pytest.raises(ValueError, match=r"1 features, and others 2.*partition 1"):
        ParallelRidgeClassifier().fit(rows, "label")


def test_names_and_labels_are_checked(spark, digits, tmp_path):
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X[:50], y[:50])
    with pytest.raises(ValueError, match="y of a DataFrame is the name of a column; got ndarray"):
        ParallelRidgeClassifier().fit(rows, y)
    with pytest.raises(ValueError, match="There is no column 'target'; the columns are"):
        ParallelRidgeClassifier().fit(rows, "target")
    with pytest.raises(ValueError, match="There are no rows"):
        ParallelRidgeClassifier().fit(rows.limit(0), "label")
    with pytest.raises(ValueError, match="one class only, 3"):
        ParallelRidgeClassifier().fit(rows.where("label = 3"), "label")
    with pytest.raises(ValueError, match="whole numbers, booleans or strings"):
        ParallelRidgeClassifier().fit(rows.selectExpr("features", "label + 0.5d label"), "label")
    with pytest.raises(ValueError, match="solver='dual' needs all rows in one process"):
        ParallelRidgeClassifier(solver="dual").fit(rows, "label")
    with pytest.raises(ValueError, match="Cache the DataFrame instead"):
        ParallelRidgeClassifier(memory=tmp_path).fit(rows.where("true"), "label")
    with pytest.raises(ValueError, match="depth must be a positive integer; got 0"):
        ParallelRidgeClassifier(backend=spark_backend(spark, depth=0)).fit(rows, "label")


def test_skewed_and_empty_partitions(spark, digits):
    X, y, _ = digits
    from pyspark.sql import functions as F

    rows = frame(spark, KINDS[1], X, y).repartition(6, F.when(F.rand(3) < 0.95, 0).otherwise(1))
    sizes = rows.rdd.glom().map(len).collect()
    assert min(sizes) == 0 and max(sizes) > 1500
    model = ParallelRidgeClassifier(100.0).fit(rows, "label")
    same = ParallelRidgeClassifier(100.0).fit(X.astype(np.float32), y)
    assert_same_model(model, same, 1e-5)


@pytest.fixture
def adaptive(spark):
    """Sets what Spark's adaptive execution is told of small partitions."""
    prefix = "spark.sql.adaptive."
    before = {}

    def configure(**options):
        for name, value in options.items():
            key = prefix + name.replace("_", ".")
            before.setdefault(key, spark.conf.get(key, None))
            spark.conf.set(key, value)

    yield configure
    for key, value in before.items():
        spark.conf.unset(key) if value is None else spark.conf.set(key, value)


def test_small_partitions_are_read_together(spark, digits, adaptive, monkeypatch):
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X, y, partitions=12)
    kept = rows.cache()
    kept.count()
    n_results = []
    total = Partials.total
    monkeypatch.setattr(
        Partials, "total", lambda self: n_results.append(len(self.parts)) or total(self)
    )
    expected = ParallelRidgeClassifier().fit(X, y)
    size = int(kept._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())
    cases = [
        ({"coalescePartitions_enabled": "true"}, 2),  # the cores
        ({"advisoryPartitionSizeInBytes": f"{size // 5}b"}, 6),  # as many for each core
        ({"advisoryPartitionSizeInBytes": "1b"}, 12),
        ({"advisoryPartitionSizeInBytes": "1g", "enabled": "False"}, 12),
        ({"enabled": "true", "coalescePartitions_enabled": "false"}, 12),
    ]
    for options, n_tasks in cases:
        adaptive(**options)
        n_results.clear()
        model = ParallelRidgeClassifier().fit(kept, "label")
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        assert n_results == [n_tasks], options
    adaptive(coalescePartitions_enabled="true")
    n_results.clear()
    search = ParallelRidgeClassifierCV(ALPHAS, cv=3).fit(kept, "label")
    assert n_results == [2, 2]
    kept.unpersist()
    n_results.clear()
    assert (
        ParallelRidgeClassifierCV(ALPHAS, cv=3).fit(rows, "label").best_score_ == search.best_score_
    )
    assert n_results == [12, 12]  # rows of an RDD have a size that Spark does not know


def test_an_error_in_small_partitions_names_the_one_that_the_user_has(spark, digits, adaptive):
    from pyspark.sql import functions as F

    X, y, _ = digits
    rows = frame(spark, KINDS[1], X, y, partitions=12).cache()
    assert rows.count() == len(y)
    adaptive(coalescePartitions_enabled="true")
    wrong = F.monotonically_increasing_id() == 9 * 2**33 + 17  # row 17 of partition 9
    rows = rows.withColumn("label", F.when(~wrong, F.col("label")))
    with pytest.raises(ValueError, match=r"Column 'label' is null in row 17 .*partition 9"):
        ParallelRidgeClassifier().fit(rows, "label")
    rows.unpersist()


def test_fewer_rows_than_features(spark, digits):
    X, y, _ = digits
    rows = frame(spark, KINDS[2], X[:40], y[:40] % 3, partitions=2)
    model = ParallelRidgeClassifier(10.0).fit(rows, "label")
    same = ParallelRidgeClassifier(10.0).fit(X[:40].astype(np.float64), y[:40] % 3)
    assert (model.solver_, same.solver_) == ("cholesky", "dual")
    assert_same_model(model, same, 1e-10)


# -------------------------------------------------------------------------------- RDDs and arrays


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


def test_statistics_of_a_data_frame(spark, digits):
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X, y)
    statistics = SufficientStatistics.from_data(rows, "label")
    expected = SufficientStatistics.from_data(X, y)
    assert statistics.exact
    np.testing.assert_array_equal(np.triu(statistics.gram), np.triu(expected.gram))
    assert (statistics - expected).n_samples == 0


# ----------------------------------------------------------------------------------- more batches


def test_statistics_take_one_pass(spark, digits):
    X, y, _ = digits
    tracker = spark.sparkContext.accumulator(0)
    expected = SufficientStatistics.from_data(X, y)

    def counted(index, items):
        tracker.add(1)
        return items

    blocks = spark.sparkContext.parallelize([(X[:900], y[:900]), (X[900:], y[900:])], 2)
    found = SufficientStatistics.from_data(blocks.mapPartitionsWithIndex(counted))
    assert found == expected
    assert tracker.value == 2  # one for each partition
    with pytest.raises(ValueError, match="y of a DataFrame is the name of a column"):
        SufficientStatistics.from_data(frame(spark, Kind("array", np.float64), X[:5] * 1.0, y[:5]))


def test_garbage_collections_leave_out_what_executors_have_imported(spark, digits):
    X, y, _ = digits
    rows = frame(spark, Kind("array", np.float64), X[:200] * 1.0, y[:200])
    ParallelRidgeClassifier().fit(rows, "label")

    def counted(batches):
        import gc

        import pyarrow as pa

        counts = [gc.get_freeze_count(), len(gc.get_objects())]
        yield pa.RecordBatch.from_arrays(
            [pa.array([count]) for count in counts], ["frozen", "others"]
        )

    counts = rows.mapInArrow(counted, "frozen long, others long").collect()
    # A worker may have had no part in the fit.
    assert any(found["frozen"] > 10 * found["others"] for found in counts)


@pytest.fixture
def setting(spark):
    """What the session says of the size of batches; None if nothing."""
    if not spark.conf.isModifiable(BATCH_KEY):
        pytest.skip(f"this Spark has no {BATCH_KEY}")
    yield lambda: spark.conf.get(BATCH_KEY, None)
    spark.conf.unset(BATCH_KEY)


def test_folds_have_short_batches_until_the_last_ends(spark, setting):
    with pytest.raises(KeyError), short_batches(spark):
        short = setting()
        assert short is not None
        with short_batches(spark):
            assert setting() == short
        assert setting() == short
        raise KeyError
    assert setting() is None


def test_a_session_keeps_a_size_of_batches_of_its_own(spark, setting):
    spark.conf.set(BATCH_KEY, "1234567b")
    with short_batches(spark):
        with short_batches(spark):  # as a fold in another thread would
            assert setting() == "1234567b"
        assert setting() == "1234567b"
    assert setting() == "1234567b"


@pytest.mark.parametrize("fails", [False, True])
def test_a_fold_sets_back_the_size_of_batches(spark, digits, setting, fails):
    X, y, _ = digits
    seen = []
    rows = frame(spark, Kind("array", np.float64), X[:200] * 1.0, y[:200])
    if fails:
        rows = rows.selectExpr("array(double('NaN')) as features", "label")
    collect = type(rows).toArrow

    def seeing(self):
        seen.append(setting())
        return collect(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(rows), "toArrow", seeing)
        if fails:
            with pytest.raises(ValueError, match="NaN"):
                ParallelRidgeClassifier().fit(rows, "label")
        else:
            ParallelRidgeClassifier().fit(rows, "label")
    assert seen and None not in seen
    assert setting() is None


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_statistics_about_a_shift_of_ones_own(spark, digits, dtype):
    X, y, _ = digits
    kind = {"uint8": KINDS[0], "int32": KINDS[3], "float64": KINDS[2]}[dtype]
    shift = np.linspace(0.0, 3.0, X.shape[1])
    rows = frame(spark, kind, X.astype(dtype), y)
    found = SufficientStatistics.from_data(rows, "label", shift=shift)
    expected = SufficientStatistics.from_data(X.astype(dtype), y, shift=shift)
    np.testing.assert_array_equal(found.shift, expected.shift)
    assert found.exact == expected.exact
    np.testing.assert_allclose(
        np.triu(found.gram), np.triu(expected.gram), rtol=1e-12, atol=1e-12 * expected.gram.max()
    )
    with pytest.raises(ValueError, match=f"shift must be {X.shape[1]} finite numbers"):
        SufficientStatistics.from_data(rows, "label", shift=shift[1:])


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


def test_labels_that_the_model_never_saw_count_as_wrong(spark, digits):
    X, y, _ = digits
    model = ParallelRidgeClassifier().fit(X[y < 9], y[y < 9])
    rows = frame(spark, KINDS[0], X, y)
    assert model.score(rows, "label") == pytest.approx(model.score(X, y))


# --------------------------------------------------------------------------------------- searches


def folds_of(rows, fold):
    """Positions of the folds of collected rows, for the same search with threads."""
    numbers = np.array([row[fold] for row in rows])
    return [
        (np.flatnonzero(numbers != i), np.flatnonzero(numbers == i)) for i in np.unique(numbers)
    ]


@pytest.mark.parametrize("how", ["content", "key", "column"])
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]], ids=kind_id)
def test_a_search_is_that_of_threads_on_the_same_folds(spark, digits, how, kind):
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    X, y, w = digits
    X, y, w = X[:700], y[:700], w[:700] + 0.5
    rows = frame(spark, kind, X, y, w, more=[("id", T.LongType(), np.arange(700) // 3)])
    keyed = F.col("id") if how == "key" else F.col("features")
    rows = rows.withColumn("fold", F.concat(F.lit("f"), F.pmod(F.xxhash64(keyed), F.lit(4))))
    cv, groups = {"content": (4, None), "key": (4, "id"), "column": ("fold", None)}[how]
    given = rows if how == "column" else rows.drop("fold")
    search = ParallelRidgeClassifierCV(ALPHAS, cv=cv).fit(
        given, "label", sample_weight="w", groups=groups
    )
    same = ParallelRidgeClassifierCV(ALPHAS, cv=folds_of(rows.collect(), "fold")).fit(
        X.astype(kind.dtype), y, sample_weight=w
    )
    for name in ("split0_test_score", "split3_test_score", "mean_test_score"):
        np.testing.assert_allclose(search.cv_results_[name], same.cv_results_[name], atol=1e-12)
    assert search.alpha_ == same.alpha_
    assert_same_model(search, same, 1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"scoring": "neg_mean_squared_error"},
        {"scoring": "balanced_accuracy"},
        {"scoring": "roc_auc_ovr", "probability": True},
        {"class_weight": "balanced"},
        {"class_weight": {1: 3.0}, "standardize": True},
        {"fit_intercept": False, "objective": "mean", "store_statistics": True},
        {"cv": None},
        {"cv": None, "scoring": "accuracy", "standardize": True},
    ],
    ids=str,
)
def test_options_of_a_search_are_those_of_threads(spark, digits, options):
    X, y, _ = digits
    keep = np.flatnonzero((y < 4) & (np.arange(len(y)) < 1200))
    X, y = X[keep], y[keep]
    from pyspark.sql import types as T

    fold = np.arange(len(y)) % 3
    rows = frame(spark, KINDS[2], X, y, more=[("fold", T.LongType(), fold)])
    leave_one_out = "cv" in options
    rest = {**{"alphas": [1e-1, 1e3, 1e6]}, **options}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The best alpha", UserWarning)
        search = ParallelRidgeClassifierCV(**{"cv": "fold", **rest}).fit(
            rows.drop("fold") if leave_one_out else rows, "label"
        )
        splits = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(3)]
        same = ParallelRidgeClassifierCV(**{"cv": splits, **rest}).fit(X * 1.0, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], same.cv_results_["mean_test_score"], rtol=1e-8
    )
    assert_same_model(search, same, 1e-8)
    if "probability" in options:
        answers = search.predict_proba(rows.limit(20)).select("probability").collect()
        sums = [sum(row[0]) for row in answers]
        np.testing.assert_allclose(sums, 1.0)


def test_folds_that_cannot_be_are_refused(spark, digits):
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X[:60], y[:60] % 2)
    with pytest.raises(ValueError, match="needs positions of rows, which a DataFrame has not"):
        ParallelRidgeClassifierCV(cv=[([0], [1])]).fit(rows, "label")
    with pytest.raises(ValueError, match="There is no column 'nofold'"):
        ParallelRidgeClassifierCV(cv="nofold").fit(rows, "label")
    with pytest.raises(ValueError, match="has an empty test set"):
        ParallelRidgeClassifierCV(cv=50).fit(rows.limit(8), "label")


def test_a_search_makes_two_passes(spark, digits):
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X, y).cache()
    rows.count()
    passes = []
    backend = spark_backend(spark)
    original = type(backend).fold_rows

    def counted(self, *args):
        passes.append(args[0])
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(backend), "fold_rows", counted)
        ParallelRidgeClassifier(backend=backend).fit(rows, "label")
        assert len(passes) == 1
        ParallelRidgeClassifierCV(ALPHAS, cv=5, backend=backend).fit(rows, "label")
    assert len(passes) == 3
    rows.unpersist()


# ---------------------------------------------------------------------------------------- backend


def test_solves_run_as_tasks_in_order(spark):
    def where(i):
        from pyspark import TaskContext

        return i, TaskContext.get() is not None

    backend = spark_backend(spark, solves="tasks")
    assert backend.map(where, range(5)) == [(i, True) for i in range(5)]
    assert backend.map(where, []) == []
    for near in (spark_backend(spark), spark_backend(spark, solves="driver")):
        assert near.map(where, range(5)) == [(i, False) for i in range(5)]
    with pytest.raises(ValueError, match="solves='there' is not known"):
        spark_backend(spark, solves="there").map(where, range(5))

    def fails(i):
        if i == 2:
            raise ValueError("no such thing")
        return i

    with pytest.raises(ValueError, match=r"no such thing \(item 2\)"):
        backend.map(fails, range(4))
    triple = [SufficientStatistics.from_data(np.eye(3) * i, [0, 1, 1]) for i in (1, 2, 3)]
    moved = backend.map(lambda s: s + s, triple)
    assert all(a == b + b for a, b in zip(moved, triple, strict=True))


@pytest.mark.parametrize("scoring", ["accuracy", "r2"])
def test_a_search_whose_solves_are_tasks(spark, digits, scoring):
    X, y, _ = digits
    rows = frame(spark, KINDS[0], X[:500], y[:500])
    near, far = (
        ParallelRidgeClassifierCV(
            ALPHAS, cv=3, scoring=scoring, backend=spark_backend(spark, solves=solves)
        ).fit(rows, "label")
        for solves in ("driver", "tasks")
    )
    for name in ("split0_test_score", "mean_test_score"):
        np.testing.assert_allclose(near.cv_results_[name], far.cv_results_[name], rtol=1e-9)


def test_a_backend_pickles_without_its_session(spark):
    backend = spark_backend(spark, depth=3, features=["a", "b"])
    again = pickle.loads(pickle.dumps(backend))
    assert again.session is None
    assert (again.depth, again.features) == (3, ["a", "b"])
    model = pickle.loads(pickle.dumps(ParallelRidgeClassifier(backend=backend)))
    assert model.backend.depth == 3


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    from parallel_ridge.backends.spark import check_java, import_pyspark

    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(BackendUnavailable, match=r"JAVA_HOME=.* has no bin/java.*openjdk-17"):
        check_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="no java on PATH"):
        check_java()
    monkeypatch.setitem(__import__("sys").modules, "pyspark", None)
    with pytest.raises(BackendUnavailable, match=r"Install parallel_ridge\[spark\]"):
        import_pyspark()
    with pytest.raises(BackendUnavailable, match=r"Install parallel_ridge\[spark\]"):
        get_backend("spark").live_session()


def test_executors_with_another_version_are_refused(spark, monkeypatch):
    from parallel_ridge.backends import spark as module

    monkeypatch.setattr(module._Checked, "applications", set())
    monkeypatch.setattr(module, "version", lambda name: "99.0")
    with pytest.raises(
        BackendUnavailable, match=r"parallel-ridge 0.*the driver .*parallel-ridge 99.0"
    ):
        module.check_executors(spark)


# ---------------------------------------------------------------------------------------- Spark ML


@pytest.fixture
def vectors(spark, digits):
    X, y, w = digits
    return frame(spark, Kind("dense", np.float64), X[:500], y[:500], w[:500] + 1)


def test_the_pyspark_ml_estimator(spark, digits, vectors, tmp_path):
    from parallel_ridge.spark import RidgeClassificationModel, RidgeClassifier

    X, y, w = digits
    X, y, w = X[:500], y[:500], w[:500] + 1
    estimator = RidgeClassifier(alpha=10.0, weightCol="w", standardization=True)
    model = estimator.fit(vectors)
    same = ParallelRidgeClassifier(10.0, standardize=True).fit(X * 1.0, y, sample_weight=w)
    np.testing.assert_allclose(
        model.coefficientMatrix.toArray(), same.coef_, atol=1e-10 * np.abs(same.coef_).max()
    )
    np.testing.assert_allclose(model.interceptVector.toArray(), same.intercept_, atol=1e-9)
    assert (model.numClasses, model.numFeatures) == (10, 64)
    rows = model.transform(vectors).collect()
    assert [row.prediction for row in rows] == same.predict(X).tolist()
    raw = np.array([row.rawPrediction.toArray() for row in rows])
    np.testing.assert_allclose(raw, same.decision_function(X * 1.0), atol=1e-9)
    path = str(tmp_path / "model")
    model.save(path)
    with pytest.raises(Exception, match="already exists"):
        model.save(path)
    model.write().overwrite().save(path)
    loaded = RidgeClassificationModel.load(path)
    assert loaded.uid == model.uid
    assert loaded.getAlpha() == 10.0
    again = loaded.transform(vectors).select("prediction").collect()
    assert [row[0] for row in again] == same.predict(X).tolist()
    estimator.save(str(tmp_path / "estimator"))
    assert RidgeClassifier.load(str(tmp_path / "estimator")).getWeightCol() == "w"


def test_the_pyspark_ml_model_does_what_models_do(spark, digits, vectors):
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.linalg import Vectors

    from parallel_ridge.spark import RidgeClassifier

    X, y, w = digits
    X, y, w = X[:500] * 1.0, y[:500], w[:500] + 1
    estimator = (
        RidgeClassifier(alpha=10.0, weightCol="w").setFitIntercept(False).setObjective("mean")
        .setStandardization(True).setPredictionCol("guess").setRawPredictionCol("values")
    )  # fmt: skip
    model = estimator.fit(vectors)
    options = {"fit_intercept": False, "objective": "mean", "standardize": True}
    same = ParallelRidgeClassifier(10.0, **options).fit(X, y, sample_weight=w)
    for row in (X[3], Vectors.dense(X[3]), Vectors.sparse(64, np.arange(64), X[3])):
        assert model.predict(row) == same.predict(X[3:4])[0] and isinstance(
            model.predict(row), float
        )
        np.testing.assert_allclose(
            model.predictRaw(row), same.decision_function(X[3:4])[0], atol=1e-9
        )
    summary = model.evaluate(vectors)
    assert {"guess", "values"} <= set(summary.predictions.columns)
    assert summary.accuracy == pytest.approx(same.score(X, y, w))
    evaluator = MulticlassClassificationEvaluator(predictionCol="guess", weightCol="w")
    for name in ("weightedPrecision", "weightedRecall"):
        expected = evaluator.setMetricName(name).evaluate(summary.predictions)
        assert getattr(summary, name) == pytest.approx(expected)
    expected = evaluator.setMetricName("weightedFMeasure").evaluate(summary.predictions)
    assert summary.weightedFMeasure() == pytest.approx(expected)
    model.setFeaturesCol("other").setPredictionCol("label of it").setRawPredictionCol("")
    answers = model.transform(vectors.withColumnRenamed("features", "other"))
    assert answers.columns[-1] == "label of it"


def test_a_pipeline_and_a_search_of_pyspark_ml(spark, digits, tmp_path):
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from pyspark.ml.feature import StringIndexer, VectorAssembler
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    from parallel_ridge.spark import RidgeClassifier

    X, y, _ = digits
    names = np.array([f"is {i}" for i in y[:300] > 4])
    rows = frame(spark, KINDS[7], X[:300], names)
    features = [name for name in rows.columns if name != "label"]
    stages = [
        StringIndexer(inputCol="label", outputCol="index"),
        VectorAssembler(inputCols=features, outputCol="vector"),
        RidgeClassifier(featuresCol="vector", labelCol="index", alpha=10.0),
    ]
    with pytest.raises(ValueError, match="index them with a StringIndexer"):
        RidgeClassifier(featuresCol="vector").fit(stages[1].transform(rows))
    fitted = Pipeline(stages=stages).fit(rows)
    fitted.save(str(tmp_path / "pipeline"))
    answers = PipelineModel.load(str(tmp_path / "pipeline")).transform(rows)
    right = [row.prediction == row["index"] for row in answers.collect()]
    assert np.mean(right) > 0.9
    prepared = fitted.stages[1].transform(fitted.stages[0].transform(rows)).cache()
    grid = ParamGridBuilder().addGrid(stages[2].alpha, [1.0, 1e9]).build()
    search = CrossValidator(
        estimator=stages[2],
        estimatorParamMaps=grid,
        evaluator=BinaryClassificationEvaluator(labelCol="index"),
        numFolds=2,
        seed=0,
    ).fit(prepared)
    assert search.bestModel.getAlpha() == 1.0
    assert search.avgMetrics[0] > 0.9
    prepared.unpersist()


# --------------------------------------------------------------------------------------- streaming


def test_the_streaming_example_learns_from_each_batch(spark, digits, tmp_path):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[1] / "examples" / "spark_streaming.py"
    spec = importlib.util.spec_from_file_location("spark_streaming", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    X, y, _ = digits
    for part in np.array_split(np.arange(len(y)), 3):
        rows = frame(spark, KINDS[0], X[part], y[part], partitions=1)
        rows.write.mode("append").parquet(str(tmp_path / "rows"))
    model = example.learn(spark, str(tmp_path / "rows"), str(tmp_path / "checkpoint"))
    same = ParallelRidgeClassifier().fit(X, y)
    np.testing.assert_array_equal(model.coef_, same.coef_)
    assert model.statistics_.n_samples == len(y)


@pytest.mark.parametrize(
    ("n", "depth", "rounds"),
    [
        (0, 2, []),
        (1, 1, []),
        (16, 2, []),
        (17, 2, [3]),
        (200, 1, []),
        (200, 2, [13]),
        (2000, 3, [153, 11]),
        (16, 3, [5]),
        (None, 3, [64, 8]),
        (None, 1, []),
    ],
)
def test_rounds_of_merging(n, depth, rounds):
    from parallel_ridge.backends.spark import _rounds

    assert _rounds(n, depth) == rounds
