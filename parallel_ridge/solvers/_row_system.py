"""The least-squares problem of an R factor, which does not square the condition number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from parallel_ridge.numerics import EPSILON, UNRELATED
from parallel_ridge.reductions import check_range
from parallel_ridge.solvers._problem import Problem, Solution, with_intercept
from parallel_ridge.solvers._spectrum import Spectrum


@dataclass(frozen=True)
class RowFactor:
    """The R factor of the rows of a problem.

    Attributes
    ----------
    R : ndarray of shape (r, 1 + d + t)
        From `QRReduction`, with the columns of the classes that are targets.
    shift : ndarray of shape (d,)
        The shift of the rows.
    weight_sum : float
    variances : ndarray of shape (d,), or None
        Sums of squares of the columns about their means, if features are scaled but not centred, so
        that R does not give them.
    """

    R: NDArray[np.float64]
    shift: NDArray[np.float64]
    weight_sum: float
    variances: NDArray[np.float64] | None = None


class RowSystem:
    """The least-squares problem of a `RowFactor`, without directions that are rounding.

    Nothing is squared. With all columns scaled to unit length, a direction of the rows whose
    singular value is rounding is left out, whatever the penalty: a tiny penalty would only amplify
    rounding.

    Parameters
    ----------
    factor : RowFactor
        The factor, made with the same ``fit_intercept``.
    problem : Problem

    Attributes
    ----------
    rows : ndarray of shape (r, m)
        Rows in the columns that vary, scaled if they are standardised; of full row rank.
    targets : ndarray of shape (r, t)
    """

    def __init__(self, factor: RowFactor, problem: Problem) -> None:
        R, shift, weight_sum = factor.R, factor.shift, factor.weight_sum
        d = len(shift)
        first = int(problem.fit_intercept)  # the rows of R below this project the intercept out
        A, ones, B = R[first:, first : first + d], R[:, 0 if first else d], R[first:, d + 1 :]
        self.means, self.target_means = np.zeros(d), np.zeros(B.shape[1])
        with np.errstate(over="ignore"):
            self.squares = (A**2).sum(axis=0)
        check_range(self.squares)
        if problem.fit_intercept:
            self.means, self.target_means = R[0, 1 : 1 + d] / ones[0], R[0, d + 1 :] / ones[0]
        self.varies = self.squares > (8 * EPSILON) ** 2 * weight_sum * self.means**2
        self.scale = np.ones(d)
        if problem.standardize:
            variances = self.squares if factor.variances is None else factor.variances
            scaled = (variances > 0.0) & self.varies
            self.scale[scaled] = np.sqrt(variances[scaled] / weight_sum)
        self.means += shift
        self.weight_sum, self.problem = weight_sum, problem
        self._underflow = float(np.abs(A[:, self.squares == 0.0]).max(initial=0.0))
        self.rows, self.targets = A[:, self.varies] / self.scale[self.varies], B
        self._leave_out_rounding()

    def _leave_out_rounding(self) -> None:
        lengths = np.linalg.norm(self.rows, axis=0)
        U, s, Vt = scipy.linalg.svd(self.rows / lengths, full_matrices=False, check_finite=False)
        size = float(max(self.rows.shape, default=1) * EPSILON * s.max(initial=0.0))
        real = s > size
        # Share of a unit penalty per dropped direction, and how far its value may be from zero.
        self._swallowed = np.linalg.norm(Vt[~real] / lengths, axis=1)
        self._size = size
        if not real.all():
            self.rows = s[real, None] * Vt[real] * lengths
            self.targets = U[:, real].T @ self.targets

    def spectrum(self) -> Spectrum:
        """Axes from the singular value decomposition of the rows."""
        U, s, Vt = scipy.linalg.svd(self.rows, full_matrices=False, check_finite=False)
        axes = np.zeros((len(self.means), len(s)), order="F")
        axes[self.varies] = Vt.T / self.scale[self.varies, None]
        rotated = (s[:, None] * (U.T @ self.targets)).T
        return Spectrum(
            s**2,
            0.0,
            axes,
            rotated,
            self.means,
            self.target_means,
            self.squares,
            self.weight_sum,
            self.problem,
        )

    def solve(self, alpha: float) -> tuple[Solution, float]:
        """Solution for one penalty (of least norm if there are many), and its relative error.

        The estimated error is the change of the solution if the rows move by as much as rounding
        moves the columns of a QR.
        """
        penalty = self.problem.penalty(alpha, self.weight_sum)
        found = _least_squares(self.rows, self.targets, penalty)
        coef = np.zeros((found.shape[1], len(self.means)))
        coef[:, self.varies] = found.T
        coef /= self.scale
        error = self._error(coef, found, penalty)
        return with_intercept(
            coef, self.means, self.target_means, self.problem.fit_intercept
        ), error

    def _error(
        self, coef: NDArray[np.float64], found: NDArray[np.float64], penalty: float
    ) -> float:
        length = float(np.linalg.norm(coef, axis=1).max())
        # Squares that underflow hide a column, unless the penalty outweighs it.
        with np.errstate(divide="ignore", invalid="ignore"):
            underflow = self._underflow * self.weight_sum**0.5 / np.float64(penalty)
            hidden = underflow / length if underflow > 0.0 else 0.0
        if not length > 0.0:
            return float(hidden)
        # The part of a target that no coefficients explain adds one row, of zeros, per target.
        fitted = self.rows @ found
        squares = self.weight_sum * (1.0 - self.target_means**2)
        squares += (fitted * fitted - 2.0 * fitted * self.targets).sum(axis=0)
        residual = np.sqrt(np.maximum(squares, 0.0))
        explained = float(np.linalg.norm(fitted, axis=0).max()) / self.weight_sum**0.5
        length *= max(1.0, UNRELATED / explained) if explained > 0.0 else np.inf
        targets = np.vstack([self.targets, np.diag(residual)])
        rows = np.zeros((len(targets), self.rows.shape[1]))
        rows[: len(self.rows)] = self.rows
        lengths = np.linalg.norm(self.rows, axis=0)
        noise = np.random.default_rng(0).standard_normal(rows.shape)
        rows += 2.0 * EPSILON * lengths / len(rows) ** 0.5 * noise
        change = (_least_squares(rows, targets, penalty) - found).T / self.scale[self.varies]
        error = float(np.linalg.norm(change, axis=1).max()) / length + float(hidden)
        if len(self._swallowed):
            # Dropped values may be as large as rounding, and the penalty leaves room for it.
            with np.errstate(divide="ignore"):
                values = self._size * residual.max() / (np.float64(penalty) * self._swallowed)
            error += float(values.max()) / length
        return error


def _least_squares(
    rows: NDArray[np.float64], targets: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Least-squares solution, shape (m, t); the one of least norm if there are many.

    It comes from a QR of the rows stacked below the root of the penalty, whose error does not grow
    if columns are of different sizes. With ``m`` columns it takes about ``2 m^3`` multiplications.

    References
    ----------
    Bjorck (1996), Numerical Methods for Least Squares Problems, sections 1.4 and 2.7.1. Cox and Higham
    (1998), Stability of Householder QR factorization for weighted least squares problems, for the order
    of rows.
    """
    basis = None
    r, m = rows.shape
    if r < m:  # the solution lies in the span of the rows
        order = np.argsort(-np.linalg.norm(rows, axis=0), kind="stable")
        Q, R, pivots = scipy.linalg.qr(
            rows.T[order], mode="economic", pivoting=True, check_finite=False
        )
        basis = np.empty_like(Q)
        basis[order] = Q
        rows, targets, m = R.T, targets[pivots], r
    # Stacked below the penalty, rows that it outweighs keep their digits.
    stack = np.zeros((r + m, m + targets.shape[1]), order="F")
    stack[:m, :m].flat[:: m + 1] = penalty**0.5
    stack[m:, :m], stack[m:, m:] = rows, targets
    lengths = np.linalg.norm(stack[:, :m], axis=0)
    stack[:, :m] /= lengths
    (R,) = scipy.linalg.qr(stack, mode="r", overwrite_a=True, check_finite=False)
    solution = scipy.linalg.solve_triangular(R[:m, :m], R[:m, m:], check_finite=False)
    solution /= lengths[:, None]
    return solution if basis is None else basis @ solution
