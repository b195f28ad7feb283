"""Conjugate gradients on the normal equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from parallel_ridge.exceptions import IllConditionedWarning, warn_caller
from parallel_ridge.numerics import CG_ACCURACY, EPSILON, SOLVE_ROUNDING, UNRELATED
from parallel_ridge.reductions import Moments
from parallel_ridge.solvers._problem import Problem, Solution, n_targets, with_intercept


def solve_conjugate_gradients(
    moments: Moments,
    shift: NDArray[np.float64],
    product: Callable[[NDArray[np.float64], NDArray[Any], NDArray[Any]], NDArray[np.float64]],
    multilabel: bool,
    alpha: float,
    problem: Problem,
    accuracy: float = 1e-8,
) -> Solution:
    """Solve the normal equations by conjugate gradients, for all targets at once.

    Needs neither a d x d nor an n x n matrix; each iteration is one pass over the rows.

    Parameters
    ----------
    moments : Moments
        Moments about ``shift``.
    product : callable
        ``product(V, mean, scale)`` returns ``Z^T W (Z V)`` with ``Z = (X - mean) / scale``.
    accuracy : float, default=1e-8
        Relative error of the coefficients to reach.

    References
    ----------
    Hestenes and Stiefel (1952), doi:10.6028/jres.049.044; the preconditioner is the diagonal. The
    scalars of the iteration form a tridiagonal matrix whose eigenvalues give the condition number:
    Golub and Van Loan (2013), Matrix Computations, 4th ed., section 11.3.
    """
    n = moments.weight_sum
    unit = 2.0 ** np.floor(np.log2(n))  # keeps sums of weights of any size in range
    targets = n_targets(len(moments.class_weights), multilabel)
    class_sums, class_weights = moments.class_sums[targets], moments.class_weights[targets]
    variances = moments.variances
    scale = np.ones(len(variances))
    if problem.standardize:
        scale = np.where(variances > 0, np.sqrt(variances / n), 1.0)
    if problem.fit_intercept:
        means, squares = shift + moments.feature_sums / n, variances
        rhs = 2.0 * (class_sums - np.outer(class_weights / n, moments.feature_sums))
    else:
        means = np.zeros(len(shift))
        squares = moments.square_sums + shift * (2.0 * moments.feature_sums + n * shift)
        all_weight = 2.0 * class_weights - n
        rhs = 2.0 * class_sums - moments.feature_sums + np.outer(all_weight, shift)
    penalty = problem.penalty(alpha, n) / unit
    B = (rhs / unit / scale).T
    diagonal = squares / unit / scale**2 + penalty
    constant = squares <= 0.0
    hidden = float(np.abs(B[constant & (moments.square_sums == 0.0)]).max(initial=0.0))
    B[constant] = 0.0
    if not penalty:
        # Unscaled steps stay in the span of the rows, so they lead to the solution of least norm.
        diagonal[:] = 1.0
    diagonal[constant] = np.inf

    def image_of(V: NDArray[np.float64]) -> NDArray[np.float64]:
        return product(V, means, scale) / unit + penalty * V

    X, n_iter, condition, converged = _conjugate_gradients(
        image_of, B, diagonal, penalty, accuracy, 10 * min(len(B), moments.n_samples) + 100
    )
    # A product rounds relative to the largest eigenvalue, B relative to the sums it comes from.
    terms = np.abs(class_sums).max(axis=0, initial=0.0) + np.abs(moments.feature_sums)
    if not problem.fit_intercept:
        terms += n * np.abs(shift)
    root = np.sqrt(diagonal)
    sides = float(np.linalg.norm(B / root[:, None], axis=0).max(initial=0.0))
    sides = max(
        sides, UNRELATED * float(np.sqrt(squares / unit).max(initial=0.0)) * (n / unit) ** 0.5
    )
    lost = EPSILON * float((terms / unit / scale / root).max(initial=0.0)) / (sides or 1.0)
    error = condition * max(0.75 * SOLVE_ROUNDING, lost, 0.0 if penalty else CG_ACCURACY)
    if hidden > accuracy * penalty * float(np.linalg.norm(X, axis=0).max(initial=0.0)):
        error = np.inf  # columns whose squares underflow
    if not converged:
        warn_caller(
            "Conjugate gradients did not converge in "
            f"{int(n_iter.max())} iterations: raise alpha, or set standardize=True.",
            ConvergenceWarning,
        )
    elif error > accuracy:
        warn_caller(
            f"The system is ill-conditioned (condition number {condition:.1e}): conjugate "
            "gradients give fewer than 8 digits. Raise alpha, or choose solver='svd'.",
            IllConditionedWarning,
        )
    target_means = 2.0 * class_weights / n - 1.0
    return with_intercept(
        (X / scale[:, None]).T, means, target_means, problem.fit_intercept, n_iter
    )


def _conjugate_gradients(
    image_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    B: NDArray[np.float64],
    diagonal: NDArray[np.float64],
    penalty: float,
    accuracy: float,
    limit: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64], float, bool]:
    """Solutions for the columns of B, iterations, condition number, and whether all converged."""
    X = np.zeros_like(B)
    residual = B.copy()

    direction = residual / diagonal[:, None]
    energy = (residual * direction).sum(axis=0)
    # Less than this is rounding, whatever the columns' sizes, or, without a penalty, a direction
    # that no row has.
    least = (EPSILON if penalty else CG_ACCURACY) ** 2 * energy

    def goal() -> NDArray[np.float64]:
        # No eigenvalue is below the penalty, so this bounds the error.
        return np.asarray(0.1 * accuracy * penalty * np.linalg.norm(X, axis=0))

    n_iter = np.zeros(B.shape[1], dtype=np.int64)
    active = energy > 0.0
    largest = 0.0  # Rayleigh quotient: close to the largest eigenvalue
    steps: list[NDArray[np.float64]] = []
    ratios: list[NDArray[np.float64]] = []
    while active.any() and n_iter.max() < limit:
        image = image_of(direction)
        curvature = (direction * image).sum(axis=0)
        active &= curvature > 0.0
        squares = (direction**2).sum(axis=0)
        quotient = np.divide(curvature, squares, out=np.zeros_like(squares), where=squares > 0.0)
        largest = max(largest, float(quotient.max()))
        step = np.divide(energy, curvature, out=np.zeros_like(energy), where=active)
        X += step * direction
        residual -= step * image
        n_iter[active] += 1
        preconditioned = residual / diagonal[:, None]
        fresh = (residual * preconditioned).sum(axis=0)
        active &= (np.linalg.norm(residual, axis=0) > goal()) & (fresh > least)
        ratio = np.divide(fresh, energy, out=np.zeros_like(energy), where=active)
        direction = np.where(active, preconditioned + ratio * direction, 0.0)
        energy = fresh
        steps.append(step)
        ratios.append(ratio)
    condition = _ritz_condition(np.array(steps), np.array(ratios), n_iter)
    if penalty:  # directions that no row has, and no step has seen
        condition = max(condition, largest / penalty)
    return X, n_iter, condition, not active.any()


def _ritz_condition(
    steps: NDArray[np.float64], ratios: NDArray[np.float64], n_iter: NDArray[np.int64]
) -> float:
    """Condition number of the preconditioned system, as seen by the longest iteration."""
    m = int(n_iter.max(initial=0))
    if not m:
        return 1.0
    j = int(np.argmax(n_iter))
    step = steps[:m, j][steps[:m, j] > 0.0]
    ratio = ratios[: max(len(step) - 1, 0), j]
    if len(step) < 2:
        return 1.0
    main = 1.0 / step
    main[1:] += ratio / step[:-1]
    values = scipy.linalg.eigvalsh_tridiagonal(main, np.sqrt(ratio) / step[:-1])
    return float(values[-1] / values[0]) if values[0] > 0.0 else np.inf
