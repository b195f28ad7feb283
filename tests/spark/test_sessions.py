"""Sessions and executors: settings, versions, merging."""

import pickle

import numpy as np
import pytest
from _data.spark import Kind, frame, spark_backend

from parallel_ridge import (
    BackendUnavailable,
    ParallelRidgeClassifier,
    get_backend,
)
from parallel_ridge.spark._session import BATCH_KEY, short_batches

# PySpark's own, which it meets in itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


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


def test_a_backend_pickles_without_its_session(spark):
    backend = spark_backend(spark, depth=3, features=["a", "b"])
    again = pickle.loads(pickle.dumps(backend))
    assert again.session is None
    assert (again.depth, again.features) == (3, ["a", "b"])
    model = pickle.loads(pickle.dumps(ParallelRidgeClassifier(backend=backend)))
    assert model.backend.depth == 3


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    from parallel_ridge.spark._session import check_java, import_pyspark

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
    from parallel_ridge.spark import _session as module

    monkeypatch.setattr(module._Checked, "applications", set())
    monkeypatch.setattr(module, "version", lambda name: "99.0")
    with pytest.raises(
        BackendUnavailable, match=r"parallel-ridge 0.*the driver .*parallel-ridge 99.0"
    ):
        module.check_executors(spark)


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
    from parallel_ridge.spark._tasks import merging_rounds

    assert merging_rounds(n, depth) == rounds
