"""Columns of a DataFrame, and their roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from parallel_ridge.sources import Features, FeaturesElsewhere
from parallel_ridge.spark._readers import BatchReader, BlockReader, Groups
from parallel_ridge.streams import check_names, choose_features


class Samples(NamedTuple):
    """A DataFrame or an RDD, and what makes features of its rows.

    Attributes
    ----------
    rows : DataFrame or RDD
    making : Features, or None
        None if the rows are the features.
    columns : tuple of str, or None
        Columns of the samples of a DataFrame; those of the backend when None.
    """

    rows: Any
    making: Features | None = None
    columns: tuple[str, ...] | None = None

    @classmethod
    def of(cls, X: Any) -> Samples:
        """What the user passed, or a pipeline."""
        if isinstance(X, FeaturesElsewhere):
            return cls(X.samples, X.features, X.columns)
        return cls(X)


NUMBERS = ("byte", "short", "integer", "long", "float", "double", "boolean", "decimal")


def is_frame(X: Any) -> bool:
    """Whether X is a Spark DataFrame; imports nothing to find out."""
    return _has_base(X, "DataFrame") and hasattr(X, "mapInArrow")


def is_rdd(X: Any) -> bool:
    """Whether X is an RDD; imports nothing to find out."""
    return _has_base(X, "RDD")


def is_spark(X: Any) -> bool:
    """Whether X is a Spark DataFrame or RDD.

    Raises
    ------
    TypeError
        If X is an object of pandas on Spark.
    """
    if any(base.__module__.startswith("pyspark.pandas.") for base in type(X).__mro__):
        raise TypeError(
            f"X is a {type(X).__name__} of pandas on Spark: pass the Spark DataFrame, X.to_spark(), and "
            "names of its columns."
        )
    return is_frame(X) or is_rdd(X)


def _has_base(X: Any, name: str) -> bool:
    return any(
        base.__name__ == name and base.__module__.split(".")[0] == "pyspark"
        for base in type(X).__mro__
    )


def feature_columns(schema: Any, features: Any, others: Sequence[str | None]) -> tuple[str, ...]:
    """Names of the columns that hold features.

    Parameters
    ----------
    schema : pyspark.sql.types.StructType
    features : str, sequence of str, or None
        See `SparkBackend`.
    others : sequence of str or None
        Columns with other roles.

    Raises
    ------
    ValueError
        If there are none, or several of whole rows; the message names the columns.
    """
    fields = {field.name: field.dataType for field in schema.fields}
    kinds = {
        name: "rows" if _holds_rows(kind) else "number" if kind.typeName() in NUMBERS else "other"
        for name, kind in fields.items()
    }
    return choose_features(kinds, features, others, "SparkBackend(features=...)")


def check_roles(schema: Any, y: Any, **others: Any) -> list[str]:
    """Names of the columns with roles in a DataFrame.

    Parameters
    ----------
    schema : pyspark.sql.types.StructType
    y : str
    **others : str or None
        Further roles; None if no column has it.

    Raises
    ------
    ValueError
        If one is no name (a `Column`, an array), or if there is no such column.
    """
    roles = {"y": y, **{role: name for role, name in others.items() if name is not None}}
    for role, name in roles.items():
        if not isinstance(name, str):
            raise ValueError(
                f"{role} of a DataFrame is the name of a column; got {type(name).__name__} {name!r}."
            )
    check_columns(schema, list(roles.values()))
    return list(roles.values())


def check_columns(schema: Any, names: Sequence[str]) -> None:
    """Raise unless a DataFrame has these columns."""
    check_names([field.name for field in schema.fields], names)


def _holds_rows(kind: Any) -> bool:
    if kind.typeName() == "array":
        return kind.elementType.typeName() in NUMBERS
    return kind.typeName() == "binary" or type(kind).__name__ == "VectorUDT"


def is_number(schema: Any, name: str) -> bool:
    """Whether a column holds numbers."""
    return next(f.dataType for f in schema.fields if f.name == name).typeName() in NUMBERS


def read_frame(
    frame: Any,
    features: tuple[str, ...],
    label: str | None = None,
    weight: str | None = None,
    group: Any = None,
    groups: Groups | None = None,
) -> tuple[Any, BatchReader]:
    """Select the columns that a reader needs, in its order; return them and the reader.

    Parameters
    ----------
    group : pyspark.sql.Column, default=None
        Column with each row's value in `groups`.
    """
    names = [*features, *(name for name in (label, weight) if name is not None)]
    columns = [column(name).alias(f"c{i}") for i, name in enumerate(names)]
    if group is not None:
        columns.append(group.alias("fold"))
    reader = BatchReader(groups=groups, features=features, label=label, weight=weight)
    return frame.select(*columns), reader


def column(name: str) -> Any:
    """A column by its name, with any characters."""
    from pyspark.sql import functions as F

    return F.col("`" + name.replace("`", "``") + "`")


def read_rdd(n_folds: int = 0) -> BlockReader:
    """Reader of an RDD of arrays."""
    groups = Groups(np.arange(n_folds, dtype=np.uint64), tuple(range(n_folds))) if n_folds else None
    return BlockReader(groups=groups, n_folds=n_folds)
