"""Learn from a stream: each micro-batch of Spark Structured Streaming is one `partial_fit`
========================================================================================

    python examples/spark_streaming.py

Writes the digits that scikit-learn bundles as files, a few at a time, and learns from each as it
arrives. Sufficient statistics add, so that after the last file the model is that of one fit to all.
"""

import tempfile

import numpy as np
from sklearn.datasets import load_digits

from parallel_ridge import ParallelRidgeClassifier


def learn(session, folder, checkpoint, model=None):
    """Learn from all Parquet files of a folder, one file a micro-batch, in the order they came.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
    folder, checkpoint : str
        Where files arrive, and where Spark notes which ones were read.
    model : ParallelRidgeClassifier, default=None
        To go on from.

    Returns
    -------
    ParallelRidgeClassifier
    """
    model = ParallelRidgeClassifier() if model is None else model
    stream = (
        session.readStream.schema("features binary, label long")
        .option("maxFilesPerTrigger", 1)
        .parquet(folder)
    )

    def learn_batch(batch, number):
        # Spark may hand over a batch again after a failure: a model that outlives the process would
        # keep the number of its last batch beside its statistics, and skip those it knows.
        if not batch.isEmpty():
            model.partial_fit(batch, "label", classes=range(10))
            print(f"batch {number}: {model.statistics_.n_samples} rows so far")

    query = (
        stream.writeStream.foreachBatch(learn_batch)
        .option("checkpointLocation", checkpoint)
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return model


def main():
    """Write some files, and learn from them."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for part in np.array_split(np.arange(1500), 5):
            rows = [
                (bytearray(x.tobytes()), int(label))
                for x, label in zip(X[part], y[part], strict=True)
            ]
            frame = session.createDataFrame(rows, "features binary, label long").coalesce(1)
            frame.write.mode("append").parquet(f"{folder}/rows")
        model = learn(session, f"{folder}/rows", f"{folder}/checkpoint")
    print(f"accuracy on {len(y) - 1500} other digits: {model.score(X[1500:], y[1500:]):.3f}")
    session.stop()


if __name__ == "__main__":
    main()
