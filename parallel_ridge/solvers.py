"""From statistics and penalties to weights; every solve is in float64."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
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
from parallel_ridge.reductions import (
    SAMPLE_ROWS,
    Leverages,
    Moments,
    QRReduction,
    choose_shift,
)
from parallel_ridge.sources import Block, Source, Target
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
EPSILON = np.finfo(np.float64).eps
# What is left of a constant column's variance, relative to its squares, after long plain sums.
SUM_NOISE = 1e-12
# Condition number from which statistics alone are too little, to keep the relative error below 1e-8: on
# systems made to be bad, the error was up to some ten times the condition number times EPSILON.
CONDITION_LIMIT = 2e7
# Of sums of float32 products, times the root of the number of rows, over which rounding errors average
# out: 2^-24 a term, in sums of 128 (of which four are added, or sixteen of many features); a hundredth
# of the weights may go.
FLOAT32_LIMIT = 1e-2 * 2.0**24 / 128**0.5
# Parts of these limits from which on passes over the rows, or exact sums, mend what was lost: exact sums
# have lost nothing themselves, and a pass over float32 rows costs a third of their fold.
REFINE_FROM = {"float64": 0.2, "float32": 1.0, "exact": 0.25}
# Up to here a Cholesky factor still corrects its own solution: each step of `refine` leaves the
# condition number times EPSILON, and what the sums have lost, of the error before it.
REFINE_LIMIT = 1e13
# Part of the sums that cancellation may take before rows must mend it.
LARGEST_LOSS = 1e-9
# Scores need fewer digits than weights: what is lost is in directions that hardly any row has. Of
# integers the sums are exact, and float32 rows are rounded themselves.
SEARCH_LIMIT = 1e9
ROUNDED_SEARCH_LIMIT = 1e12
# Penalties beyond which one tridiagonal form costs less than a Cholesky for each, as measured up to and
# at some numbers of features (AMD Zen 4, OpenBLAS, ten classes, one and two threads).
TRIDIAGONAL_PAYS = {1500: 5, 4000: 10}


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
    """

    def __init__(self, condition: float) -> None:
        super().__init__(condition)
        self.condition = condition


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
        Values up to here are rounding, of which only a penalty makes anything.
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
        real = (divisor > 0.0) & ((penalties > 0.0)[:, None] | (self.values > self.noise))
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
    varies : ndarray of shape (d,), bool
        Columns with variance; the weights of others are zero.
    penalty, means : ndarray of shape (d,)
        ``penalty`` is the diagonal of ``alpha P``.
    target_means : ndarray of shape (t,)
    problem : Problem
    """

    lower: NDArray[np.float64]
    scale: NDArray[np.float64]
    condition: float
    varies: NDArray[np.bool_]
    penalty: NDArray[np.float64]
    means: NDArray[np.float64]
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

    def weights(self, coef: NDArray[np.float64]) -> Weights:
        """Coefficients with their intercepts."""
        return with_intercept(coef, self.means, self.target_means, self.problem.fit_intercept)


def refine(
    factor: CholeskyFactor,
    coef: NDArray[np.float64],
    residual: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    mapping: Callable[..., Any] = map,
    accuracy: float = 1e-8,
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

    Raises
    ------
    IllConditioned
        If steps do not become smaller.

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
            return factor.weights(coef)
        if not size < before / 4:
            raise IllConditioned(factor.condition)
        before = size


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
        if not problem.fit_intercept:
            shift = np.zeros(statistics.n_features)
        elif statistics.exact:  # as close to the mean as integers come, without any rounding
            shift = np.rint(shift + statistics.feature_sums / statistics.n_samples)
        moved = statistics.reshift(shift, overwrite=overwrite, floats=True)
        gram = moved.gram
        sums = moved.feature_sums.astype(np.float64)
        targets = n_targets(statistics.n_classes, statistics.multilabel)
        class_sums = moved.class_sums[targets].astype(np.float64)
        class_weights = moved.class_weights[targets]

        uncentred = gram.diagonal().copy()
        variances = uncentred - sums**2 / n
        # What cancellation may leave of a constant column is rounding, not variance. That of float64:
        # a shift makes constant float32 columns exact zeros, and sparse ones are summed in float64.
        variances[variances <= 8 * EPSILON * uncentred] = 0.0
        if problem.fit_intercept:
            # The transpose of a C-ordered upper triangle is the lower one that BLAS updates.
            blas.dsyr(-1.0 / n, sums, a=gram.T, lower=1, overwrite_a=1)
            gram.flat[:: len(gram) + 1] = variances
            self.means = moved.shift + sums / n
            self.rhs = 2.0 * (class_sums - np.outer(class_weights / n, sums))
        else:
            self.means = np.zeros(len(sums))
            self.rhs = 2.0 * class_sums - sums
        self.squares = gram.diagonal().copy()
        self.varies = self.squares > 0.0
        # Constant columns get no weight, and their products with others are rounding.
        kept = np.flatnonzero(self.varies)
        _triangle.select(gram, kept)
        self.gram = gram.reshape(-1)[: len(kept) ** 2].reshape(len(kept), len(kept))
        cancelled = uncentred[self.varies] / self.squares[self.varies]
        self.loss = EPSILON * float(cancelled.max(initial=1.0))
        self.target_means = 2.0 * class_weights / n - 1.0
        self.weight_sum = n
        rounded = statistics.exact or statistics.dtype == np.float32
        self.limit = CONDITION_LIMIT
        if statistics.dtype == np.float32 and not statistics.exact:
            self.limit = min(self.limit, FLOAT32_LIMIT * statistics.n_samples**0.5)
        kind = "exact" if statistics.exact else str(statistics.dtype)
        self.refine_from = REFINE_FROM[kind] * self.limit
        self.search_limit = ROUNDED_SEARCH_LIMIT if rounded else SEARCH_LIMIT
        self.problem = problem
        self.penalties = np.ones(len(self.gram))
        if problem.standardize:
            self.penalties = np.where(variances > 0.0, variances / n, 1.0)[self.varies]

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
        factor = self.factorise(alpha, overwrite, self.limit if limit is None else limit)
        return factor.weights(factor.solve(self.rhs))

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
        values[values <= len(values) * EPSILON * values.max(initial=0.0)] = 0.0
        return self._spectrum(values, 0.0, vectors)

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
        factor = self.factorise(alpha, False, self.search_limit if limit is None else limit)
        lower = np.tril(factor.lower)
        lower /= (factor.scale * np.sqrt(self.penalties))[:, None]
        # SciPy's would keep the threads of other folds waiting.
        vectors, values, _ = np.linalg.svd(lower)
        return self._spectrum(values**2, self.penalty(alpha), vectors)

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
        limit: float | None = None,
        rescue: Callable[[float, IllConditioned], Weights] | None = None,
    ) -> tuple[list[Weights], str]:
        """Weights for each of several penalties, and the solver that gave them.

        One tridiagonal form serves many penalties; small ones, for which it is not accurate enough,
        get a Cholesky each, as do few penalties. Where these would be many, singular values of one
        Cholesky factor serve all.

        Parameters
        ----------
        rescue : callable, default=None
            ``rescue(alpha, error)``: weights for a penalty for which none is accurate enough.

        Raises
        ------
        IllConditioned
            If none is accurate enough for one of them, and there is no rescue.
        """
        limit = self.limit if limit is None else limit
        shared: Spectrum | Tridiagonal | None = None

        def by_cholesky(alpha: float) -> Weights:
            try:
                return self.solve_cholesky(alpha, limit=limit)
            except IllConditioned as error:
                if rescue is None:
                    raise
                return rescue(alpha, error)

        many = solver == "auto" and len(alphas) > tridiagonal_pays(len(self.gram))
        if solver == "eigen" or many:
            bounds = [self.condition_bound(alpha) for alpha in alphas]
            if sum(bound > limit for bound in bounds) > FACTOR_PAYS and max(bounds) <= limit**2:
                with suppress(IllConditioned):
                    return self.spectrum_of_factor(min(alphas), limit).weights(alphas), "eigen"
            shared = self.spectrum() if solver == "eigen" else self.tridiagonal()
        conditions = [shared.condition(alpha) if shared else np.inf for alpha in alphas]
        if solver == "eigen" and max(conditions) > limit:
            raise IllConditioned(max(conditions))
        by_shared = [alpha for alpha, c in zip(alphas, conditions, strict=True) if c <= limit]
        found = iter(shared.weights(by_shared) if shared else ())
        path = [
            # The scaling that Cholesky allows makes it the more accurate of the two.
            next(found) if condition <= limit else by_cholesky(alpha)
            for alpha, condition in zip(alphas, conditions, strict=True)
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
        lower, condition = _cholesky(system, norm, limit)
        penalties = np.zeros(len(self.varies))
        penalties[self.varies] = penalty
        return CholeskyFactor(
            lower,
            scale,
            condition,
            self.varies,
            penalties,
            self.means,
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
        self, values: NDArray[np.float64], base: float, vectors: NDArray[np.float64]
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
        )


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
        if factor.condition <= system.refine_from and system.loss <= LARGEST_LOSS:
            return factor.weights(coef), None
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
        condition = error.condition
    warn_caller(
        f"The system is ill-conditioned (condition number {condition:.1e}): its solution has fewer "
        "than 8 digits. An eigendecomposition left out the directions that rounding has "
        "swallowed. Raise alpha, or fit on the rows with solver='svd'.",
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
    """

    R: NDArray[np.float64]
    shift: NDArray[np.float64]
    weight_sum: float


