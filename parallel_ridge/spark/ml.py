"""Ridge classification as an estimator of `pyspark.ml`, for its pipelines and searches.

Needs PySpark: ``pip install parallel_ridge[spark]``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.estimators import ParallelRidgeClassifier
from parallel_ridge.spark._answers import answer
from parallel_ridge.spark._backend import SparkBackend
from parallel_ridge.spark._columns import Samples
from parallel_ridge.spark._session import check_session, import_pyspark

import_pyspark()  # first a clear error if it is missing

import pyspark  # noqa: E402
from pyspark import keyword_only  # noqa: E402
from pyspark.ml.base import Estimator, Model  # noqa: E402
from pyspark.ml.param import Param, Params, TypeConverters  # noqa: E402
from pyspark.ml.param.shared import (  # noqa: E402
    HasFeaturesCol,
    HasFitIntercept,
    HasLabelCol,
    HasPredictionCol,
    HasRawPredictionCol,
    HasWeightCol,
)
from pyspark.ml.util import (  # noqa: E402
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)


class _RidgeParams(
    HasFeaturesCol,
    HasLabelCol,
    HasPredictionCol,
    HasRawPredictionCol,
    HasWeightCol,
    HasFitIntercept,
):
    """Parameters of both."""

    alpha: Param[float] = Param(
        Params._dummy(),
        "alpha",
        "Penalty of squared weights, not negative.",
        typeConverter=TypeConverters.toFloat,
    )
    objective: Param[str] = Param(
        Params._dummy(),
        "objective",
        "'sum', or 'mean', which divides the loss by the sum of weights.",
        typeConverter=TypeConverters.toString,
    )
    standardization: Param[bool] = Param(
        Params._dummy(),
        "standardization",
        "Whether to penalise the weights of features of unit variance.",
        typeConverter=TypeConverters.toBoolean,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            alpha=1.0, objective="sum", standardization=False, fitIntercept=True,
            featuresCol="features", labelCol="label",
            predictionCol="prediction", rawPredictionCol="rawPrediction",
        )  # fmt: skip

    def getAlpha(self) -> float:
        """Value of `alpha`."""
        return float(self.getOrDefault(self.alpha))

    def getObjective(self) -> str:
        """Value of `objective`."""
        return str(self.getOrDefault(self.objective))

    def getStandardization(self) -> bool:
        """Value of `standardization`."""
        return bool(self.getOrDefault(self.standardization))


class RidgeClassifier(
    _RidgeParams,
    Estimator["RidgeClassificationModel"],
    DefaultParamsReadable["RidgeClassifier"],
    DefaultParamsWritable,
):
    """Ridge classifier for `pyspark.ml`: one pass over the rows, and a small solve in the driver.

    Parameters
    ----------
    featuresCol, labelCol : str, default="features", "label"
        A column of vectors, of arrays of numbers, or binary (one byte per feature); and one of numbers.
        As everywhere in `pyspark.ml`, labels are numbers: index strings first (`StringIndexer`).
    predictionCol, rawPredictionCol : str, default="prediction", "rawPrediction"
        Columns that the model adds: the label, and a vector of decision values, one per class.
    weightCol : str, default=None
        Column of the rows' weights.
    alpha : float, default=1.0
    objective : {"sum", "mean"}, default="sum"
    standardization : bool, default=False
    fitIntercept : bool, default=True
        See :class:`~parallel_ridge.ParallelRidgeClassifier`.
    """

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: str = "features",
        labelCol: str = "label",
        predictionCol: str = "prediction",
        rawPredictionCol: str = "rawPrediction",
        weightCol: str | None = None,
        alpha: float = 1.0,
        objective: str = "sum",
        standardization: bool = False,
        fitIntercept: bool = True,
    ) -> None:
        super().__init__()
        self._set(**self._input_kwargs)

    @keyword_only
    def setParams(self, **parameters: Any) -> Self:
        """Set parameters by name."""
        self._set(**self._input_kwargs)
        return self

    def setAlpha(self, value: float) -> Self:
        """Set `alpha`."""
        return self._set(alpha=value)

    def setFeaturesCol(self, value: str) -> Self:
        """Set `featuresCol`."""
        return self._set(featuresCol=value)

    def setLabelCol(self, value: str) -> Self:
        """Set `labelCol`."""
        return self._set(labelCol=value)

    def setWeightCol(self, value: str) -> Self:
        """Set `weightCol`."""
        return self._set(weightCol=value)

    def setPredictionCol(self, value: str) -> Self:
        """Set `predictionCol`."""
        return self._set(predictionCol=value)

    def setRawPredictionCol(self, value: str) -> Self:
        """Set `rawPredictionCol`."""
        return self._set(rawPredictionCol=value)

    def setFitIntercept(self, value: bool) -> Self:
        """Set `fitIntercept`."""
        return self._set(fitIntercept=value)

    def setObjective(self, value: str) -> Self:
        """Set `objective`."""
        return self._set(objective=value)

    def setStandardization(self, value: bool) -> Self:
        """Set `standardization`."""
        return self._set(standardization=value)

    def _fit(self, dataset: Any) -> RidgeClassificationModel:
        weight = self.getWeightCol() if self.isDefined(self.weightCol) else None
        fitted = ParallelRidgeClassifier(
            self.getAlpha(),
            fit_intercept=self.getFitIntercept(),
            objective=self.getObjective(),
            standardize=self.getStandardization(),
            backend=SparkBackend(features=self.getFeaturesCol()),
        ).fit(dataset, self.getLabelCol(), sample_weight=weight)
        if fitted.classes_.dtype.kind not in "biuf":
            raise ValueError(
                f"Labels in {self.getLabelCol()!r} are {fitted.classes_.tolist()[:5]}; those of "
                "pyspark.ml are numbers: index them with a StringIndexer."
            )
        labels = fitted.classes_.astype(np.float64)
        pairs = zip(fitted.classes_.tolist(), labels.tolist(), strict=True)
        lost = [label for label, double in pairs if label != double]  # Python compares exactly
        if lost:
            raise ValueError(
                f"Labels of pyspark.ml are doubles, which do not hold the label {lost[0]} of "
                f"{self.getLabelCol()!r}: index them with a StringIndexer."
            )
        content = _Content(
            np.atleast_2d(fitted.coef_),
            np.array(np.broadcast_to(fitted.intercept_, len(np.atleast_2d(fitted.coef_)))),
            labels,
        )
        return self._copyValues(RidgeClassificationModel(content))


@dataclass
class _Content:
    """What a model has learnt.

    Attributes
    ----------
    coef : ndarray of shape (t, d)
        One row for two classes.
    intercept : ndarray of shape (t,)
    classes : ndarray of shape (k,), float64
    """

    coef: NDArray[Any]
    intercept: NDArray[Any]
    classes: NDArray[np.float64]


@dataclass
class _Values:
    """Decision values of every class, as `rawPrediction` has them, in an executor."""

    content: _Content
    backend: Any = None
    n_jobs: int = 1
    memory: Any = None

    @property
    def coef_(self) -> NDArray[Any]:
        """Weights of all targets: `answer` looks at their number of axes."""
        return self.content.coef

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Values of shape (n, k)."""
        values = self._fitted().decision_function(X).astype(np.float64)
        return np.column_stack([-values, values]) if values.ndim == 1 else values

    def _fitted(self) -> ParallelRidgeClassifier:
        model, content = ParallelRidgeClassifier(backend="openmp", n_jobs=1), self.content
        model.classes_, model._multilabel = content.classes, False
        model.n_features_in_ = content.coef.shape[1]
        model.coef_ = content.coef[0] if len(content.classes) == 2 else content.coef
        model.intercept_ = content.intercept
        return model


