"""
Photographs of hands, split by image
====================================

Ten signs, some two hundred photographs of each. Shifted copies of the photographs make more rows to
learn from, and a trap: if copies of one photograph are on both sides of a split, the score tells how
well photographs are recognised that were seen before. So the split is by image, and so are the folds
that choose the penalty.

Without the photographs (a folder ``hands`` in the folder that ``PARALLEL_RIDGE_DATA`` names), the
small digits that come with scikit-learn take their place.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from parallel_ridge import ParallelRidgeClassifierCV
from parallel_ridge.datasets import find_data, load_image_folder

folder = find_data("hands")
if folder is None:
    print("The photographs were not found (PARALLEL_RIDGE_DATA can name their folder).")
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], y[:600]  # few enough for copies to matter
    shape = (8, 8)
else:
    hands = load_image_folder(folder, size=(32, 32), verbose=False)
    X, y, shape = hands.data, hands.target, hands.image_shape

# %%
# Each image is brought to mean zero and length one: the light is no part of the sign.
X = X.astype(np.float32)
X -= X.mean(axis=1, keepdims=True)
X /= np.linalg.norm(X, axis=1, keepdims=True)
classes = np.unique(y)
figure, axes = plt.subplots(2, len(classes), figsize=(8, 1.9), layout="constrained")
for label, column in zip(classes, axes.T, strict=True):
    column[0].set_title(label)
    for image, ax in zip(X[y == label], column, strict=False):
        ax.imshow(image.reshape(shape), cmap="gray")
        ax.axis("off")
plt.show()

# %%
# Split, then copy
# ----------------
# A fifth of the images is kept for the test. Then each image gets four copies, shifted by a pixel;
# ``image`` says which image per row comes from.
train, test = train_test_split(np.arange(len(X)), test_size=0.2, stratify=y, random_state=0)


def with_shifts(images):
    """Images at some positions and their shifted copies, labels, and the positions."""
    height, width = shape
    padded = np.pad(X[images].reshape(-1, *shape), ((0, 0), (1, 1), (1, 1)), mode="edge")
    corners = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    copies = [padded[:, i : i + height, j : j + width] for i, j in corners]
    rows = np.concatenate(copies).reshape(-1, X.shape[1])
    return rows, np.tile(y[images], len(corners)), np.tile(images, len(corners))


rows, labels, image = with_shifts(train)
test_rows, test_labels, _ = with_shifts(test)
print(f"{len(train)} images to train on and {len(test)} to test on")
print(f"{len(rows)} rows and {len(test_rows)} with their copies")

# %%
# Pixels, and random features
# ---------------------------
# ``groups`` keeps the copies of an image in one fold. The last line has folds that do not: they promise
# more than the test holds.
alphas = np.logspace(-4, 2, 7)
by_image = StratifiedGroupKFold(5, shuffle=True, random_state=0)
by_row = StratifiedKFold(5, shuffle=True, random_state=0)
features = RBFSampler(gamma=2.0, n_components=2000, random_state=0).fit(rows)
cosines, test_cosines = features.transform(rows), features.transform(test_rows)


def search(rows, cv, groups=None):
    """Choose the penalty by folds; keep the sums for other penalties."""
    model = ParallelRidgeClassifierCV(alphas, cv=cv, store_statistics=True)
    return model.fit(rows, labels, groups=groups)


pixels = search(rows, by_image, image)
model = search(cosines, by_image, image)
deceived = search(cosines, by_row)

print(f"{'':<30} {'alpha':>7} {'held out':>9} {'test':>7}")
for name, fitted, Z in (
    ("pixels, folds by image", pixels, test_rows),
    ("random features, by image", model, test_cosines),
    ("random features, by row", deceived, test_cosines),
):
    score = fitted.score(Z, test_labels)
    print(f"{name:<30} {fitted.alpha_:>7g} {fitted.best_score_:>9.3f} {score:>7.3f}")

# %%
# The weights for every penalty come from the sums that were kept, with no pass over the rows.
coefs, intercepts = model.coef_path(alphas)
decisions = test_cosines @ coefs.transpose(0, 2, 1) + intercepts[:, None]
tested = (model.classes_[decisions.argmax(axis=2)] == test_labels).mean(axis=1)

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for scores, style, label in (
    (deceived.cv_results_["mean_test_score"], "C1--", "held out by row"),
    (model.cv_results_["mean_test_score"], "C0-", "held out by image"),
    (tested, "k:", "test"),
):
    ax.plot(alphas, scores, style, marker="o", label=label)
ax.set(xscale="log", xlabel="alpha", ylabel="accuracy", title="Random features")
ax.legend()
plt.show()

# %%
# Which signs are taken for which
# -------------------------------
figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    y[test], model.predict(test_cosines[: len(test)]), ax=ax, cmap="Blues", colorbar=False
)
right = model.score(test_cosines[: len(test)], y[test])
ax.set_title(f"{right:.1%} of {len(test)} test images right")
plt.show()