def spectrum_of_rows(factor: Factor, problem: Problem) -> Spectrum:
    """Axes by the singular value decomposition of the R factor of the rows.

    The most accurate way: nothing is squared. Without a penalty, singular values that are rounding are
    left out.

    Parameters
    ----------
    factor : Factor
        Made with the same ``fit_intercept``.
    """
    R, shift, weight_sum = factor.R, factor.shift, factor.weight_sum
    d = len(shift)
    first = int(problem.fit_intercept)  # rows of R that project the intercept out
    A, ones, B = R[first:, first : first + d], R[:, 0 if first else d], R[first:, d + 1 :]
    means, target_means = np.zeros(d), np.zeros(B.shape[1])
    squares = (A**2).sum(axis=0)
    if problem.fit_intercept:
        means, target_means = R[0, 1 : 1 + d] / ones[0], R[0, d + 1 :] / ones[0]
        variances = squares
    else:
        variances = squares - (A.T @ ones) ** 2 / weight_sum
    scale = np.ones(d)
    if problem.standardize:
        varies = variances > 8 * EPSILON * (squares + (8 * EPSILON * weight_sum) * means**2)
        scale[varies] = np.sqrt(variances[varies] / weight_sum)
    means += shift
    U, s, Vt = scipy.linalg.svd(A / scale, full_matrices=False, check_finite=False)
    rotated = (s[:, None] * (U.T @ B)).T
    noise = float(max(A.shape) * EPSILON * s.max(initial=0.0)) ** 2
    axes = Vt.T / scale[:, None]
    return Spectrum(
        s**2, 0.0, axes, rotated, means, target_means, squares, weight_sum, problem, noise
    )


