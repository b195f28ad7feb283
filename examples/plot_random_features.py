"""
Past a linear classifier: random features
=========================================

A linear classifier of pixels weighs each pixel by itself. Random features let the same estimator
see shapes: thousands of cosines of random projections, whose inner products are close to a Gaussian
kernel (Rahimi and Recht, 2007). They make rows as wide as you like, and what is left to do is a
ridge classifier on many rows and thousands of columns: what this library is fast at. All 4,000 features
of 60,000 images would take a gigabyte; a :class:`~parallel_ridge.BlockPipeline` makes them of a block of
images at a time, on their way into the fit.

It takes about a minute on two cores. Without MNIST, the small digits that come with scikit-learn
take its place.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import FunctionTransformer

from parallel_ridge import ParallelRidgeClassifierCV, make_block_pipeline
from parallel_ridge.datasets import load_mnist

try:
    mnist = load_mnist()
except FileNotFoundError:
    print("MNIST was not found (PARALLEL_RIDGE_DATA can name its folder).")
    name, shape, brightest, gamma = "scikit-learn's digits", (8, 8), 16, 0.2
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
else:
    name, shape, brightest, gamma = "MNIST", mnist.image_shape, 255, 0.02
    X_train, y_train = mnist.data, mnist.target
    X_test, y_test = mnist.data_test, mnist.target_test
print(f"{len(X_train)} images of {name} to train on, {len(X_test)} to test on")

# %%
# Upright digits
# --------------
# People write at a slant. The second moments of an image tell how much, and shearing it by as much
# puts the digit upright and in the middle: every later step sees digits that differ less.


def upright(X):
    """Images, sheared so that the axis of their ink is vertical, with pixels from 0 to 1, float32."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    out = np.empty(X.shape, np.float32)
    for start in range(0, len(X), 2000):  # few at a time, for the cache
        part = slice(start, start + 2000)
        images = X[part].reshape(-1, height, width).astype(np.float32) / brightest
        ink = images.sum(axis=(1, 2))
        x, y = ((images * grid).sum(axis=(1, 2)) / ink for grid in (columns, rows))
        down, right = rows - y[:, None, None], columns - x[:, None, None]
        slant = (images * down * right).sum(axis=(1, 2)) / (images * down**2).sum(axis=(1, 2))
        at = columns + slant[:, None, None] * down + (x - (width - 1) / 2)[:, None, None]
        at = at.clip(0, width - 1)
        left = np.minimum(at.astype(np.intp), width - 2)
        a, b = (np.take_along_axis(images, left + i, axis=2) for i in (0, 1))
        out[part] = (a + (at - left) * (b - a)).reshape(len(images), -1)
    return out


shown = [int(np.flatnonzero(y_train == digit)[0]) for digit in range(10)]
figure, axes = plt.subplots(2, 10, figsize=(8, 1.9), layout="constrained")
for images, row, title in zip(
    (X_train[shown], upright(X_train[shown])), axes, ("written", "upright"), strict=True
):
    for image, ax in zip(images, row, strict=True):
        ax.imshow(image.reshape(shape), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(title)
plt.show()

# %%
# A pipeline
# ----------
# The transformers are scikit-learn's. The last step chooses its penalty from five folds: blocks of images
# go through the transformers once for the sums, and once more for the scores.

alphas = np.logspace(-6, 3, 4)


def classifier(n_features):
    """The pipeline with some number of random features."""
    return make_block_pipeline(
        FunctionTransformer(upright),
        RBFSampler(gamma=gamma, n_components=n_features, random_state=0),
        ParallelRidgeClassifierCV(alphas, cv=5),
    )


start = perf_counter()
pixels = ParallelRidgeClassifierCV(np.logspace(2, 10, 9), cv=5).fit(X_train, y_train)
baseline = pixels.score(X_test, y_test)
print(f"{'features':>8} {'alpha':>8} {'seconds':>8} {'test accuracy':>14}")
print(f"{'pixels':>8} {pixels.alpha_:>8g} {perf_counter() - start:>8.1f} {baseline:>14.4f}")

numbers, accuracies = [250, 1000, 4000], []
for number in numbers:
    start = perf_counter()
    model = classifier(number).fit(X_train, y_train)
    accuracies.append(model.score(X_test, y_test))
    seconds = perf_counter() - start
    print(f"{number:>8} {model[-1].alpha_:>8g} {seconds:>8.1f} {accuracies[-1]:>14.4f}")

# %%
# More features, fewer errors
# ---------------------------
# Each fourfold number of features takes away a good part of the errors that are left.
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.axhline(100 * (1 - baseline), color="grey", linestyle="--")
ax.text(numbers[-1], 100 * (1 - baseline), "pixels alone", ha="right", va="top", color="dimgrey")
errors = [100 * (1 - accuracy) for accuracy in accuracies]
ax.plot(numbers, errors, marker="o")
for number, error in zip(numbers, errors, strict=True):
    ax.annotate(f"{error:.1f} %", (number, error), (6, 6), textcoords="offset points")
ax.set(
    xscale="log",
    ylim=(0, None),
    xlabel="random features",
    ylabel="test errors (%)",
    title=f"Ridge classification of {name}",
)
ax.set_xticks(numbers, labels=[f"{number:,}" for number in numbers])
ax.minorticks_off()
ax.margins(x=0.12)
plt.show()
