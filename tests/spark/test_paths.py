"""Spark refuses rows that this process would read, with the line to write; no session is needed."""

import pytest
from _data.streams import Anew, batches, digits, table

pytest.importorskip("pyspark")

from parallel_ridge import ParallelRidgeClassifier


@pytest.mark.parametrize("path", ["s3://bucket/rows", "rows.parquet", "data/*.parquet"])
def test_a_path_names_the_line_to_write(path):
    model = ParallelRidgeClassifier(backend="spark")
    fitted = ParallelRidgeClassifier(backend="spark").set_params(backend="openmp").fit(*digits())
    fitted.set_params(backend="spark")
    line = rf"spark\.read\.parquet\('{path.replace('*', '[*]')}'\)"
    for call in (
        lambda: model.fit(path, "label"),
        lambda: fitted.predict(path),
        lambda: fitted.score(path, "label"),
    ):
        with pytest.raises(TypeError, match=line):
            call()
    with pytest.raises(TypeError, match=r"spark\.read\.csv\('a\.csv'\)"):
        model.fit("a.csv", "label")


def test_tables_and_batches_are_refused():
    X, y = digits()
    model = ParallelRidgeClassifier(backend="spark")
    for rows, label in ((table(X, y), "label"), (Anew(batches(X, y)), None)):
        with pytest.raises(TypeError, match="backend='openmp'"):
            model.fit(rows, label)
