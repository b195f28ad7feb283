"""From statistics and penalties to weights; every solve is in float64."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from sklearn.exceptions import ConvergenceWarning

from parallel_ridge.backends import Backend
from parallel_ridge.backends.openmp import blas_threads
from parallel_ridge.kernels import _triangle
from parallel_ridge.numerics import (
    ACCURACY,
    CONSTANT,
    EPSILON,
    FAR,
    FLOAT32_ROUNDING,
    REFINE_LIMIT,
    REFINED,
    SEARCH_ACCURACY,
    SEARCH_LIMIT,
    SOLVE_ROUNDING,
    UNRELATED,
    WORTH_A_PASS,
)
from parallel_ridge.reductions import (
    SAMPLE_ROWS,
    Leverages,
    Moments,
    MomentsReduction,
    QRReduction,
    check_range,
    choose_shift,
    coefficient_dtype,
)
from parallel_ridge.sources import Block, Source, Target, shifted
from parallel_ridge.statistics import SufficientStatistics

# Numbers up to here have squares and products of which float32 can hold what matters.
FLOAT32_RANGE = 1e30
# Features up to which a decomposition, a Cholesky's some 10 ms, has one thread.
FEATURES_ONE_THREAD = 1000
# Penalties too small for a tridiagonal form beyond which singular values cost less than a Cholesky
# for each.
FACTOR_PAYS = 10
# Columns that a Cholesky factorisation takes on at a time, between which it hears Ctrl-C.
CHOLESKY_PANEL = 256
# Penalties beyond which one tridiagonal form costs less than a Cholesky for each, as measured up to and
# at some numbers of features (AMD Zen 4, OpenBLAS, ten classes, one and two threads).
TRIDIAGONAL_PAYS = {1500: 5, 4000: 10}


# Residuals of conjugate gradients without a penalty, relative to the right-hand sides, at the end.
CG_ACCURACY = 1e-14


class IllConditionedWarning(UserWarning):
    """A system was too ill-conditioned for the chosen solver; the message says what was done."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line that called into this package."""
    package, level, frame = os.path.dirname(__file__), 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class IllConditioned(ArithmeticError):
    """A solve whose condition number exceeds what its sums, or its solver, allow.

    Attributes
    ----------
    condition : float
        Estimated condition number of the scaled system; infinite if it is singular.
    lost : float
        Relative rounding error of the sums.
    """

    def __init__(self, condition: float, lost: float = 0.0) -> None:
        super().__init__(condition, lost)
        self.condition = condition
        self.lost = lost

    def __str__(self) -> str:
        sums = f", and rounding has taken {self.lost:.1e} of its sums" if self.lost > 1e-12 else ""
        return f"condition number {self.condition:.1e}{sums}"


@dataclass
class Weights:
    """A solution.

    Attributes
    ----------
    coef : ndarray of shape (t, d), float64
        One row a target (one for two classes).
    intercept : ndarray of shape (t,), float64
    n_iter : ndarray of shape (t,) of int, or None
        Iterations, of an iterative solver.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    n_iter: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Problem:
    """What is minimised, given rows: see :class:`~parallel_ridge.ParallelRidgeClassifier`.

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
    """Classes that are targets: the second of two, else all."""
    return slice(1, 2) if n_classes == 2 and not multilabel else slice(None)


@dataclass(frozen=True)
class Spectrum:
    """Principal axes of a penalised system, which give the weights for any penalty.

    In the coordinates ``a = (x - means) @ axes`` the sum of squares and the penalty are both
    diagonal.

    Attributes
    ----------
    values : ndarray of shape (m,)
        Sums of squares along each axis, and ``base``; those that are rounding are ``base``.
    base : float
        Penalty that is part of ``values``.
    axes : ndarray of shape (d, m)
        Rows of constant columns are zero.
    rotated : ndarray of shape (t, m)
        The right-hand sides in the axes.
    means, target_means : ndarray of shape (d,), (t,)
    squares : ndarray of shape (d,)
        Sum of squares of each column about ``means``.
    weight_sum : float
    problem : Problem
    noise : float
        Values up to here are rounding: left out unless the penalty outweighs it.
    """

    values: NDArray[np.float64]
    base: float
    axes: NDArray[np.float64]
    rotated: NDArray[np.float64]
    means: NDArray[np.float64]
    target_means: NDArray[np.float64]
    squares: NDArray[np.float64]
    weight_sum: float
    problem: Problem
    noise: float = 0.0

    def inverse(self, alphas: Sequence[float]) -> NDArray[np.float64]:
        """One over sums of squares and penalty, shape (len(alphas), m); 0 for axes with neither."""
        penalties = np.array([self.problem.penalty(alpha, self.weight_sum) for alpha in alphas])
        divisor = self.values + (penalties - self.base)[:, None]
        real = (divisor > 0.0) & ((penalties > self.noise)[:, None] | (self.values > self.noise))
        return np.divide(1.0, divisor, out=np.zeros_like(divisor), where=real)

    def leverages(self, alphas: Sequence[float], n_rows: int) -> Leverages:
        """What leave-one-out needs, for a fit to ``n_rows`` rows with a weight."""
        fitted = self.inverse(alphas)
        squares = self.values - self.base
        real = squares > len(squares) * EPSILON * squares.max(initial=0.0)
        if real.sum() + self.problem.fit_intercept < n_rows:
            return Leverages(fitted, None, self._rounding(squares, fitted, n_rows))
        penalties = [self.problem.penalty(alpha, self.weight_sum) for alpha in alphas]
        left_out = np.array(penalties)[:, None] * fitted
        return Leverages(
            fitted, np.divide(left_out, squares, out=np.zeros_like(fitted), where=real), np.inf
        )

    def _rounding(
        self, squares: NDArray[np.float64], fitted: NDArray[np.float64], n_rows: int
    ) -> float:
        """Estimate of what leverages lose in float32: infinite if it cannot hold what makes them."""
        largest = fitted.max(axis=0, initial=0.0)
        sizes = [np.abs(part).max(initial=0.0) for part in (self.squares, self.axes, largest)]
        if max(sizes) > FLOAT32_RANGE:
            return np.inf
        # A term x v of a coordinate loses 2^-24 of itself, and errors are independent. On an axis with
        # no variance there is nothing but their squares.
        lost = 2.0**-48 * (self.squares @ self.axes**2) / n_rows
        first = (np.maximum(squares, 0.0) * largest**2 / n_rows) @ lost
        return float(2.0 * first**0.5 + largest @ lost)

    def weights(self, alphas: Sequence[float]) -> list[Weights]:
        """Weights for each penalty: the solution of least norm where there are many."""
        filtered = self.inverse(alphas)[:, None] * self.rotated
        p, t, m = filtered.shape
        coefs = (filtered.reshape(p * t, m) @ self.axes.T).reshape(p, t, len(self.axes))
        return [
            with_intercept(coef, self.means, self.target_means, self.problem.fit_intercept)
            for coef in coefs
        ]

    def condition(self, alpha: float) -> float:
        """Condition number, for this penalty, that governs the error of axes found as one."""
        if not len(self.values):
            return 1.0
        penalty = self.problem.penalty(alpha, self.weight_sum) - self.base
        smallest = self.values.min() + penalty
        return float((self.values.max() + penalty) / smallest) if smallest > 0.0 else np.inf


