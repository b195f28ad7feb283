"""
Choose the penalty from one pass over the rows
==============================================

A grid search fits one model for each penalty and each fold: 13 penalties and 5 folds make 65 fits,
and one more at the end. :class:`~parallel_ridge.ParallelRidgeClassifierCV` gives the same scores
from one pass for the sums of each fold, one factorisation for each training set, and one pass for
the scores. This example times both, and draws what they find.

By default only the first 10,000 images of MNIST are used, because the grid search takes minutes on
all of them: ``python examples/plot_choose_alpha.py --rows 60000`` uses all. Without MNIST, the
small digits that come with scikit-learn take its place.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from parallel_ridge import ParallelRidgeClassifierCV
from parallel_ridge.datasets import load_mnist
from parallel_ridge.plotting import AlphaPathDisplay

parser = argparse.ArgumentParser(description="Choose the penalty, and draw the scores.")
parser.add_argument("--rows", type=int, default=10_000, help="images to use (default: 10000)")
parser.add_argument(
    "--output", type=Path, default=Path("choose_alpha.png"), help="file for the picture"
)
options = parser.parse_args()

# %%
# The data
# --------
# Pixels become numbers from 0 to 1. The penalties are relative to that: for pixels from 0 to 255
# the same models need penalties 255² times as large.
try:
    mnist = load_mnist()
except FileNotFoundError:
    print("MNIST was not found (PARALLEL_RIDGE_DATA can name its folder).")
    name = "scikit-learn's digits"
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32) / 16
else:
    name = "MNIST"
    X, y = mnist.data.astype(np.float32) / 255, mnist.target
X, y = X[: options.rows], y[: options.rows]
print(f"{len(X)} images of {name}, {X.shape[1]} pixels")

alphas = np.logspace(-2, 4, 13)
folds = StratifiedKFold(5, shuffle=True, random_state=0)

# %%
# Two searches
# ------------
# Both see the same folds and the same penalties, and both use all cores. scikit-learn solves in the
# precision of the pixels, and may warn that the smallest penalty is too small for that. Its seconds
# include starting its processes, one or two of them.
start = perf_counter()
model = ParallelRidgeClassifierCV(alphas, cv=folds).fit(X, y)
seconds = perf_counter() - start

start = perf_counter()
grid = GridSearchCV(RidgeClassifier(), {"alpha": alphas}, cv=folds, n_jobs=-1).fit(X, y)
grid_seconds = perf_counter() - start

print(f"{'':<28} {'seconds':>8} {'best alpha':>11} {'accuracy':>9}")
for label, took, alpha, score in (
    ("ParallelRidgeClassifierCV", seconds, model.alpha_, model.best_score_),
    ("GridSearchCV", grid_seconds, grid.best_params_["alpha"], grid.best_score_),
):
    print(f"{label:<28} {took:>8.2f} {alpha:>11.4g} {score:>9.4f}")
difference = np.abs(model.cv_results_["mean_test_score"] - grid.cv_results_["mean_test_score"])
print(f"{grid_seconds / seconds:.0f} times faster; scores differ by {difference.max():.1g} at most")

# %%
# The scores
# ----------
# The band is one standard error of the mean over folds either way. If a larger penalty scores within
# one standard error of the best, a dotted line marks the largest such: the simplest model that is
# about as good.
display = AlphaPathDisplay.from_estimator(model)
display.ax_.set_title(f"5-fold cross-validation on {len(X)} images of {name}")

if "sphinx_gallery" in sys.modules:
    plt.show()
else:
    display.figure_.savefig(options.output, dpi=120)
    print(f"wrote {options.output}")