class RidgeClassificationModel(
    _RidgeParams, Model, MLReadable["RidgeClassificationModel"], MLWritable
):
    """Model fitted by :class:`RidgeClassifier`.

    Its `transform` adds the decision values and the predicted label to each row.
    """

    def __init__(self, content: _Content | None = None) -> None:
        super().__init__()
        self._content = content

    @property
    def coefficientMatrix(self) -> Any:
        """Weights, a row for each class (one for two classes), as a `DenseMatrix`."""
        from pyspark.ml.linalg import DenseMatrix

        coef = self._learnt.coef.astype(np.float64)
        return DenseMatrix(coef.shape[0], coef.shape[1], coef.ravel(order="F"))

    @property
    def interceptVector(self) -> Any:
        """Intercepts, one for each row of the matrix, as a `DenseVector`."""
        from pyspark.ml.linalg import DenseVector

        return DenseVector(self._learnt.intercept.astype(np.float64))

    @property
    def classes(self) -> NDArray[np.float64]:
        """Labels in ascending order."""
        return self._learnt.classes

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        return len(self._learnt.classes)

    @property
    def numFeatures(self) -> int:
        """Number of features."""
        return int(self._learnt.coef.shape[1])

    def setFeaturesCol(self, value: str) -> Self:
        """Set `featuresCol`."""
        return self._set(featuresCol=value)

    def setPredictionCol(self, value: str) -> Self:
        """Set `predictionCol`."""
        return self._set(predictionCol=value)

    def setRawPredictionCol(self, value: str) -> Self:
        """Set `rawPredictionCol`."""
        return self._set(rawPredictionCol=value)

    def predictRaw(self, value: Any) -> Any:
        """Decision values of one row, of each class, as a `DenseVector`.

        Parameters
        ----------
        value : pyspark.ml.linalg.Vector or array-like of shape (d,)
        """
        from pyspark.ml.linalg import DenseVector

        row = np.asarray(value.toArray() if hasattr(value, "toArray") else value, dtype=np.float64)
        return DenseVector(_Values(self._learnt).decision_function(row.reshape(1, -1))[0])

    def predict(self, value: Any) -> float:
        """Label of one row.

        Parameters
        ----------
        value : pyspark.ml.linalg.Vector or array-like of shape (d,)
        """
        return float(self.classes[int(np.argmax(self.predictRaw(value).toArray()))])

    def evaluate(self, dataset: Any) -> RidgeClassificationSummary:
        """What predictions for a data set with labels are worth.

        Parameters
        ----------
        dataset : DataFrame
            With the columns of features, labels and, if it was set, weights.
        """
        weight = self.getWeightCol() if self.isDefined(self.weightCol) else None
        predictions = self.transform(dataset)
        return RidgeClassificationSummary(
            predictions, self.getLabelCol(), self.getPredictionCol(), weight
        )

    def copy(self, extra: Any = None) -> RidgeClassificationModel:
        """Copy with other values of parameters."""
        copied: RidgeClassificationModel = super().copy(extra)
        copied._content = self._content
        return copied

    def write(self) -> MLWriter:
        """Writer: JSON for the parameters, and arrays (npz, nothing pickled) for what was learnt."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[RidgeClassificationModel]:
        """Reader of what `write` wrote."""
        return _Reader()

    @property
    def _learnt(self) -> _Content:
        assert self._content is not None
        return self._content

    def _transform(self, dataset: Any) -> Any:
        from pyspark.ml.functions import array_to_vector
        from pyspark.sql import functions as F

        raw, prediction = self.getRawPredictionCol(), self.getPredictionCol()
        backend = SparkBackend(features=self.getFeaturesCol())
        values = _Values(self._learnt, backend)
        name = raw or "rawPrediction of RidgeClassifier"
        frame = answer(backend, values, Samples(dataset), "decision_function", name)
        if prediction:
            labels = F.array(*map(F.lit, self._learnt.classes.tolist()))
            scores = "`" + name.replace("`", "``") + "`"
            # In SQL: before PySpark 4 the function takes no column for the value.
            best = F.expr(f"cast(array_position({scores}, array_max({scores})) as int)")
            frame = frame.withColumn(prediction, F.element_at(labels, best))
        if raw:
            return frame.withColumn(raw, array_to_vector(frame[f"`{raw}`"]))
        return frame.drop(name)


@dataclass(frozen=True)
class RidgeClassificationSummary:
    """Metrics of predictions, by `pyspark.ml.evaluation`; each takes a pass when it is asked for.

    Attributes
    ----------
    predictions : DataFrame
        The data set with the model's columns.
    labelCol, predictionCol : str
    weightCol : str or None
    """

    predictions: Any
    labelCol: str
    predictionCol: str
    weightCol: str | None = None

    @property
    def accuracy(self) -> float:
        """Part of the rows whose label is right."""
        return self._metric("accuracy")

    @property
    def weightedPrecision(self) -> float:
        """Precision of the labels, averaged by how often they are."""
        return self._metric("weightedPrecision")

    @property
    def weightedRecall(self) -> float:
        """Recall of the labels, averaged by how often they are."""
        return self._metric("weightedRecall")

    def weightedFMeasure(self, beta: float = 1.0) -> float:
        """F-measure of the labels, averaged by how often they are."""
        return self._metric("weightedFMeasure", beta=beta)

    def _metric(self, name: str, **options: Any) -> float:
        from pyspark.ml.evaluation import MulticlassClassificationEvaluator

        if not self.predictionCol:
            raise ValueError("The model adds no predictions: set predictionCol.")
        if self.weightCol is not None:
            options["weightCol"] = self.weightCol
        return float(
            MulticlassClassificationEvaluator(
                labelCol=self.labelCol,
                predictionCol=self.predictionCol,
                metricName=name,  # type: ignore[arg-type]  # a literal there
                **options,
            ).evaluate(self.predictions)
        )


def _holder(session: Any) -> Any:
    """What metadata are written with: a session, or before PySpark 4 its context."""
    return session if int(pyspark.__version__.split(".")[0]) >= 4 else session.sparkContext


class _Writer(MLWriter):
    """Parameters as Spark writes them, and one row of bytes beside."""

    def __init__(self, model: RidgeClassificationModel) -> None:
        super().__init__()
        self.model = model

    def saveImpl(self, path: str) -> None:
        """Write to a folder, wherever Spark can write."""
        session, content = self.sparkSession, self.model._learnt
        check_session(session)
        stream = io.BytesIO()
        np.savez(stream, coef=content.coef, intercept=content.intercept, classes=content.classes)
        DefaultParamsWriter.saveMetadata(
            self.model, path, _holder(session), extraMetadata={"format": "npz", "version": 1}
        )
        frame = session.createDataFrame([(bytearray(stream.getvalue()),)], "npz binary")
        frame.coalesce(1).write.parquet(f"{path}/data")


class _Reader(MLReader[RidgeClassificationModel]):
    """Reads what `_Writer` wrote."""

    def load(self, path: str) -> RidgeClassificationModel:
        """Read from a folder."""
        session = self.sparkSession
        metadata = DefaultParamsReader.loadMetadata(path, _holder(session))
        if metadata["version"] > 1:
            raise ValueError(
                f"{path} was written by a newer parallel_ridge: its version is "
                f"{metadata['version']}, and 1 is the newest that this one reads."
            )
        (row,) = session.read.parquet(f"{path}/data").collect()
        with np.load(io.BytesIO(bytes(row[0])), allow_pickle=False) as arrays:
            content = _Content(arrays["coef"], arrays["intercept"], arrays["classes"])
        model = RidgeClassificationModel(content)
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
