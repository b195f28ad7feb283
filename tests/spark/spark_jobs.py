"""Jobs that the Spark tests run in processes of their own: a session for each, as a user starts one.

``python spark_jobs.py JOB`` prints what it found as JSON on its last line.
"""

import json
import os
import sys

import numpy as np
from sklearn.datasets import load_digits

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    sufficient_statistics,
)
from parallel_ridge.spark import SparkBackend

OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    "spark.executor.memory": "512m",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100",
}


def start(master, **more):
    """A new session."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master)
    for key, value in {**OPTIONS, **more}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


def digits():
    """Rows and labels."""
    X, y = load_digits(return_X_y=True)
    return X.astype(np.uint8), y


def frame(session, X, y, partitions=6):
    """Rows as bytes."""
    rows = [
        (bytearray(x.tobytes()), int(label), i)
        for i, (x, label) in enumerate(zip(X, y, strict=True))
    ]
    frame = session.createDataFrame(rows, "features binary, label int, id long")
    return frame.repartition(partitions, "id")


def same_bits(a, b):
    """Whether two models are equal."""
    return bool(np.array_equal(a.coef_, b.coef_) and np.array_equal(a.intercept_, b.intercept_))


def error_of(call):
    """Kind and message of the error that a call raises."""
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return None


def cluster(folder):
    """Two executors, each a process of its own; one is killed in the middle of a fit."""
    session = start("local-cluster[2,1,1024]")
    X, y = digits()
    rows = frame(session, X, y)
    backend = SparkBackend(session)
    expected = ParallelRidgeClassifier().fit(X, y)
    found = {"fit": same_bits(ParallelRidgeClassifier().fit(rows, "label"), expected)}
    found["arrays"] = same_bits(ParallelRidgeClassifier(backend=backend).fit(X, y), expected)
    search = ParallelRidgeClassifierCV([1e-2, 1e3, 1e8], cv=3).fit(rows, "label")
    found["search"] = search.best_score_
    found["executors"] = len(set(backend.map(lambda _: os.getppid(), range(8))))
    found["score"] = [expected.score(rows, "label"), expected.score(X, y)]

    flag = os.path.join(folder, "killed")

    def kill_once(batches):
        import os
        import signal

        from pyspark import TaskContext

        for number, batch in enumerate(batches):
            if number == 1 and TaskContext.get().partitionId() == 3:
                try:
                    os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    pass
                else:
                    # The executor: the parent of the daemon that is this worker's parent.
                    with open(f"/proc/{os.getppid()}/stat") as stat:
                        executor = int(stat.read().rsplit(")", 1)[1].split()[1])
                    os.kill(executor, signal.SIGKILL)
            yield batch

    doomed = rows.mapInArrow(kill_once, rows.schema)
    found["after a kill"] = same_bits(ParallelRidgeClassifier().fit(doomed, "label"), expected)
    found["killed"] = os.path.exists(flag)

    def fail_once(batches):

        from pyspark import TaskContext

        if TaskContext.get().attemptNumber() == 0:
            raise OSError("a disk that is busy")
        yield from batches

    flaky = rows.mapInArrow(fail_once, rows.schema)
    found["after errors"] = same_bits(ParallelRidgeClassifier().fit(flaky, "label"), expected)
    return found


def results(folder):
    """A driver that may hold little: a tree of results goes through where a flat one does not."""
    session = start("local[2]", **{"spark.driver.maxResultSize": "24m"})
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (400, 800), dtype=np.uint8), np.arange(400) % 2
    rows = frame(session, X, y, partitions=20)
    # 20 results of 2.5 MiB: all of them exceed the limit, and those of the tree's last level do not.

    def fit(depth):
        backend = SparkBackend(session, depth=depth)
        return ParallelRidgeClassifier(1e6, backend=backend).fit(rows, "label")

    expected = ParallelRidgeClassifier(1e6, solver="cholesky").fit(X, y)
    return {"tree": same_bits(fit(2), expected), "flat": error_of(lambda: fit(1))}


def stopped(folder):
    """A session that the user has stopped."""
    session = start("local[1]")
    X, y = digits()
    rows = frame(session, X[:100], y[:100])
    backend = SparkBackend(session)
    session.stop()
    return {
        "frame": error_of(lambda: ParallelRidgeClassifier().fit(rows, "label")),
        "arrays": error_of(lambda: ParallelRidgeClassifier(backend=backend).fit(X, y)),
    }


def stranger(folder):
    """Executors whose Python lacks the package."""
    session = start("local[1]")
    X, y = digits()
    rows = frame(session, X[:100], y[:100])
    return {"error": error_of(lambda: ParallelRidgeClassifier().fit(rows, "label"))}


def connect(folder):
    """Spark Connect: a server in another process, and no RDDs."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.remote("local[2]")
    for key, value in OPTIONS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    X, y = digits()
    rows = frame(session, X, y)
    found = {"module": type(rows).__module__}
    expected = ParallelRidgeClassifier().fit(X, y)
    model = ParallelRidgeClassifier().fit(rows, "label")
    found["fit"] = same_bits(model, expected)
    deep = ParallelRidgeClassifier(backend=SparkBackend(session, depth=3)).fit(rows, "label")
    found["deep"] = same_bits(deep, expected)
    found["score"] = [model.score(rows, "label"), expected.score(X, y)]
    answers = model.predict(rows).orderBy("id").select("prediction").collect()
    found["predict"] = [row[0] for row in answers] == expected.predict(X).tolist()
    search = ParallelRidgeClassifierCV([1e-2, 1e3, 1e8], cv=3).fit(rows, "label")
    found["search"] = search.best_score_
    backend = SparkBackend(session)
    found["arrays"] = same_bits(ParallelRidgeClassifier(backend=backend).fit(X, y), expected)
    found["map"] = backend.map(lambda i: i * i, range(5))
    bad = rows.selectExpr("if(id = 7, null, features) features", "label")
    found["null"] = error_of(lambda: ParallelRidgeClassifier().fit(bad, "label"))
    statistics = sufficient_statistics(rows, "label")
    found["statistics"] = statistics.n_samples
    session.stop()
    found["stopped"] = error_of(lambda: ParallelRidgeClassifier().fit(rows, "label"))
    return found


if __name__ == "__main__":
    jobs = {f.__name__: f for f in (cluster, results, stopped, stranger, connect)}
    print("\n" + json.dumps(jobs[sys.argv[1]](sys.argv[2])), flush=True)
