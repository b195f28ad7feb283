"""The estimator of pyspark.ml, pipelines and streaming."""

import numpy as np
import pytest
from _data.spark import KINDS, Kind, frame

from parallel_ridge import (
    ParallelRidgeClassifier,
)

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


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


def test_the_streaming_example_learns_from_each_batch(spark, digits, tmp_path):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "examples" / "spark_streaming.py"
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
