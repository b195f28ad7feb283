"""Predictions of a fitted estimator for rows in Spark."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parallel_ridge.reductions import AccuracyReduction, PathDecisions
from parallel_ridge.sources import FeatureRows, Features, Target
from parallel_ridge.spark._columns import (
    Samples,
    check_columns,
    check_roles,
    column,
    feature_columns,
    is_rdd,
    read_frame,
    read_rdd,
)
from parallel_ridge.spark._readers import Reader
from parallel_ridge.spark._tasks import settle_worker
from parallel_ridge.streams import read_features

if TYPE_CHECKING:
    from parallel_ridge.spark._backend import SparkBackend


def answer(backend: SparkBackend, model: Any, rows: Samples, method: str, name: str) -> Any:
    """The answers of a model's method: a DataFrame with an extra column, or an RDD of arrays.

    Both are evaluated lazily.

    Parameters
    ----------
    backend : SparkBackend
    model : fitted estimator
    rows : Samples
        A DataFrame, or an RDD of X or of (X, ...).
    method : str
    name : str
        Name of the new column; a column of that name is replaced.
    """
    X = rows.rows
    one = _Answer(_in_executors(model), method, rows.making)
    if is_rdd(X):
        return X.map(one.of_item)
    from pyspark.sql import functions
    from pyspark.sql import types as T

    columns = _columns(model, rows, backend)
    _check_single(X, columns)
    kind = _type(T, model, method)
    if hasattr(functions, "arrow_udf"):  # PySpark 4.1
        # The other columns stay in the JVM, so Arrow need not know their types.
        features = functions.struct(
            *(column(feature).alias(f"c{i}") for i, feature in enumerate(columns))
        )
        udf = functions.arrow_udf(_hinted(_Answering(one, columns)), kind)
        return X.withColumn(name, udf(features))
    given = [field for field in X.schema.fields if field.name != name]
    extra = [feature for feature in columns if feature not in {field.name for field in given}]
    frame = X.select(*(column(feature) for feature in [*(f.name for f in given), *extra]))
    positions = tuple(frame.columns.index(feature) for feature in columns)
    schema = T.StructType([*given, T.StructField(name, kind)])
    return frame.mapInArrow(_Appending(_Answering(one, columns), positions, len(given)), schema)


def score(backend: SparkBackend, model: Any, samples: Samples, y: Any, sample_weight: Any) -> float:
    """Accuracy of the predictions for a DataFrame's or an RDD's rows, in one pass; NaN without weight."""
    target = Target(model.classes_, model._multilabel)
    X, rows = samples.rows, None
    reader: Reader
    if is_rdd(X):
        rows, reader = X, read_rdd()
    else:
        check_roles(X.schema, y, sample_weight=sample_weight)
        rows, reader = read_frame(X, _columns(model, samples, backend), y, sample_weight)
    reader = replace(reader, target=target, unknown=len(target.classes), making=samples.making)
    coefs = np.atleast_2d(model.coef_)[None]
    intercepts = np.broadcast_to(np.atleast_1d(model.intercept_), coefs.shape[1])[None]
    decisions = PathDecisions(coefs, np.array(intercepts))
    weighted = sample_weight is not None or is_rdd(X)
    right, total = backend.reduce_rows(AccuracyReduction(decisions, weighted), rows, reader)
    return float(right / total) if total else float("nan")


def _check_single(X: Any, columns: tuple[str, ...]) -> None:
    """Raise if a feature column occurs twice, as after a join."""
    for name in columns:
        if X.columns.count(name) > 1:
            raise ValueError(
                f"The DataFrame has {X.columns.count(name)} columns {name!r}, and one of features is "
                "meant: drop or rename the others."
            )


def _columns(model: Any, rows: Samples, backend: SparkBackend) -> tuple[str, ...]:
    """Feature columns of a DataFrame for a model."""
    schema = rows.rows.schema
    if rows.making is not None:
        return feature_columns(schema, backend.features or rows.columns, [])
    names = getattr(model, "feature_columns_", None)
    if names is None and hasattr(model, "feature_names_in_"):
        names = tuple(model.feature_names_in_)
    if names is None or backend.features is not None:
        return feature_columns(schema, backend.features, [])
    check_columns(schema, names)
    return tuple(names)


def _in_executors(model: Any) -> Any:
    """A copy of a model for a task: one thread, no session, no statistics."""
    model = copy.copy(model)
    model.backend, model.n_jobs, model.memory = "openmp", 1, None
    for name in ("statistics_", "feature_names_in_", "loo_decision_", "_dealer"):
        vars(model).pop(name, None)
    return model


def _type(T: Any, model: Any, method: str) -> Any:
    """Type of the new column."""
    if method != "predict":
        double = T.DoubleType()
        one = model.coef_.ndim == 1 and method == "decision_function"
        return double if one else T.ArrayType(double, containsNull=False)
    if model._multilabel:
        return T.ArrayType(T.LongType(), containsNull=False)
    kind = model.classes_.dtype.kind
    if _is_beyond_long(model.classes_):
        return T.DecimalType(20, 0)
    return {"b": T.BooleanType, "i": T.LongType, "u": T.LongType, "f": T.DoubleType}.get(
        kind, T.StringType
    )()


def _is_beyond_long(classes: Any) -> bool:
    """Whether labels include integers beyond Spark's LongType."""
    return bool(classes.dtype.kind == "u" and classes.max() >= 2**63)


