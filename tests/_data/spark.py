"""Data and comparisons that tests of spark share."""

import numpy as np

ALPHAS = [1e-2, 1e3, 1e8]  # the best of them is never at an end


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


def assert_same_model(a, b, rtol=1e-12):
    np.testing.assert_array_equal(a.classes_, b.classes_)
    scale = np.abs(b.coef_).max()
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(a.intercept_, b.intercept_, rtol=0, atol=rtol * max(1, scale) * 64)
    assert a.coef_.dtype == b.coef_.dtype


def spark_backend(spark, **options):
    from parallel_ridge.spark import SparkBackend

    return SparkBackend(spark, **options)
