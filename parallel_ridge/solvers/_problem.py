"""The problem that is minimised, and a solution of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class Solution:
    """Coefficients and intercepts.

    Attributes
    ----------
    coef : ndarray of shape (t, d), float64
        One row per target (one for two classes).
    intercept : ndarray of shape (t,), float64
    n_iter : ndarray of shape (t,) of int, or None
        Number of iterations, for an iterative solver.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    n_iter: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Problem:
    """What is minimised: see :class:`~parallel_ridge.ParallelRidgeClassifier`.

    Attributes
    ----------
    fit_intercept, standardize : bool
    mean_objective : bool
        Whether the loss is divided by the sum of weights.
    """

    fit_intercept: bool = True
    standardize: bool = False
    mean_objective: bool = False

    def penalty(self, alpha: float, weight_sum: float) -> float:
        """The penalty of the summed loss."""
        return alpha * weight_sum if self.mean_objective else alpha


def n_targets(n_classes: int, multilabel: bool) -> slice:
    """Classes that are targets: the second of two, otherwise all."""
    return slice(1, 2) if n_classes == 2 and not multilabel else slice(None)


def with_intercept(
    coef: NDArray[np.float64],
    means: NDArray[np.float64],
    target_means: NDArray[np.float64],
    fit_intercept: bool,
    n_iter: NDArray[np.int64] | None = None,
) -> Solution:
    """Add the intercept that makes the mean prediction equal the mean target."""
    intercept = target_means - coef @ means if fit_intercept else np.zeros(len(coef))
    return Solution(coef, intercept, n_iter)