def _fold_factor(backend: Backend, source: Source, target: Target, problem: Problem) -> Factor:
    shift = np.zeros(source.n_features)
    if problem.fit_intercept:  # sparse rows too: blocks of them are made dense
        shift = choose_shift(source.sample(SAMPLE_ROWS))
    k = len(target.classes)
    triangle = backend.fold(QRReduction(k, shift, bool(problem.fit_intercept)), source)
    first = source.n_features + 1
    R = np.hstack(
        [triangle.R[:, :first], triangle.R[:, first:][:, n_targets(k, target.multilabel)]]
    )
    return Factor(R, shift, source.weight_sum())


def fold_spectrum(backend: Backend, source: Source, target: Target, problem: Problem) -> Spectrum:
    """Axes of the rows of a source, by a QR fold: see `spectrum_of_rows`."""
    solve = partial(spectrum_of_rows, problem=problem)
    return backend.map(solve, [_fold_factor(backend, source, target, problem)])[0]


def fold_path(
    backend: Backend, source: Source, target: Target, problem: Problem, alphas: Sequence[float]
) -> list[Weights]:
    """Weights for each penalty, by a QR fold: see `spectrum_of_rows`."""

    def solve(factor: Factor) -> list[Weights]:
        return spectrum_of_rows(factor, problem).weights(alphas)

    return backend.map(solve, [_fold_factor(backend, source, target, problem)])[0]


