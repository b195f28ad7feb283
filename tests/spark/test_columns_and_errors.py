"""Columns of features, bad rows, and small partitions."""

import numpy as np
import pytest
from _data.spark import ALPHAS, KINDS, Kind, assert_same_model, frame, spark_backend

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
)
from parallel_ridge.spark._tasks import Partials

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


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


def test_columns_are_named_and_not_passed(spark, digits):
    from pyspark.sql import functions as F

    X, y, w = digits
    rows = frame(spark, KINDS[0], X[:50], y[:50], w[:50])
    for model in (ParallelRidgeClassifier(), ParallelRidgeClassifierCV(ALPHAS, cv=3)):
        fitted = ParallelRidgeClassifier().fit(X[:50], y[:50])
        for call in (model.fit, fitted.score):
            for y_, weight, role in (
                (F.col("label"), None, "y"),
                (rows["label"], None, "y"),
                ("label", F.col("w"), "sample_weight"),
            ):
                with pytest.raises(
                    ValueError, match=f"^{role} of a DataFrame is the name of a column; got Column"
                ):
                    call(rows, y_, sample_weight=weight)
    with pytest.raises(ValueError, match="There is no column 'target'; the columns are"):
        fitted.score(rows, "target")
    with pytest.raises(ValueError, match="y of a DataFrame is the name of a column; got NoneType"):
        fitted.score(rows, None)


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
