"""The dual system: one equation per row instead of one per feature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.kernels import _triangle
from parallel_ridge.numerics import (
    BAND_PAYS,
    EPSILON,
    REFINE_LIMIT,
    REFINED,
    SEARCH_LIMIT,
    SOLVE_ROUNDING,
    UNRELATED,
)
from parallel_ridge.reductions import (
    Columns,
    Formed,
    RowProducts,
    check_range,
    coefficient_dtype,
)
from parallel_ridge.solvers._band import Band, BandFactor
from parallel_ridge.solvers._cholesky import cholesky
from parallel_ridge.solvers._problem import Problem, Solution, with_intercept


@dataclass
class DualFactor:
    """Cholesky factor of a dual system, scaled to a unit diagonal."""

    lower: NDArray[np.float64]
    scale: NDArray[np.float64]
    condition: float
    lost: float
    system: DualSystem

    def solve(self, rhs: NDArray[np.float64]) -> NDArray[np.float64]:
        """``U`` for right-hand sides of shape (m, t)."""
        dual, _ = lapack.dpotrs(self.lower, rhs * self.scale[:, None], lower=1)
        return self.system.centred(dual * self.scale[:, None])


class DualSystem:
    """The system ``(Z Z^T + alpha I) U = Y`` of the rows that have a positive weight.

    ``Z`` holds these rows, centred and multiplied by the square roots of their weights. Coefficients
    are ``Z^T U``.

    Parameters
    ----------
    products : RowProducts
        Products of all n rows, about any shift.
    weights : ndarray of shape (n,)
    Y : ndarray of shape (n, t)
        Targets of +1 and -1.
    problem : Problem

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
        Positions of the rows.
    matrix : ndarray of shape (m, m)
        ``Z Z^T``, upper triangle.
    rhs : ndarray of shape (m, t)
    target_means : ndarray of shape (t,)

    References
    ----------
    Saunders, Gammerman and Vovk (1998), Ridge regression learning algorithm in dual variables.
    """

    def __init__(
        self,
        products: RowProducts,
        weights: NDArray[np.float64],
        Y: NDArray[np.float64],
        problem: Problem,
    ) -> None:
        self.products = products
        self.problem = problem
        self.rows = np.flatnonzero(weights > 0.0)
        every = len(self.rows) == len(weights)
        K = products.K.copy() if every else products.K[np.ix_(self.rows, self.rows)]
        weights, Y = weights[self.rows], Y[self.rows]
        self.weight_sum = float(weights.sum())
        self.roots = np.sqrt(weights)
        with np.errstate(over="ignore"):
            if (weights != 1.0).any():
                K *= self.roots
                K *= self.roots[:, None]
            check_range(K.diagonal(), "Row")
            self.rounding = weights * products.rounding[self.rows] + EPSILON * K.diagonal()
        self.mean = self.roots / self.weight_sum**0.5  # of unit length
        self.target_means = np.zeros(Y.shape[1])
        if problem.fit_intercept:
            self.target_means = weights @ Y / self.weight_sum
            # Products about the shift become those about the mean, as a Gram matrix does.
            image = blas.dsymv(1.0, K.T, self.mean, lower=1)
            image -= 0.5 * (self.mean @ image) * self.mean
            blas.dsyr2(-1.0, self.mean, image, a=K.T, lower=1, overwrite_a=1)
        self.matrix = K
        self.rhs = (Y - self.target_means) * self.roots[:, None]

    def centred(self, V: NDArray[np.float64]) -> NDArray[np.float64]:
        """Columns of V without their component along the mean, which centred rows do not have."""
        if not self.problem.fit_intercept:
            return V
        centred: NDArray[np.float64] = V - np.outer(self.mean, self.mean @ V)
        return centred

    def penalty(self, alpha: float) -> float:
        """The penalty of the summed loss."""
        return self.problem.penalty(alpha, self.weight_sum)

    def lost(self, alpha: float) -> float:
        """Relative rounding error of the system, scaled to a unit diagonal."""
        diagonal = np.maximum(self.matrix.diagonal(), 0.0) + self.penalty(alpha)
        real = diagonal > 0.0
        return float((self.rounding[real] / diagonal[real]).max(initial=0.0))

    def factorise(self, alpha: float, limit: float = REFINE_LIMIT) -> DualFactor:
        """Cholesky factorisation; ``m^3 / 6`` multiplications.

        Raises
        ------
        IllConditioned
            If the condition number exceeds ``limit``.
        """
        K = self.matrix.copy()
        K.flat[:: len(K) + 1] += self.penalty(alpha)
        if self.problem.fit_intercept:
            # Centring removes the direction of the mean from K and from the right-hand side. Fill it
            # in, or a small alpha would make the system look singular.
            blas.dsyr(K.trace() / len(K), self.mean, a=K.T, lower=1, overwrite_a=1)
        diagonal = K.diagonal().copy()
        diagonal[diagonal <= 0.0] = 1.0
        # As in the primal system, because weights may differ by any factor.
        scale = 1.0 / np.sqrt(diagonal)
        norm = np.zeros(len(K))
        _triangle.scale(K, scale, K, norm)
        lost = self.lost(alpha)
        try:
            lower, condition = cholesky(K, norm, limit)
        except IllConditioned as error:
            raise IllConditioned(error.condition, lost) from None
        return DualFactor(lower, scale, condition, lost, self)

    def banded(self) -> DualBand:
        """The system in banded form, without the direction of the mean; ``2/3 m^3`` multiplications."""
        A = self.matrix.copy()
        mirror = None
        if self.problem.fit_intercept:
            # A reflection maps the direction of the mean, which has no variance, to the first axis.
            mirror = self.mean.copy()
            mirror[0] += 1.0 if mirror[0] >= 0.0 else -1.0
            mirror /= np.linalg.norm(mirror)
            image = blas.dsymv(2.0, A.T, mirror, lower=1)
            image -= (mirror @ image) * mirror
            blas.dsyr2(-1.0, mirror, image, a=A.T, lower=1, overwrite_a=1)
            A = np.ascontiguousarray(A[1:, 1:])
        return DualBand(self, Band(A.T), mirror)

    def check_search(self, condition: float, alpha: float) -> None:
        """Raise `IllConditioned` if a search would lose too many digits."""
        most = SEARCH_LIMIT[self.products.kind] * SOLVE_ROUNDING
        lost = self.lost(alpha)
        if not condition * (SOLVE_ROUNDING + lost) <= most:
            raise IllConditioned(condition, lost)

    def path(self, alphas: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights of the rows of K, and intercepts, of the solution for each penalty.

        Returns
        -------
        coefs : ndarray of shape (p, t, n)
            The decision values of all rows are ``K @ coef + intercept``.
        intercepts : ndarray of shape (p, t)

        Raises
        ------
        IllConditioned
            If K has too few digits for one of the penalties.
        """
        K, n = self.products.K, len(self.products.K)
        coefs = np.zeros((len(alphas), self.rhs.shape[1], n))
        for j, U in enumerate(self._solutions(alphas)):
            coefs[j][:, self.rows] = (self.roots[:, None] * U).T
        intercepts = np.zeros(coefs.shape[:2])
        if self.problem.fit_intercept:
            share = np.zeros(n)
            share[self.rows] = self.roots * self.mean / self.weight_sum**0.5
            intercepts = self.target_means - coefs @ blas.dsymv(1.0, K.T, share, lower=1)
        return coefs, intercepts

    def _solutions(self, alphas: Sequence[float]) -> Iterator[NDArray[np.float64]]:
        if len(alphas) > BAND_PAYS:
            form = self.banded()
            rotated = form.rotate(self.rhs)
            for alpha in alphas:
                try:
                    yield form.rotate_back(form.factor(alpha).solve(rotated))
                except IllConditioned:  # unless scaling mends it
                    yield self._by_cholesky(alpha)
            return
        for alpha in alphas:
            yield self._by_cholesky(alpha)

    def _by_cholesky(self, alpha: float) -> NDArray[np.float64]:
        factor = self.factorise(alpha)
        self.check_search(factor.condition, alpha)
        return factor.solve(self.rhs)