class _Rows:
    """Rows for a problem where n < d: centred if it has an intercept, scaled if standardised.

    Parameters
    ----------
    blocks : sequence of Block
    weights : ndarray of shape (n,)
        By which means and variances are taken.
    problem : Problem

    Attributes
    ----------
    means, scale : ndarray of shape (d,)
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
        d, total = blocks[0].X.shape[1], weights.sum()
        first = _dense(blocks[0].X[:1])[0]  # a shift: constant columns become exact zeros
        moved = zip(blocks, self.parts, strict=True)
        if self.sparse:
            away = sum(block.X.T @ weights[part] for block, part in moved) - total * first
        else:
            away = sum(weights[part] @ (_dense(block.X) - first) for block, part in moved)
        self.means = first + away / total
        self.centre = self.means if problem.fit_intercept else np.zeros(d)
        self.scale = np.ones(d)
        if problem.standardize:
            variances = sum(
                weights[part] @ (_dense(block.X) - self.means) ** 2
                for block, part in zip(blocks, self.parts, strict=True)
            )
            deviation = np.sqrt(variances / total)
            constant = deviation <= 8 * EPSILON * np.abs(self.means)
            self.scale = np.where(constant, 1.0, deviation)
        self.inverse = 1.0 / self.scale
        if self.sparse and problem.fit_intercept:
            # Sparse rows are not centred but corrected for it: no rounding of constant columns is left.
            pairs = list(zip(blocks, self.parts, strict=True))
            squares = sum(b.X.astype(np.float64).power(2).T @ weights[p] for b, p in pairs) / total
            self.inverse[squares - self.means**2 <= 8 * EPSILON * squares] = 0.0

    def __len__(self) -> int:
        return self.parts[-1].stop

    def dense(self, i: int) -> NDArray[np.float64]:
        """Rows of a block."""
        rows: NDArray[np.float64] = (_dense(self.blocks[i].X) - self.centre) / self.scale
        return rows

    def products(self) -> NDArray[np.float64]:
        """Products of all pairs of rows, upper triangle; ``n^2 d / 2`` multiplications."""
        K = np.zeros((len(self), len(self)))  # below too: what is there is multiplied
        if self.sparse:
            X = sp.vstack([block.X for block in self.blocks], format="csr").astype(np.float64)
            X = X @ sp.diags_array(self.inverse)
            centre = self.centre * self.inverse
            away = X @ centre
            K[:] = (X @ X.T).toarray()
            K -= away[:, None] + (away - centre @ centre)
            return K
        for i, left in enumerate(self.parts):
            rows = self.dense(i)
            for j in range(i, len(self.parts)):
                K[left, self.parts[j]] = rows @ (rows if i == j else self.dense(j)).T
        return K

    def transposed_product(self, V: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Z^T V``, shape (d, t), for V of shape (n, t)."""
        if self.sparse:
            raw = sum(b.X.T @ V[p] for b, p in zip(self.blocks, self.parts, strict=True))
            product = raw - np.outer(self.centre, V.sum(axis=0))
            return np.asarray(product * self.inverse[:, None])
        return np.asarray(sum(self.dense(i).T @ V[p] for i, p in enumerate(self.parts)))