@dataclass(frozen=True)
class _Answer:
    """A method of a model, on the rows of a partition."""

    model: Any
    method: str
    making: Features | None = None

    def __call__(self, X: Any) -> Any:
        rows = X if self.making is None else FeatureRows(X, self.making)
        return getattr(self.model, self.method)(rows)

    def of_item(self, item: Any) -> Any:
        """Answer to an item of an RDD: an array, or a tuple that begins with one."""
        return self(item[0] if isinstance(item, tuple | list) else item)


@dataclass(frozen=True)
class _Answering:
    """Turns structs of features into answers."""

    answer: _Answer
    names: tuple[str, ...]

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        settle_worker()
        start = 0
        for batch in batches:
            yield self.of_columns(batch.flatten(), start)
            start += len(batch)

    def of_columns(self, columns: list[Any], start: int) -> Any:
        """Answers to the rows of some columns; ``start`` is the first one's place in its partition."""
        import pyarrow as pa
        from pyspark import TaskContext

        try:
            if not len(columns[0]):
                return pa.array([], pa.float64())
            values = self.answer(read_features(columns, self.names, start))
            if self.answer.method == "predict" and _is_beyond_long(self.answer.model.classes_):
                return pa.array(values).cast(pa.decimal128(20, 0))
            return _as_arrow(pa, values)
        except ValueError as error:
            context = TaskContext.get()
            partition = context.partitionId() if context else 0
            raise ValueError(f"{error} (rows from {start} of partition {partition})") from error


def _hinted(answering: _Answering) -> Any:
    """A function whose type hints tell Spark to pass it a partition's batches one by one."""
    import pyarrow as pa

    def answers(batches: Any) -> Any:
        yield from answering(batches)

    answers.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    return answers


@dataclass(frozen=True)
class _Appending:
    """Batches with an extra column, for PySpark before 4.1."""

    answering: _Answering
    positions: tuple[int, ...]
    n_kept: int

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        settle_worker()
        start = 0
        for batch in batches:
            if not batch.num_rows:
                continue
            features = [batch.column(i) for i in self.positions]
            values = self.answering.of_columns(features, start)
            start += batch.num_rows
            columns = [*batch.columns[: self.n_kept], values]
            names = [*batch.schema.names[: self.n_kept], "answer"]
            yield pa.RecordBatch.from_arrays(columns, names=names)


def _as_arrow(pa: Any, values: Any) -> Any:
    """Answers as an Arrow array; of lists if a row has several."""
    if values.ndim == 1:
        if values.dtype.kind in "iu":
            return pa.array(values.astype(np.int64))
        if values.dtype.kind == "f":
            return pa.array(values.astype(np.float64))
        return pa.array(values.tolist()) if values.dtype.kind != "b" else pa.array(values)
    kind = np.int64 if values.dtype.kind in "iu" else np.float64
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    flat = pa.array(np.ascontiguousarray(values, dtype=kind).reshape(-1))
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