@dataclass(frozen=True)
class DualBand:
    """A dual system in banded form, without the direction of the mean.

    Attributes
    ----------
    system : DualSystem
    band : Band
    mirror : ndarray of shape (m,), or None
        Unit normal of the reflection that takes the direction of the mean to the first axis.
    """

    system: DualSystem
    band: Band
    mirror: NDArray[np.float64] | None

    def factor(self, alpha: float) -> BandFactor:
        """The factor for a penalty.

        Raises
        ------
        IllConditioned
            If K has too few digits for a search.
        """
        factor = self.band.factor(self.system.penalty(alpha))
        # What is lost relative to each diagonal bounds what is lost relative to the largest value.
        self.system.check_search(factor.condition, alpha)
        return factor

    def rotate(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Centred columns, shape (m, c), in the basis."""
        if self.mirror is not None:
            columns = (columns - np.outer(2.0 * self.mirror, self.mirror @ columns))[1:]
        return self.band.rotate(columns)

    def rotate_back(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Centred columns from those in the basis."""
        return self._embedded(self.band.rotate(columns, back=True))

    def coordinates(self) -> NDArray[np.float64]:
        """Coordinates of all n rows, in a few columns more; see `DualLeaveOneOutDecisions`."""
        system, K = self.system, self.system.products.K
        axes = self._embedded(self.band.axes())
        coordinates = np.empty((len(K), axes.shape[1]))
        coordinates[system.rows] = axes
        others = np.setdiff1d(np.arange(len(K)), system.rows)
        if len(others):
            images = symmetric(K)[:, system.rows]
            if system.problem.fit_intercept:
                images = images - (system.roots * system.mean) @ images[system.rows] / (
                    system.weight_sum**0.5
                )
            coordinates[others] = (images[others] * system.roots) @ axes
        return coordinates

    def _embedded(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.mirror is None:
            return columns
        columns = np.vstack([np.zeros(columns.shape[1]), columns])
        columns -= np.outer(2.0 * self.mirror, self.mirror @ columns)
        return columns


def solve_dual(system: DualSystem, columns: Columns, alpha: float) -> Solution:
    """Solve a dual system, and refine the solution with residuals from the rows if necessary.

    Raises
    ------
    IllConditioned
        If the solution would not be accurate.
    """
    factor = system.factorise(alpha)
    condition, lost, penalty = factor.condition, factor.lost, system.penalty(alpha)
    n = len(system.products.K)

    def solved(
        rhs: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Formed]:
        dual = factor.solve(rhs)
        combination = np.zeros((n, rhs.shape[1]))
        combination[system.rows] = system.roots[:, None] * dual
        primal, form = columns.transposed_product(combination)
        return dual, primal, form

    dual, primal, form = solved(system.rhs)
    accuracy, last = REFINED[str(coefficient_dtype(columns.source.dtype))], 1.0
    while condition * (SOLVE_ROUNDING + lost) > accuracy:
        values = columns.product(primal)[system.rows]
        image = system.centred(system.roots[:, None] * values) + penalty * dual
        step, change, _ = solved(system.rhs - image)
        dual, primal = dual + step, primal + change
        length = np.linalg.norm(primal, axis=0).max()
        size = float(np.linalg.norm(change, axis=0).max() / length) if length > 0.0 else 0.0
        if size <= accuracy:
            break
        if not size < last / 4:
            raise IllConditioned(condition, lost)
        last = size
    # The sum for the coefficients cancels if the features explain little of the targets.
    variances = form.variances / form.scale**2
    total = system.weight_sum
    size = float(np.sqrt(variances * total).max(initial=0.0))
    explained = max(size * float(np.linalg.norm(primal, axis=0).max()), UNRELATED * total**0.5)
    if EPSILON * size**2 * float(np.linalg.norm(dual, axis=0).max()) > accuracy * explained:
        raise IllConditioned(condition, lost)
    coef = (primal / form.scale[:, None]).T
    return with_intercept(coef, form.means, system.target_means, system.problem.fit_intercept)


def symmetric(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """A symmetric matrix from its upper triangle."""
    full = np.triu(upper)
    full += np.triu(upper, 1).T
    return full


def row_coordinates(columns: Columns) -> NDArray[np.float64]:
    """Rows in an orthonormal basis of the space that they span, for n < d; shape (n, m), m <= n.

    Inner products and distances of rows do not change, and neither does any answer of a ridge
    problem. A QR of the transposed rows squares nothing: it keeps what a small penalty makes visible
    and products of rows would lose. Time is ``2 n^2 d``.
    """
    n = columns.source.n_features
    R = np.zeros((0, n))
    for Z in columns.dense(max(n // 2, 512)):
        stack = np.asfortranarray(np.vstack([R, Z]))
        (R,) = scipy.linalg.qr(stack, mode="r", overwrite_a=True, check_finite=False)
        R = R[:n].copy()
    return np.ascontiguousarray(R.T)
