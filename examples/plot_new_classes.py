"""
Classes that come one after the other
=====================================

A stream brings two new digits at a time, and no image is kept. Networks that are trained on it
forget the first digits; sums do not. Random projections through a ReLU make features, as on top of a
frozen network (RanPAC: McDonnell, Gong, Parvaneh, Abbasnejad and van den Hengel, 2023,
arXiv:2307.02251), and :meth:`~parallel_ridge.ParallelRidgeClassifierCV.partial_fit` adds their sums,
one per fold. So the penalty is chosen after each task, with no second look at any image.

It takes some ten seconds on two cores. Without MNIST, the small digits that come with scikit-learn
take its place.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from parallel_ridge import ParallelRidgeClassifierCV
from parallel_ridge.datasets import load_mnist
from parallel_ridge.model_selection import deal

try:
    mnist = load_mnist()
except FileNotFoundError:
    print("MNIST was not found (PARALLEL_RIDGE_DATA can name its folder).")
    name, n_features = "scikit-learn's digits", 400
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
else:
    name, n_features = "MNIST", 1000
    X_train, y_train = mnist.data[:20_000] / 255, mnist.target[:20_000]
    X_test, y_test = mnist.data_test / 255, mnist.target_test

# %%
# Features that need no training
# ------------------------------
# A random matrix stands in for a network. It never changes, so neither do the features of images that
# were seen long ago.
weights = np.random.default_rng(0).normal(size=(X_train.shape[1], n_features)) / 8


def features(X):
    """Random projections, cut off at zero."""
    return np.maximum(X @ weights, 0)


# %%
# Five tasks
# ----------
# Each task has the images of two digits, in batches. After each task the model is tested on all digits
# that it has seen.
tasks = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
alphas = np.logspace(-3, 4, 8)
warnings.filterwarnings("ignore", "The best alpha")  # of few rows it may be the largest

stream = ParallelRidgeClassifierCV(alphas)
seen, accuracies = [], []
for task in tasks:
    rows = np.flatnonzero(np.isin(y_train, task))
    for batch in np.array_split(rows, 10):
        stream.partial_fit(features(X_train[batch]), y_train[batch])
    seen += task
    known = np.isin(y_test, seen)
    accuracies.append(stream.score(features(X_test[known]), y_test[known]))
    print(
        f"after {task}: alpha={stream.alpha_:g}, accuracy on {len(seen)} digits {accuracies[-1]:.4f}"
    )

# %%
# Nothing was forgotten
# ---------------------
# A search that sees all images at once, with the same folds, finds the same alpha and the same
# coefficients, up to rounding.
order = np.concatenate([np.flatnonzero(np.isin(y_train, task)) for task in tasks])
folds = deal(0, len(order), 5)
splits = [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in range(5)]
joint = ParallelRidgeClassifierCV(alphas, cv=splits, scoring="neg_mean_squared_error")
joint.fit(features(X_train[order]), y_train[order])
difference = np.abs(stream.coef_ - joint.coef_).max() / np.abs(joint.coef_).max()
print(f"joint fit: alpha={joint.alpha_:g}; coefficients differ by {difference:.1g} of the largest")

# %%
# Accuracy after each task
# ------------------------
# It falls as there are more digits to tell apart, down to that of the joint fit.
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
numbers = [2 * (i + 1) for i in range(len(tasks))]
ax.plot(numbers, accuracies, marker="o", label="stream, after each task")
final = joint.score(features(X_test), y_test)
ax.axhline(final, color="grey", linestyle="--", label="fit to all images at once")
ax.set(
    xticks=numbers,
    xlabel="digits seen",
    ylabel="test accuracy",
    title=f"Two new digits at a time: {name}",
)
ax.legend()
plt.show()
