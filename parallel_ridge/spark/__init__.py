"""Spark: executors that fold their rows, and an estimator for `pyspark.ml`.

Importing this imports no PySpark; the names of `parallel_ridge.spark.ml` need it when they are used.
"""

from typing import Any

from parallel_ridge.spark._backend import SparkBackend

_ML = ("RidgeClassificationModel", "RidgeClassificationSummary", "RidgeClassifier")

__all__ = [
    "RidgeClassificationModel",
    "RidgeClassificationSummary",
    "RidgeClassifier",
    "SparkBackend",
]


def __getattr__(name: str) -> Any:
    if name in _ML:
        from parallel_ridge.spark import ml

        return getattr(ml, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