@dataclass(frozen=True)
class Tridiagonal:
    """A system in a basis where it is tridiagonal: a solve for one more penalty costs ``t d``.

    Attributes
    ----------
    system : NormalEquations
    root : ndarray of shape (m,)
        Roots of the penalties of its columns, which the basis is in units of.
    rotation : ndarray of shape (m, m)
    factors : ndarray of shape (m,)
        Reflections that make the basis.
    diagonal, beside : ndarray of shape (m,)
        The form, without penalty; the last of ``beside`` means nothing.
    rotated : ndarray of shape (m, t)
        The right-hand sides in the basis.
    smallest, largest : float
        Eigenvalues.

    References
    ----------
    Elden (1977), Algorithms for the regularization of ill-conditioned least squares problems,
    doi:10.1007/BF01932285, for a bidiagonal form of the rows.
    """

    system: NormalEquations
    root: NDArray[np.float64]
    rotation: NDArray[np.float64]
    factors: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    beside: NDArray[np.float64]
    rotated: NDArray[np.float64]
    smallest: float
    largest: float

    def condition(self, alpha: float) -> float:
        """Condition number for this penalty; infinite where it is of the size of rounding."""
        penalty = self.system.penalty(alpha)
        smallest = self.smallest - len(self.diagonal) * EPSILON * self.largest + penalty
        return (self.largest + penalty) / smallest if smallest > 0.0 else np.inf

    def weights(self, alphas: Sequence[float]) -> list[Weights]:
        """Weights for each penalty, of a finite condition number."""
        system, (m, t) = self.system, self.rotated.shape
        columns = np.empty((m, len(alphas) * t), order="F")
        for i, alpha in enumerate(alphas):
            band = np.stack([self.diagonal + system.penalty(alpha), self.beside])
            columns[:, i * t : (i + 1) * t] = scipy.linalg.solveh_banded(
                band, self.rotated, lower=True, overwrite_ab=True, check_finite=False
            )
        _triangle.rotate(self.rotation, self.factors, columns, True)
        if system.problem.standardize:
            columns /= self.root[:, None]
        coefs = np.zeros((len(alphas), t, len(system.varies)))
        coefs[:, :, system.varies] = columns.T.reshape(len(alphas), t, m)
        return [
            with_intercept(
                coef, system.means, system.target_means, bool(system.problem.fit_intercept)
            )
            for coef in coefs
        ]


