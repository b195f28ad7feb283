"""MNIST in Spark, on this machine: fit, choose alpha, predict and score, all in the executors
===========================================================================================

    PYSPARK_PYTHON=$(which python) python examples/spark_mnist.py

The digits that scikit-learn bundles take the place of MNIST where that is not found. On a cluster the
same program runs by ``spark-submit``: see docs/spark.md.
"""

import argparse
import os
import sys
import time

import numpy as np

from parallel_ridge import ParallelRidgeClassifierCV
from parallel_ridge.datasets import load_mnist


def digits():
    """Training and test images, and their labels."""
    try:
        mnist = load_mnist()
    except FileNotFoundError:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        X, y = load_digits(return_X_y=True)
        return train_test_split(X.astype(np.uint8), y, random_state=0)
    return mnist.data, mnist.data_test, mnist.target, mnist.target_test


def to_frame(session, X, y):
    """Images as a DataFrame: a column of bytes, which is the fastest, and one of labels."""
    import pandas as pd

    table = pd.DataFrame({"pixels": [row.tobytes() for row in X], "label": y.astype(np.int64)})
    return session.createDataFrame(table, "pixels binary, label long")


def main():
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", help="Parquet files of pixels (binary) and label (long)")
    parser.add_argument("--test", help="the same, to score on")
    arguments = parser.parse_args()
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("parallel_ridge: MNIST")
    if "SPARK_ENV_LOADED" not in os.environ:  # not started by spark-submit: on this machine
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.master("local[*]").config("spark.driver.memory", "2g")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    if arguments.train:
        train = session.read.parquet(arguments.train)
        test = session.read.parquet(arguments.test or arguments.train)
    else:
        X_train, X_test, y_train, y_test = digits()
        partitions = 2 * session.sparkContext.defaultParallelism
        train = to_frame(session, X_train, y_train).repartition(partitions)
        test = to_frame(session, X_test, y_test)
    train = train.cache()
    print(f"{train.count()} training rows in {train.rdd.getNumPartitions()} partitions")

    start = time.perf_counter()
    # Backend "auto" sees a DataFrame and chooses Spark. Folds are by a hash of the pixels.
    model = ParallelRidgeClassifierCV(np.logspace(-2, 10, 13), cv=5).fit(train, "label")
    print(f"alpha {model.alpha_:g}, chosen and fitted in {time.perf_counter() - start:.2f} s")
    print(f"accuracy of held-out folds {model.best_score_:.4f}")
    print(f"accuracy on the test rows  {model.score(test, 'label'):.4f}")
    model.predict(test).select("label", "prediction").show(5)
    session.stop()


if __name__ == "__main__":
    main()
