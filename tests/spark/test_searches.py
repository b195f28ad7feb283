"""Searches over rows in Spark."""

import warnings

import numpy as np
import pytest
from _data.spark import ALPHAS, KINDS, assert_same_model, frame, kind_id, spark_backend

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    sufficient_statistics,
)

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


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
    original = type(backend).reduce_rows

    def counted(self, *args):
        passes.append(args[0])
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(backend), "reduce_rows", counted)
        ParallelRidgeClassifier(backend=backend).fit(rows, "label")
        assert len(passes) == 1
        ParallelRidgeClassifierCV(ALPHAS, cv=5, backend=backend).fit(rows, "label")
    assert len(passes) == 3
    rows.unpersist()


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
    triple = [sufficient_statistics(np.eye(3) * i, [0, 1, 1]) for i in (1, 2, 3)]
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