@dataclass(frozen=True)
class CholeskyFactor:
    """Lower factor of ``scale (G + alpha P) scale``, which has a unit diagonal.

    Attributes
    ----------
    lower : ndarray of shape (m, m)
        Of the columns that vary; only the lower triangle is meaningful.
    scale : ndarray of shape (m,)
    condition : float
        Estimated condition number of the scaled system.
    lost : float
        Relative rounding error of the sums.
    varies : ndarray of shape (d,), bool
        Columns with variance; the weights of others are zero.
    squares : ndarray of shape (d,)
        Sums of squares of the columns.
    penalty, means : ndarray of shape (d,)
        ``penalty`` is the diagonal of ``alpha P``.
    offset : ndarray of shape (d,)
        Sum of ``w (x - means)``: not zero, since the means are rounded.
    target_means : ndarray of shape (t,)
    problem : Problem
    """

    lower: NDArray[np.float64]
    scale: NDArray[np.float64]
    condition: float
    lost: float
    varies: NDArray[np.bool_]
    squares: NDArray[np.float64]
    penalty: NDArray[np.float64]
    means: NDArray[np.float64]
    offset: NDArray[np.float64]
    target_means: NDArray[np.float64]
    problem: Problem

    def solve(self, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients for right-hand sides, both of shape (t, d)."""
        coef = np.zeros_like(rhs)
        if len(self.lower):
            scaled = rhs[:, self.varies] * self.scale
            solution, _ = lapack.dpotrs(self.lower, scaled.T, lower=1, overwrite_b=1)
            coef[:, self.varies] = solution.T * self.scale
        return coef

    def error(self, coef: NDArray[np.float64]) -> float:
        """Estimated relative error of its solution: that of a system as much off as rounding leaves it.

        The condition number bounds the error of coefficients that are scaled as the system is. Those
        of columns of very different sizes are not.
        """
        length = float(np.linalg.norm(coef, axis=1).max(initial=0.0))
        if not length > 0.0:
            return 0.0
        size = float(np.linalg.norm(coef[:, self.varies] / self.scale, axis=1).max())
        bound = self.condition * (SOLVE_ROUNDING + self.lost) * size * self.scale.max() / length
        if bound < ACCURACY["float64"]:  # whatever the direction
            return bound
        noise = np.random.default_rng(0).standard_normal((2, len(self.scale)))
        noise *= (SOLVE_ROUNDING + self.lost) * size / len(self.scale) ** 0.5
        rhs = np.zeros((2, len(self.varies)))
        rhs[:, self.varies] = noise / self.scale
        return float(np.linalg.norm(self.solve(rhs), axis=1).max()) / length

    def weights(self, coef: NDArray[np.float64]) -> Weights:
        """Coefficients with their intercepts."""
        return with_intercept(coef, self.means, self.target_means, self.problem.fit_intercept)


def refine(
    factor: CholeskyFactor,
    coef: NDArray[np.float64],
    residual: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    mapping: Callable[..., Any] = map,
    accuracy: float = 1e-8,
    rounding: NDArray[np.float64] | None = None,
) -> Weights:
    """Weights whose error no longer grows with the condition number: iterative refinement.

    Parameters
    ----------
    factor : CholeskyFactor
    coef : ndarray of shape (t, d)
        Its solution.
    residual : callable
        ``residual(coef)``: the right-hand side less the system times coefficients, of shape (t, d),
        from the rows or from sums that are exact.
    mapping : callable
        `map`, or a backend's, for solves that all processes share.
    accuracy : float, default=1e-8
        Relative size of the last step: a bound of the error that it mends.
    rounding : ndarray of shape (d,), default=None
        Estimated rounding error of a residual, which no step mends; none when None.

    Raises
    ------
    IllConditioned
        If steps do not become smaller, or rounding of the residuals makes larger ones.

    References
    ----------
    Bjorck (1987), Stability analysis of the method of seminormal equations for linear least squares
    problems, doi:10.1016/0024-3795(87)90101-7; Higham (2002), Accuracy and Stability of Numerical
    Algorithms, 2nd ed., chapter 12.
    """
    before = 1.0
    while True:
        (step,) = mapping(factor.solve, [residual(coef)])
        coef = coef + step
        # Against the longest, since a target may be nothing but rounding.
        length = np.linalg.norm(coef, axis=1).max()
        size = float(np.linalg.norm(step, axis=1).max() / length) if length > 0.0 else 0.0
        if size <= accuracy:
            break
        if not size < before / 4:
            raise IllConditioned(factor.condition, factor.lost)
        before = size
    if rounding is not None:
        signs = np.where(np.random.default_rng(0).random((2, len(rounding))) < 0.5, -1.0, 1.0)
        (noise,) = mapping(factor.solve, [signs * rounding])
        if np.linalg.norm(noise, axis=1).max() > accuracy * np.linalg.norm(coef, axis=1).max():
            raise IllConditioned(factor.condition, factor.lost)
    return factor.weights(coef)


def exact_residual(
    statistics: SufficientStatistics, factor: CholeskyFactor
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Residuals of the normal equations from integer sums, with hardly a rounding error.

    Coefficients are cut into pieces of so few digits that their products with integers, and the sums
    of these, are exact in float64; they are added in extended precision. None if the sums are too
    large for pieces of any use, or if this machine has no such precision.

    References
    ----------
    Ozaki, Ogita, Oishi and Rump (2012), Error-free transformations of matrix multiplication by using
    fast routines of matrix multiplication and its applications, doi:10.1007/s11075-011-9478-1.
    """
    n, problem = statistics.n_samples, factor.problem
    shift = np.zeros(statistics.n_features)
    if problem.fit_intercept:
        shift = np.rint(statistics.shift + statistics.feature_sums / n)
    moved = statistics.reshift(shift, floats=True)
    sums = moved.feature_sums
    largest = max(int(moved.gram.diagonal().max()), int(np.abs(sums).max()), n)
    digits = 53 - largest.bit_length() - (len(sums) + 1).bit_length()
    if digits < 4 or np.finfo(np.longdouble).nmant <= 52:
        return None
    gram = moved.gram
    targets = n_targets(statistics.n_classes, statistics.multilabel)
    rhs = (2 * moved.class_sums[targets] - sums).astype(np.longdouble)
    rhs_mean = (2 * moved.class_counts[targets] - n).astype(np.longdouble)

    def residual(coef: NDArray[np.float64]) -> NDArray[np.float64]:
        left = rhs - factor.penalty * coef.astype(np.longdouble)
        left_mean = rhs_mean.copy()
        intercept = np.zeros(len(coef))
        if problem.fit_intercept:
            intercept = (2 * moved.class_counts[targets] - n - coef @ sums) / n
        rest = np.column_stack([coef, intercept])
        unit = np.exp2(np.ceil(np.log2(np.abs(rest).max(axis=1, keepdims=True) + 1e-300)))
        for _ in range(-(-64 // digits)):
            unit = unit * 2.0**-digits
            piece = np.rint(rest / unit) * unit
            rest -= piece
            left -= blas.dsymm(1.0, gram.T, piece[:, :-1].T, lower=1).T
            left -= piece[:, -1:] * sums
            left_mean -= piece[:, :-1] @ sums + piece[:, -1] * n
        if problem.fit_intercept:
            left -= left_mean[:, None] / n * sums
        return left.astype(np.float64)

    return residual


class NormalEquations:
    """The system ``(G + alpha P) W = B`` of some statistics, ``P`` diagonal.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of at least one row.
    problem : Problem
    overwrite : bool, default=False
        Whether the statistics' Gram matrix may be destroyed, to save a copy.

    Notes
    -----
    With an intercept, ``G`` and ``B`` are about the weighted means. ``P`` is the identity, or the
    features' variances when they are to be standardised: penalising the weights of ``x / s`` by
    ``alpha`` is penalising those of ``x`` by ``alpha s^2``.
    """

    def __init__(
        self, statistics: SufficientStatistics, problem: Problem, overwrite: bool = False
    ) -> None:
        n = statistics.weight_sum
        shift = statistics.shift
        variances = None
        if not problem.fit_intercept:
            shift = np.zeros(statistics.n_features)
            if problem.standardize:  # about the shift, which cancels less than zero
                variances, unknown = _variances(statistics)
        elif statistics.exact:  # as close to the mean as integers come, without any rounding
            shift = np.rint(shift + statistics.feature_sums / statistics.n_samples)
        moved = statistics.reshift(shift, overwrite=overwrite, floats=True)
        gram = moved.gram
        sums = moved.feature_sums.astype(np.float64)
        targets = n_targets(statistics.n_classes, statistics.multilabel)
        class_sums = moved.class_sums[targets].astype(np.float64)
        class_weights = moved.class_weights[targets]

        uncentred = gram.diagonal().copy()
        self.rounding = np.hypot(moved.rounding, EPSILON * uncentred)
        if problem.fit_intercept:
            # The transpose of a C-ordered upper triangle is the lower one that BLAS updates.
            blas.dsyr(-1.0 / n, sums, a=gram.T, lower=1, overwrite_a=1)
            variances, unknown = _known_variances(
                uncentred - sums * (sums / n), self.rounding, moved.shift + sums / n, statistics
            )
            gram.flat[:: len(gram) + 1] = variances
            self.means = moved.shift + sums / n
            self.offset = sums - n * (self.means - moved.shift)
            self.rhs = 2.0 * (class_sums - np.outer(class_weights / n, sums))
        else:
            self.means, self.offset = np.zeros((2, len(sums)))
            self.rhs = 2.0 * class_sums - sums
            if variances is None:
                unknown = (uncentred <= CONSTANT * self.rounding) & (self.rounding > 0.0)
        self.squares = gram.diagonal().copy()
        self.unknown = unknown
        # Of a sum of products with +1 and -1; and what a column may hide that nothing is known of.
        self.rhs_rounding = EPSILON * np.sqrt(uncentred) * n**0.5
        self.rhs_rounding[unknown] = np.sqrt(CONSTANT * self.rounding[unknown]) * n**0.5
        self.varies = self.squares > 0.0
        # Constant columns get no weight, and their products with others are rounding.
        kept = np.flatnonzero(self.varies)
        _triangle.select(gram, kept)
        self.gram = gram.reshape(-1)[: len(kept) ** 2].reshape(len(kept), len(kept))
        self.target_means = 2.0 * class_weights / n - 1.0
        self.weight_sum = n
        self.kind = "exact" if statistics.exact else str(statistics.dtype)
        self.wide = statistics.n_samples < statistics.n_features
        self.problem = problem
        self.penalties = np.ones(len(self.gram))
        if problem.standardize:
            assert variances is not None
            self.penalties = np.where(variances > 0.0, variances / n, 1.0)[self.varies]

    def lost(self, alpha: float) -> float:
        """Relative rounding error of the system, or of its right-hand sides if that is larger.

        Both scaled to a unit diagonal. Of columns that may be constant, or may not, nothing is known
        but that their sums of squares are below their rounding; a penalty that outweighs this makes
        them harmless.
        """
        penalty = np.full(len(self.varies), self.penalty(alpha), np.float64)
        penalty[self.varies] *= self.penalties
        if self.problem.standardize:
            penalty[self.unknown] = 0.0
        rounding = np.where(
            self.unknown, CONSTANT * self.rounding, np.where(self.varies, self.rounding, 0.0)
        )
        total = self.squares + penalty
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = np.where(rounding > 0.0, rounding / total, 0.0).max(initial=0.0)
            used = self.varies | self.unknown
            scale = np.sqrt(total[used])
            scaled = self.rhs[:, used] / scale
            sides = np.abs(scaled).max(initial=0.0)
            if sides > 0.0:
                sides *= np.linalg.norm(scaled / sides, axis=1).max()
                explained = np.sqrt(self.squares[used] / total[used]).max(initial=0.0)
                sides = max(sides, UNRELATED * explained * self.weight_sum**0.5)
                lost = max(lost, (self.rhs_rounding[used] / scale).max() / sides)
        return float(lost)

    def limit(self, alpha: float) -> float:
        """Condition number up to which coefficients are accurate as they are."""
        lost = self.lost(alpha)
        return ACCURACY[self._kind(lost)] / (SOLVE_ROUNDING + lost)

    def accurate(self, factor: CholeskyFactor, coef: NDArray[np.float64]) -> bool:
        """Whether the solution of a factor is accurate as it is."""
        accuracy = ACCURACY[self._kind(factor.lost)]
        return (
            factor.condition * (SOLVE_ROUNDING + factor.lost) <= accuracy
            and factor.error(coef) <= accuracy
        )

    def _kind(self, lost: float) -> str:
        few, many = FLOAT32_ROUNDING
        if self.kind == "float32" and (self.wide or not few < lost < many):
            return "float32 with more digits"
        return self.kind

    def search_limit(self, alpha: float) -> float:
        """Condition number up to which the decision values of a search are accurate enough."""
        lost = self.lost(alpha)
        sums = (SEARCH_ACCURACY[self.kind] / lost) ** 2 if lost > 0.0 else np.inf
        return min(SEARCH_LIMIT[self.kind], sums)

    def solve_cholesky(
        self, alpha: float, overwrite: bool = False, limit: float | None = None
    ) -> Weights:
        """Weights by a Cholesky factorisation of the system scaled to a unit diagonal.

        The error of that solve is governed by the condition number after scaling (Higham, Accuracy
        and Stability of Numerical Algorithms, 2nd ed., section 10.1), which is estimated. Costs
        d^3 / 3 multiplications.

        Raises
        ------
        IllConditioned
            If the condition number exceeds ``limit`` (that of the sums, when None).
        """
        factor = self.factorise(alpha, overwrite, self.limit(alpha) if limit is None else limit)
        coef = factor.solve(self.rhs)
        if limit is None and not self.accurate(factor, coef):
            raise IllConditioned(factor.condition, factor.lost)
        return factor.weights(coef)

    def tridiagonal(self) -> Tridiagonal:
        """The system in tridiagonal form, in the metric of the penalty; ``4/3 d^3`` multiplications."""
        root = np.sqrt(self.penalties)
        form = self._metric(root)
        m = len(form)
        diagonal, beside, factors = np.empty((3, m))
        _triangle.tridiagonal(form, diagonal, beside, factors)
        rotated = np.asfortranarray((self.rhs[:, self.varies] / root).T)
        _triangle.rotate(form, factors, rotated, False)
        # LAPACK squares what it is given.
        top = max(np.abs(diagonal).max(), np.abs(beside[:-1]).max(), np.finfo(np.float64).tiny)
        smallest, largest = (
            top
            * scipy.linalg.eigvalsh_tridiagonal(
                diagonal / top, beside[:-1] / top, select="i", select_range=(i, i)
            )[0]
            for i in (0, m - 1)
        )
        return Tridiagonal(self, root, form, factors, diagonal, beside, rotated, smallest, largest)

    def spectrum(self, overwrite: bool = False) -> Spectrum:
        """Axes by an eigendecomposition in the metric of the penalty; ``9 d^3`` multiplications.

        The error of small values is relative to the largest one.
        """
        vectors = self._metric(np.sqrt(self.penalties), overwrite)
        values = np.empty(len(vectors))
        if _triangle.eigenvectors(vectors, values):
            raise np.linalg.LinAlgError("The eigendecomposition did not converge.")
        lost = (self.rounding[self.varies] / self.penalties).max(initial=0.0)
        noise = max(len(values) * EPSILON * values.max(initial=0.0), CONSTANT * float(lost))
        values[values <= noise] = 0.0
        return self._spectrum(values, 0.0, vectors, noise)

    def spectrum_of_factor(self, alpha: float, limit: float | None = None) -> Spectrum:
        """Axes by singular values of the Cholesky factor, for penalties from ``alpha`` up.

        The error of small values is relative to the root of the condition number: some two times
        the work of `spectrum`, for half as many digits lost.

        Raises
        ------
        IllConditioned
            If the condition number after scaling exceeds ``limit`` (`search_limit`, when None).

        References
        ----------
        Demmel and Veselic (1992), Jacobi's method is more accurate than QR, doi:10.1137/0613074,
        for the Cholesky factor as the start.
        """
        limit = self.search_limit(alpha) if limit is None else limit
        factor = self.factorise(alpha, False, limit)
        lower = np.tril(factor.lower)
        lower /= (factor.scale * np.sqrt(self.penalties))[:, None]
        # SciPy's would keep the threads of other folds waiting.
        vectors, values, _ = np.linalg.svd(lower)
        return self._spectrum(values**2, self.penalty(alpha), vectors, 0.0)

    def penalty(self, alpha: float) -> float:
        """The penalty of the summed loss."""
        return self.problem.penalty(alpha, self.weight_sum)

    def condition_bound(self, alpha: float) -> float:
        """An upper bound of the condition number in the metric of the penalty."""
        penalty = self.penalty(alpha)
        trace = float((self.gram.diagonal() / self.penalties).sum())  # no eigenvalue is larger
        return trace / penalty + 1.0 if penalty else np.inf

    def path(
        self,
        alphas: Sequence[float],
        solver: str = "auto",
        limit: Callable[[float], float] | None = None,
        rescue: Callable[[float, IllConditioned], Weights] | None = None,
    ) -> tuple[list[Weights], str]:
        """Weights for each of several penalties, and the solver that gave them.

        One tridiagonal form serves many penalties; small ones, for which it is not accurate enough,
        get a Cholesky each, as do few penalties. Where these would be many, singular values of one
        Cholesky factor serve all.

        Parameters
        ----------
        limit : callable, default=None
            ``limit(alpha)``: the largest condition number; `limit` of the system when None.
        rescue : callable, default=None
            ``rescue(alpha, error)``: weights for a penalty for which none is accurate enough.

        Raises
        ------
        IllConditioned
            If none is accurate enough for one of them, and there is no rescue.
        """
        checked, limit = limit is None, self.limit if limit is None else limit
        limits = [limit(alpha) for alpha in alphas]
        least = min(limits)
        shared: Spectrum | Tridiagonal | None = None

        def by_cholesky(alpha: float, most: float) -> Weights:
            try:
                return self.solve_cholesky(alpha, limit=None if checked else most)
            except IllConditioned as error:
                if rescue is None:
                    raise
                return rescue(alpha, error)

        many = solver == "auto" and len(alphas) > tridiagonal_pays(len(self.gram))
        if solver == "eigen" or many:
            bounds = [self.condition_bound(alpha) for alpha in alphas]
            if sum(bound > least for bound in bounds) > FACTOR_PAYS and max(bounds) <= least**2:
                with suppress(IllConditioned):
                    return self.spectrum_of_factor(min(alphas), least).weights(alphas), "eigen"
            shared = self.spectrum() if solver == "eigen" else self.tridiagonal()
        conditions = [shared.condition(alpha) if shared else np.inf for alpha in alphas]
        if solver == "eigen":
            for alpha, condition, most in zip(alphas, conditions, limits, strict=True):
                if condition > most:
                    raise IllConditioned(condition, self.lost(alpha))
        good = [condition <= most for condition, most in zip(conditions, limits, strict=True)]
        by_shared = [alpha for alpha, fits in zip(alphas, good, strict=True) if fits]
        found = iter(shared.weights(by_shared) if shared else ())
        path = [
            # The scaling that Cholesky allows makes it the more accurate of the two.
            next(found) if fits else by_cholesky(alpha, most)
            for alpha, fits, most in zip(alphas, good, limits, strict=True)
        ]
        return path, "eigen" if solver == "eigen" else "tridiagonal" if shared else "cholesky"

    def factorise(self, alpha: float, overwrite: bool, limit: float) -> CholeskyFactor:
        """Cholesky factorisation of the system scaled to a unit diagonal.

        Raises
        ------
        IllConditioned
            If the condition number exceeds ``limit``.
        """
        penalty = self.penalty(alpha) * self.penalties
        scale = 1.0 / np.sqrt(self.gram.diagonal() + penalty)
        system = self.gram if overwrite else np.empty_like(self.gram)
        norm = np.zeros(len(system))
        _triangle.scale(self.gram, scale, system, norm)
        lost = self.lost(alpha)
        try:
            lower, condition = _cholesky(system, norm, limit)
        except IllConditioned as error:
            raise IllConditioned(error.condition, lost) from None
        penalties = np.zeros(len(self.varies))
        penalties[self.varies] = penalty
        return CholeskyFactor(
            lower,
            scale,
            condition,
            lost,
            self.varies,
            self.squares,
            penalties,
            self.means,
            self.offset,
            self.target_means,
            self.problem,
        )

    def _metric(self, root: NDArray[np.float64], overwrite: bool = False) -> NDArray[np.float64]:
        """Lower triangle of the system without penalty, in units of the penalties' roots."""
        system = self.gram if overwrite else self.gram.copy()
        if self.problem.standardize:
            for rows in _row_blocks(len(system)):
                system[rows] /= root[rows, None] * root
        return system.T

    def _spectrum(
        self, values: NDArray[np.float64], base: float, vectors: NDArray[np.float64], noise: float
    ) -> Spectrum:
        if self.problem.standardize:
            vectors /= np.sqrt(self.penalties)[:, None]
        axes = vectors
        if not self.varies.all():
            axes = np.zeros((len(self.varies), len(values)), order="F")
            axes[self.varies] = vectors
        return Spectrum(
            values,
            base,
            axes,
            self.rhs @ axes,
            self.means,
            self.target_means,
            self.squares,
            self.weight_sum,
            self.problem,
            noise,
        )


def _variances(
    statistics: SufficientStatistics,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Sums of squares of the columns about their means; and of which nothing is known."""
    n = statistics.weight_sum
    about, sums = statistics.gram.diagonal(), statistics.feature_sums
    if statistics.exact:  # in Python's integers, which do not overflow
        rows = statistics.n_samples
        exact = [rows * int(a) - int(b) ** 2 for a, b in zip(about, sums, strict=True)]
        return np.array([value / rows for value in exact]), np.zeros(len(about), np.bool_)
    rounding = np.hypot(statistics.rounding, EPSILON * about)
    return _known_variances(about - sums * (sums / n), rounding, statistics.means, statistics)


def _known_variances(
    variances: NDArray[np.float64],
    rounding: NDArray[np.float64],
    means: NDArray[np.float64],
    statistics: SufficientStatistics,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Variances, zero where they may be nothing but rounding; and where that may yet hide some.

    Values that are all within a few roundings of their mean are those of a constant.
    """
    known = np.where(variances > CONSTANT * rounding, variances, 0.0)
    smallest = 4.0 * float(np.finfo(statistics.dtype).eps) * np.abs(means)
    hidden = CONSTANT * rounding > statistics.weight_sum * smallest * smallest
    return known, (known == 0.0) & hidden


def tridiagonal_pays(n_features: int) -> float:
    """Penalties beyond which one tridiagonal form costs less than a Cholesky for each."""
    if n_features < 2:  # a single equation, which SciPy's banded solver does not take
        return np.inf
    sizes, pays = np.log(list(TRIDIAGONAL_PAYS)), list(TRIDIAGONAL_PAYS.values())
    return float(np.interp(np.log(n_features), sizes, pays))


def _cholesky(
    system: NDArray[np.float64], norm: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.float64], float]:
    """Lower factor of a C-ordered upper triangle, in its memory, and an estimate of its condition."""
    factor = system.T
    if not len(factor):
        return factor, 1.0
    if _triangle.cholesky(factor, CHOLESKY_PANEL) > 0:
        raise IllConditioned(np.inf)
    reciprocal, _ = lapack.dpocon(factor, norm.max(initial=0.0), uplo="L")
    if reciprocal * limit < 1.0:
        raise IllConditioned(1.0 / reciprocal if reciprocal else np.inf)
    return factor, 1.0 / reciprocal


def with_intercept(
    coef: NDArray[np.float64],
    means: NDArray[np.float64],
    target_means: NDArray[np.float64],
    fit_intercept: bool,
    n_iter: NDArray[np.int64] | None = None,
) -> Weights:
    """Coefficients with the intercept that makes the mean prediction the mean target."""
    intercept = target_means - coef @ means if fit_intercept else np.zeros(len(coef))
    return Weights(coef, intercept, n_iter)


def blas_of_solve(n_features: int) -> AbstractContextManager[None]:
    """Holds BLAS to one thread where a decomposition gains less by more than it costs.

    BLAS's threads and OpenMP's know nothing of each other, and each wait for their next work busily,
    for some 20 ms. After a solve of a few ms they would take the cores of the next fold.
    """
    return blas_threads(1) if n_features <= FEATURES_ONE_THREAD else nullcontext()


def solve_refined(
    statistics: SufficientStatistics, alpha: float, problem: Problem, overwrite: bool = False
) -> tuple[Weights, CholeskyFactor | None]:
    """Weights by a Cholesky factorisation, refined if need be and if the sums are exact.

    Parameters
    ----------
    overwrite : bool, default=False
        Whether the statistics may be destroyed; exact ones, which refinement needs, are not.

    Returns
    -------
    weights : Weights
    factor : CholeskyFactor, or None
        For `refine` with residuals from the rows, without which the weights have too few digits.

    Raises
    ------
    IllConditioned
        If that would not help either.
    """
    with blas_of_solve(statistics.n_features):
        system = NormalEquations(statistics, problem, overwrite and not statistics.exact)
        factor = system.factorise(alpha, True, REFINE_LIMIT)
        coef = factor.solve(system.rhs)
        if system.accurate(factor, coef):
            return factor.weights(coef), None
        if factor.lost > 0.1:  # no step would correct anything
            raise IllConditioned(factor.condition, factor.lost)
        residual = exact_residual(statistics, factor) if statistics.exact else None
        if residual is None:
            return factor.weights(coef), factor
        return refine(factor, coef, residual), None


def solve_path(
    statistics: SufficientStatistics,
    alphas: Sequence[float],
    problem: Problem,
    solver: str = "auto",
) -> tuple[list[Weights], str]:
    """Weights for each of several penalties, from statistics alone.

    Returns
    -------
    weights : list of Weights
    solver : {"cholesky", "tridiagonal", "eigen"}
        The one that was used; not the first, if two were. Where none is accurate, there is an
        `IllConditionedWarning`.
    """
    system = NormalEquations(statistics, problem)

    def refined(alpha: float, error: IllConditioned) -> Weights:
        if not statistics.exact or error.condition > REFINE_LIMIT:
            raise error
        factor = system.factorise(alpha, False, REFINE_LIMIT)
        residual = exact_residual(statistics, factor)
        if residual is None:
            raise error
        return refine(factor, factor.solve(system.rhs), residual)

    try:
        return system.path(alphas, solver, rescue=refined)
    except IllConditioned as error:
        what = str(error)
    warn_caller(
        f"The system is ill-conditioned ({what}): its solution has fewer than 8 digits. An "
        "eigendecomposition left out the directions that rounding has swallowed. Raise alpha, or fit "
        "on the rows with solver='svd'.",
        IllConditionedWarning,
    )
    return system.spectrum(overwrite=True).weights(alphas), "eigen"


@dataclass(frozen=True)
class Factor:
    """The rows of a problem, rotated.

    Attributes
    ----------
    R : ndarray of shape (r, 1 + d + t)
        From `QRReduction`, of the classes that are targets.
    shift : ndarray of shape (d,)
        What it is about.
    weight_sum : float
    variances : ndarray of shape (d,), or None
        Sums of squares of the columns about their means, where R does not tell: features are to be
        scaled, and not centred.
    """

    R: NDArray[np.float64]
    shift: NDArray[np.float64]
    weight_sum: float
    variances: NDArray[np.float64] | None = None


class RowSystem:
    """The least-squares problem of a `Factor`, without what rounding has made of its rows.

    Nothing is squared. A direction of the rows, all columns scaled to unit length, whose singular value
    is rounding takes no part, whatever the penalty: what a tiny one would make of it is rounding too.

    Parameters
    ----------
    factor : Factor
        Made with the same ``fit_intercept``.
    problem : Problem

    Attributes
    ----------
    rows : ndarray of shape (r, m)
        Of columns that vary, scaled if they are standardised; of full row rank.
    targets : ndarray of shape (r, t)
    """

    def __init__(self, factor: Factor, problem: Problem) -> None:
        R, shift, weight_sum = factor.R, factor.shift, factor.weight_sum
        d = len(shift)
        first = int(problem.fit_intercept)  # rows of R that project the intercept out
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
        # What of a unit penalty a direction gets, and how far its value may be from zero.
        self._swallowed = np.linalg.norm(Vt[~real] / lengths, axis=1)
        self._size = size
        if not real.all():
            self.rows = s[real, None] * Vt[real] * lengths
            self.targets = U[:, real].T @ self.targets

    def spectrum(self) -> Spectrum:
        """Axes by the singular value decomposition of the rows."""
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

    def solve(self, alpha: float) -> tuple[Weights, float]:
        """Weights, of least norm where there are many, and their estimated relative error.

        The error is that of a twin whose rows are off by as much as rounding moves the columns of a QR.
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
        # Squares that underflow hide a column, unless the penalty does.
        with np.errstate(divide="ignore", invalid="ignore"):
            underflow = self._underflow * self.weight_sum**0.5 / np.float64(penalty)
            hidden = underflow / length if underflow > 0.0 else 0.0
        if not length > 0.0:
            return float(hidden)
        # What no weights explain of the targets is a row more for each, of zeros.
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
            # Their values may be as large as rounding, and the penalty leaves room for it.
            with np.errstate(divide="ignore"):
                values = self._size * residual.max() / (np.float64(penalty) * self._swallowed)
            error += float(values.max()) / length
        return error


def _least_squares(
    rows: NDArray[np.float64], targets: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Solution, shape (m, t), of least norm where there are many.

    By a QR of the rows below the root of the penalty, whose error does not grow if columns are of
    different sizes; with ``m`` columns some ``2 m^3`` multiplications.

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
    # Below the penalty, rows that it outweighs keep their digits.
    stack = np.zeros((r + m, m + targets.shape[1]), order="F")
    stack[:m, :m].flat[:: m + 1] = penalty**0.5
    stack[m:, :m], stack[m:, m:] = rows, targets
    lengths = np.linalg.norm(stack[:, :m], axis=0)
    stack[:, :m] /= lengths
    (R,) = scipy.linalg.qr(stack, mode="r", overwrite_a=True, check_finite=False)
    solution = scipy.linalg.solve_triangular(R[:m, :m], R[:m, m:], check_finite=False)
    solution /= lengths[:, None]
    return solution if basis is None else basis @ solution


def _fold_factor(backend: Backend, source: Source, target: Target, problem: Problem) -> Factor:
    shift, variances = np.zeros(source.n_features), None
    k, first = len(target.classes), int(problem.fit_intercept)
    d = source.n_features
    if problem.fit_intercept:  # sparse rows too: blocks of them are made dense
        shift = choose_shift(source.sample(SAMPLE_ROWS))
    elif problem.standardize:
        moments, _ = fold_moments(backend, source, k)
        variances = moments.variances
    R = backend.fold(QRReduction(k, shift, bool(first)), source).R
    if problem.fit_intercept:
        with np.errstate(over="ignore"):
            squares, away = (R[1:, 1 : 1 + d] ** 2).sum(axis=0), R[0, 1 : 1 + d]
        # Rows rotate with an error of EPSILON of their size about the shift.
        far = EPSILON * np.abs(away) > WORTH_A_PASS["float64"] * np.sqrt(squares)
        if far.any() and R[0, 0] != 0.0:
            shift = np.where(far, shift + away / R[0, 0], shift)
            R = backend.fold(QRReduction(k, shift, True), source).R
    R = np.hstack([R[:, : d + 1], R[:, d + 1 :][:, n_targets(k, target.multilabel)]])
    return Factor(R, shift, source.weight_sum(), variances)


def fold_moments(
    backend: Backend, source: Source, n_classes: int
) -> tuple[Moments, NDArray[np.float64]]:
    """Moments of a source about a shift that loses little, and the shift."""
    shift = choose_shift(source.sample(SAMPLE_ROWS))
    moments = backend.fold(MomentsReduction(n_classes, shift), source)
    centred = moments.variances
    far = (EPSILON * moments.square_sums > WORTH_A_PASS["float64"] * centred) & (
        moments.square_sums > FAR * centred
    )
    if far.any() and moments.weight_sum > 0.0:
        shift = np.where(far, shift + moments.feature_sums / moments.weight_sum, shift)
        moments = backend.fold(MomentsReduction(n_classes, shift), source)
    return moments, shift


def fold_spectrum(backend: Backend, source: Source, target: Target, problem: Problem) -> Spectrum:
    """Axes of the rows of a source, by a QR fold: see `RowSystem`."""

    def solve(factor: Factor) -> Spectrum:
        return RowSystem(factor, problem).spectrum()

    return backend.map(solve, [_fold_factor(backend, source, target, problem)])[0]


def fold_path(
    backend: Backend, source: Source, target: Target, problem: Problem, alphas: Sequence[float]
) -> list[tuple[Weights, float]]:
    """Weights for each penalty, by a QR fold, and their estimated errors: see `RowSystem`."""

    def solve(factor: Factor) -> list[tuple[Weights, float]]:
        system = RowSystem(factor, problem)
        return [system.solve(alpha) for alpha in alphas]

    return backend.map(solve, [_fold_factor(backend, source, target, problem)])[0]


class _Rows:
    """Rows for a problem where n < d, less a shift near their means, and scaled if standardised.

    Parameters
    ----------
    blocks : sequence of Block
    weights : ndarray of shape (n,)
        By which means and variances are taken.
    problem : Problem

    Attributes
    ----------
    means, scale, variances : ndarray of shape (d,)
        Variances are those after scaling.
    shift : ndarray of shape (d,)
        Of dense rows the means; of sparse ones only in columns far from zero, which hardly have a
        zero to fill in. Zero without an intercept.
    parts : list of slice
        Rows of each block.
    """

    def __init__(
        self, blocks: Sequence[Block], weights: NDArray[np.float64], problem: Problem
    ) -> None:
        self.blocks = blocks
        edges = np.cumsum([0] + [block.X.shape[0] for block in blocks])
        self.parts = [slice(a, b) for a, b in pairwise(edges)]
        self.sparse = not isinstance(blocks[0].X, np.ndarray)
        self.means, variances, constant = self._moments(weights)
        self.variances = variances.copy()
        self.scale = np.ones(len(self.means))
        if problem.standardize:
            varies = variances > 0.0
            self.scale[varies] = np.sqrt(variances[varies])
            self.variances[varies] = 1.0
        self.inverse = 1.0 / self.scale
        # Constant columns become exact zeros.
        centre = np.where(np.isnan(constant), self.means, constant)
        if self.sparse:
            centre[self.means**2 <= variances] = 0.0
        self.shift = centre if problem.fit_intercept else np.zeros(len(centre))

    def __len__(self) -> int:
        return self.parts[-1].stop

    def moved(self, i: int, shift: NDArray[np.float64]) -> Any:
        """Rows of a block less a shift, in float64: an array or CSR."""
        X = self.blocks[i].X
        return shifted(_dense(X) if isinstance(X, np.ndarray) else X, shift)

    def dense(self, i: int) -> NDArray[np.float64]:
        """Rows of a block as they are multiplied."""
        return np.asarray(self.moved(i, self.shift) * self.inverse)

    def products(self) -> NDArray[np.float64]:
        """Products of all pairs of rows, upper triangle; ``n^2 d / 2`` multiplications."""
        K = np.zeros((len(self), len(self)))  # below too: what is there is multiplied
        if self.sparse:
            moved = [self.moved(i, self.shift) for i in range(len(self.blocks))]
            X = sp.vstack(moved, format="csr") @ sp.diags_array(self.inverse)
            K[:] = (X @ X.T).toarray()
            return K
        for i, left in enumerate(self.parts):
            rows = self.dense(i)
            for j in range(i, len(self.parts)):
                K[left, self.parts[j]] = rows @ (rows if i == j else self.dense(j)).T
        return K

    def product(self, V: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Z V``, shape (n, t), for V of shape (d, t); uncentred are what sparse rows are."""
        scaled = V * self.inverse[:, None]
        return np.vstack([self.moved(i, self.shift) @ scaled for i in range(len(self.blocks))])

    def transposed_product(self, V: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Z^T V``, shape (d, t), for V of shape (n, t) whose columns add up to zero if centred."""
        product = sum(self.moved(i, self.shift).T @ V[p] for i, p in enumerate(self.parts))
        return np.asarray(product * self.inverse[:, None])

    def _moments(
        self, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Means and variances; and the values of constant columns, NaN for others."""
        total = weights.sum()
        # The first shift is the heaviest row: where one has nearly all of the weight, the mean is there.
        row = int(np.argmax(weights))
        i = next(i for i, part in enumerate(self.parts) if row < part.stop)
        X = self.blocks[i].X[row - self.parts[i].start : row - self.parts[i].start + 1]
        shift = (X if isinstance(X, np.ndarray) else X.toarray())[0].astype(np.float64)
        for _ in range(2):
            away, squares = np.zeros((2, len(shift)))
            for i, part in enumerate(self.parts):
                rows: Any = self.moved(i, shift)
                part_weights = weights[part] / total
                away += rows.T @ part_weights
                with np.errstate(over="ignore"):
                    squares += _weighted_squares(rows, part_weights)
            check_range(squares)
            variances = np.maximum(squares - away * away, 0.0)
            means = shift + away
            far = squares > FAR * variances
            constant = squares <= (8.0 * EPSILON * means) ** 2
            if not (far & ~constant).any():
                break
            shift = np.where(far & ~constant, means, shift)
        variances[constant] = 0.0
        return means, variances, np.where(constant, shift, np.nan)


def _weighted_squares(X: Any, weights: NDArray[np.float64]) -> Any:
    if isinstance(X, np.ndarray):
        return np.einsum("ij,ij,i->j", X, X, weights)
    return X.multiply(X).T @ weights


def solve_dual(
    blocks: Sequence[Block], n_classes: int, multilabel: bool, alpha: float, problem: Problem
) -> Weights:
    """Weights by the dual system ``(Z Z^T + alpha I) u = y``, ``w = Z^T u``, for n < d.

    ``Z`` holds the rows, centred and times the roots of their weights. Memory is n x n and one
    block of rows; time ``n^2 d``.

    Where the condition number asks for it, the solution is refined with residuals from the rows, which
    do not square it.

    Raises
    ------
    IllConditioned
        If the solution would not be accurate.

    References
    ----------
    Saunders, Gammerman and Vovk (1998), Ridge regression learning algorithm in dual variables.
    """
    weights = block_weights(blocks)
    total, roots = weights.sum(), np.sqrt(weights)
    rows = _Rows(blocks, weights, problem)
    Y = np.vstack([b.labels.indicator(n_classes) for b in blocks])
    Y = Y[:, n_targets(n_classes, multilabel)]
    with np.errstate(over="ignore", invalid="ignore"):
        K = rows.products()
        K *= roots
        K *= roots[:, None]
    check_range(K.diagonal(), "Row")
    before = K.diagonal().copy()
    target_means = weights @ Y / total if problem.fit_intercept else np.zeros(Y.shape[1])
    rhs = (Y - target_means) * roots[:, None]
    mean = roots / total**0.5  # of unit length
    if problem.fit_intercept:
        # Products about the shift become those about the mean, as a Gram matrix does.
        image = blas.dsymv(1.0, K.T, mean, lower=1)
        image -= 0.5 * (mean @ image) * mean
        blas.dsyr2(-1.0, mean, image, a=K.T, lower=1, overwrite_a=1)
    penalty = problem.penalty(alpha, total)
    K.flat[:: len(K) + 1] += penalty
    diagonal = K.diagonal().copy()
    if problem.fit_intercept:
        # Centring leaves K without the direction of the mean, which the right-hand side lacks too.
        # Filling it keeps a small alpha from making the system look singular.
        fill = K.trace() / len(K)
        blas.dsyr(fill, mean, a=K.T, lower=1, overwrite_a=1)
    filled = K.diagonal().copy()
    filled[filled <= 0.0] = 1.0
    scale = 1.0 / np.sqrt(filled)  # as for the primal system: weights may differ by any factor
    norm = np.zeros(len(K))
    _triangle.scale(K, scale, K, norm)
    positive = diagonal > 0.0
    lost = EPSILON * float((before[positive] / diagonal[positive]).max(initial=0.0))
    try:
        factor, condition = _cholesky(K, norm, REFINE_LIMIT)
    except IllConditioned as error:
        raise IllConditioned(error.condition, lost) from None

    def centred(V: NDArray[np.float64]) -> NDArray[np.float64]:
        return V - np.outer(mean, mean @ V) if problem.fit_intercept else V

    def solved(rhs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        dual, _ = lapack.dpotrs(factor, rhs * scale[:, None], lower=1)
        dual = centred(dual * scale[:, None])
        return dual, rows.transposed_product(roots[:, None] * dual)

    dual, primal = solved(rhs)
    accuracy, last = REFINED[str(coefficient_dtype(blocks[0].X.dtype))], 1.0
    while condition * (SOLVE_ROUNDING + lost) > accuracy:
        image = centred(roots[:, None] * rows.product(primal)) + penalty * dual
        step, change = solved(rhs - image)
        dual, primal = dual + step, primal + change
        length = np.linalg.norm(primal, axis=0).max()
        size = float(np.linalg.norm(change, axis=0).max() / length) if length > 0.0 else 0.0
        if size <= accuracy:
            break
        if not size < last / 4:
            raise IllConditioned(condition, lost)
        last = size
    # A sum that cancels: of features that explain little of the targets.
    size = float(np.sqrt(rows.variances * total).max(initial=0.0))
    explained = max(size * float(np.linalg.norm(primal, axis=0).max()), UNRELATED * total**0.5)
    if EPSILON * size**2 * float(np.linalg.norm(dual, axis=0).max()) > accuracy * explained:
        raise IllConditioned(condition, lost)
    coef = (primal * rows.inverse[:, None]).T
    return with_intercept(coef, rows.means, target_means, problem.fit_intercept)


def block_weights(blocks: Sequence[Block]) -> NDArray[np.float64]:
    """Weights of all rows."""
    return np.concatenate(
        [np.ones(b.X.shape[0]) if b.weights is None else b.weights for b in blocks]
    )


def row_coordinates(
    blocks: Sequence[Block], weights: NDArray[np.float64], problem: Problem, smallest: float
) -> NDArray[np.float64]:
    """Rows in an orthonormal basis of the space that they span, where n < d; shape (n, m), m <= n.

    Inner products and distances of rows stay as they are, and so do all answers of a ridge problem.
    The coordinates come from an eigendecomposition of the products of all rows, n x n, in time
    ``n^2 d``; where that would lose what a small penalty makes visible, from a QR of the transposed
    rows, which squares nothing and takes some three times the time.

    Parameters
    ----------
    blocks : sequence of Block
        The rows.
    weights : ndarray of shape (n,)
        By which means and variances are taken.
    problem : Problem
        Rows are centred if it has an intercept, and features scaled if they are standardised.
    smallest : float
        The smallest penalty of the summed loss that is to be used.
    """
    n = sum(block.X.shape[0] for block in blocks)
    rows = _Rows(blocks, weights, problem)
    K = rows.products()
    if K.trace() <= SEARCH_LIMIT["float64"] * smallest:
        values, vectors = scipy.linalg.eigh(
            K.T, lower=True, overwrite_a=True, check_finite=False, driver="evd"
        )
        real = values > n * EPSILON * values.max(initial=0.0)
        real[-1] = True  # rows that are all the same have a coordinate too
        coordinates: NDArray[np.float64] = vectors[:, real] * np.sqrt(values[real])
        return np.ascontiguousarray(coordinates)
    del K
    R = np.zeros((0, n))
    by_column = None
    if rows.sparse:
        by_column = sp.vstack([block.X for block in blocks], format="csc")
    d = blocks[0].X.shape[1]
    centre = rows.means if problem.fit_intercept else rows.shift
    for first in range(0, d, max(n // 2, 512)):
        columns = slice(first, min(first + max(n // 2, 512), d))
        stack = np.empty((len(R) + columns.stop - first, n), order="F")
        stack[: len(R)] = R
        if by_column is not None:
            stack[len(R) :] = by_column[:, columns].T.toarray()
        else:
            for block, part in zip(blocks, rows.parts, strict=True):
                stack[len(R) :, part] = block.X[:, columns].T
        stack[len(R) :] -= centre[columns, None]
        stack[len(R) :] *= rows.inverse[columns, None]
        (R,) = scipy.linalg.qr(stack, mode="r", overwrite_a=True, check_finite=False)
        R = R[:n].copy()
    return np.ascontiguousarray(R.T)


def solve_conjugate_gradients(
    moments: Moments,
    shift: NDArray[np.float64],
    product: Callable[[NDArray[np.float64], NDArray[Any], NDArray[Any]], NDArray[np.float64]],
    multilabel: bool,
    alpha: float,
    problem: Problem,
    accuracy: float = 1e-8,
) -> Weights:
    """Weights by conjugate gradients on the normal equations, all targets at once.

    Needs no d x d and no n x n matrix; each iteration is one pass over the rows.

    Parameters
    ----------
    moments : Moments
        About ``shift``.
    product : callable
        ``product(V, mean, scale)`` gives ``Z^T W (Z V)`` with ``Z = (X - mean) / scale``.
    accuracy : float, default=1e-8
        Relative error of the weights to reach.

    References
    ----------
    Hestenes and Stiefel (1952), doi:10.6028/jres.049.044; the preconditioner is the diagonal. The
    coefficients of the iteration make a tridiagonal matrix whose eigenvalues tell the condition number:
    Golub and Van Loan (2013), Matrix Computations, 4th ed., section 11.3.
    """
    n = moments.weight_sum
    unit = 2.0 ** np.floor(np.log2(n))  # sums of weights of any size, without over- or underflow
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
        # Unscaled steps stay in the span of the rows, which gives the solution of least norm.
        diagonal[:] = 1.0
    diagonal[constant] = np.inf

    def image_of(V: NDArray[np.float64]) -> NDArray[np.float64]:
        return product(V, means, scale) / unit + penalty * V

    X, n_iter, condition, converged = _conjugate_gradients(
        image_of, B, diagonal, penalty, accuracy, 10 * min(len(B), moments.n_samples) + 100
    )
    # Rounding of a product is relative to the largest eigenvalue, that of B to the sums it is from.
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
    # Below is rounding, whatever the columns' sizes, and without a penalty what no row has.
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
    if penalty:  # what directions have that no row has, and no step has seen
        condition = max(condition, largest / penalty)
    return X, n_iter, condition, not active.any()


def _ritz_condition(
    steps: NDArray[np.float64], ratios: NDArray[np.float64], n_iter: NDArray[np.int64]
) -> float:
    """Condition number of the preconditioned system, as far as the longest iteration has seen it."""
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


def _dense(X: Any) -> NDArray[np.float64]:
    """Rows as float64, whole blocks of rows at most; in C order, so that layouts give the same bits."""
    return np.asarray(X if isinstance(X, np.ndarray) else X.toarray(), dtype=np.float64, order="C")


def _row_blocks(n: int, size: int = 256) -> list[slice]:
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