def solve_dual(
    blocks: Sequence[Block], n_classes: int, multilabel: bool, alpha: float, problem: Problem
) -> Weights:
    """Weights by the dual system ``(Z Z^T + alpha I) u = y``, ``w = Z^T u``, for n < d.

    ``Z`` holds the rows, centred and times the roots of their weights. Memory is n x n and one
    block of rows; time ``n^2 d``.

    Raises
    ------
    IllConditioned
        If the condition number exceeds `CONDITION_LIMIT`.

    References
    ----------
    Saunders, Gammerman and Vovk (1998), Ridge regression learning algorithm in dual variables.
    """
    weights = block_weights(blocks)
    total, roots = weights.sum(), np.sqrt(weights)
    rows = _Rows(blocks, weights, problem)
    Y = np.vstack([b.labels.indicator(n_classes) for b in blocks])
    Y = Y[:, n_targets(n_classes, multilabel)]
    K = rows.products()
    K *= roots
    K *= roots[:, None]
    target_means = weights @ Y / total if problem.fit_intercept else np.zeros(Y.shape[1])
    rhs = (Y - target_means) * roots[:, None]
    K.flat[:: len(K) + 1] += problem.penalty(alpha, total)
    if problem.fit_intercept:
        # Centring leaves K without the direction of the weights' roots, which the right-hand side
        # lacks too. Filling it keeps a small alpha from making the system look singular.
        fill = K.trace() / len(K) / total
        blas.dsyr(fill, roots, a=K.T, lower=1, overwrite_a=1)
    diagonal = K.diagonal().copy()
    diagonal[diagonal <= 0.0] = 1.0
    scale = 1.0 / np.sqrt(diagonal)  # as for the primal system: weights may differ by any factor
    norm = np.zeros(len(K))
    _triangle.scale(K, scale, K, norm)
    factor, _ = _cholesky(K, norm, CONDITION_LIMIT)
    dual, _ = lapack.dpotrs(factor, rhs * scale[:, None], lower=1)
    coef = rows.transposed_product((roots * scale)[:, None] * dual).T / rows.scale
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
    if K.trace() <= SEARCH_LIMIT * smallest:
        values, vectors = scipy.linalg.eigh(
            K.T, lower=True, overwrite_a=True, check_finite=False, driver="evd"
        )
        real = values > n * EPSILON * values.max(initial=0.0)
        coordinates: NDArray[np.float64] = vectors[:, real] * np.sqrt(values[real])
        return np.ascontiguousarray(coordinates)
    del K
    R = np.zeros((0, n))
    by_column = None
    if rows.sparse:
        by_column = sp.vstack([block.X for block in blocks], format="csc")
    d = blocks[0].X.shape[1]
    for first in range(0, d, max(n // 2, 512)):
        columns = slice(first, min(first + max(n // 2, 512), d))
        stack = np.empty((len(R) + columns.stop - first, n), order="F")
        stack[: len(R)] = R
        if by_column is not None:
            stack[len(R) :] = by_column[:, columns].T.toarray()
        else:
            for block, part in zip(blocks, rows.parts, strict=True):
                stack[len(R) :, part] = block.X[:, columns].T
        stack[len(R) :] -= rows.centre[columns, None]
        stack[len(R) :] /= rows.scale[columns, None]
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
    Hestenes and Stiefel (1952), doi:10.6028/jres.049.044; the preconditioner is the diagonal.
    """
    n = moments.weight_sum
    targets = n_targets(len(moments.class_weights), multilabel)
    class_sums, class_weights = moments.class_sums[targets], moments.class_weights[targets]
    centred = moments.square_sums - moments.feature_sums**2 / n
    centred[centred <= SUM_NOISE * moments.square_sums] = 0.0
    scale = np.ones(len(centred))
    if problem.standardize:
        scale = np.where(centred > 0, np.sqrt(centred / n), 1.0)
    if problem.fit_intercept:
        means, squares = shift + moments.feature_sums / n, centred
        rhs = 2.0 * (class_sums - np.outer(class_weights / n, moments.feature_sums))
    else:
        means = np.zeros(len(shift))
        squares = moments.square_sums + 2.0 * shift * moments.feature_sums + n * shift**2
        all_weight = 2.0 * class_weights - n
        rhs = 2.0 * class_sums - moments.feature_sums + np.outer(all_weight, shift)
    penalty = problem.penalty(alpha, n)
    B = (rhs / scale).T
    diagonal = squares / scale**2 + penalty
    constant = squares <= 0.0
    B[constant] = 0.0
    if not penalty:
        # Unscaled steps stay in the span of the rows, which gives the solution of least norm.
        diagonal[:] = 1.0
    diagonal[constant] = np.inf

    X = np.zeros_like(B)
    residual = B.copy()
    size = np.linalg.norm(B, axis=0)

    def goal() -> NDArray[np.float64]:
        # No eigenvalue is below the penalty, so this bounds the error; below rounding there is none.
        if penalty:
            return np.maximum(0.1 * accuracy * penalty * np.linalg.norm(X, axis=0), 1e-16 * size)
        return 1e-13 * size

    direction = residual / diagonal[:, None]
    energy = (residual * direction).sum(axis=0)
    n_iter = np.zeros(B.shape[1], dtype=np.int64)
    active = size > 0.0
    limit = 10 * min(len(B), moments.n_samples) + 100
    largest = 0.0  # Rayleigh quotient: close to the largest eigenvalue
    while active.any() and n_iter.max() < limit:
        image = product(direction, means, scale) + penalty * direction
        curvature = (direction * image).sum(axis=0)
        active &= curvature > 0.0
        squares = (direction**2).sum(axis=0)
        quotient = np.divide(curvature, squares, out=np.zeros_like(squares), where=squares > 0.0)
        largest = max(largest, float(quotient.max()))
        step = np.divide(energy, curvature, out=np.zeros_like(energy), where=active)
        X += step * direction
        residual -= step * image
        n_iter[active] += 1
        active &= np.linalg.norm(residual, axis=0) > goal()
        preconditioned = residual / diagonal[:, None]
        fresh = (residual * preconditioned).sum(axis=0)
        ratio = np.divide(fresh, energy, out=np.zeros_like(energy), where=active)
        direction = np.where(active, preconditioned + ratio * direction, 0.0)
        energy = fresh
    if active.any():
        warn_caller(
            f"Conjugate gradients did not converge in {limit} iterations: raise alpha, or set "
            "standardize=True.",
            ConvergenceWarning,
        )
    elif penalty and largest * EPSILON > accuracy * penalty:
        warn_caller(
            f"The system is ill-conditioned (condition number {largest / penalty:.1e}): conjugate "
            "gradients give fewer than 8 digits. Raise alpha, or choose solver='svd'.",
            IllConditionedWarning,
        )
    target_means = 2.0 * class_weights / n - 1.0
    return with_intercept(
        (X / scale[:, None]).T, means, target_means, problem.fit_intercept, n_iter
    )


def _dense(X: Any) -> NDArray[np.float64]:
    """Rows as float64, whole blocks of rows at most; in C order, so that layouts give the same bits."""
    return np.asarray(X if isinstance(X, np.ndarray) else X.toarray(), dtype=np.float64, order="C")


def _row_blocks(n: int, size: int = 256) -> list[slice]:
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
