"""The dual system: one equation per row instead of one per feature."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.kernels import _triangle
from parallel_ridge.numerics import (
    EPSILON,
    FAR,
    REFINE_LIMIT,
    REFINED,
    SEARCH_LIMIT,
    SOLVE_ROUNDING,
    UNRELATED,
)
from parallel_ridge.reductions import check_range, coefficient_dtype
from parallel_ridge.solvers._cholesky import cholesky
from parallel_ridge.solvers._problem import Problem, Solution, n_targets, with_intercept
from parallel_ridge.sources import Block, shifted


class _Rows:
    """Rows of a problem with n < d, minus a shift near their means, and scaled if standardised.

    Parameters
    ----------
    blocks : sequence of Block
    weights : ndarray of shape (n,)
        Weights for the means and variances.
    problem : Problem

    Attributes
    ----------
    means, scale, variances : ndarray of shape (d,)
        The variances are those after scaling.
    shift : ndarray of shape (d,)
        The means for dense rows; for sparse rows, only in columns far from zero, which have hardly
        any zeros to fill in. Zero without an intercept.
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
        """Rows of a block minus a shift, in float64, as an array or CSR matrix."""
        X = self.blocks[i].X
        return shifted(_dense(X) if isinstance(X, np.ndarray) else X, shift)

    def dense(self, i: int) -> NDArray[np.float64]:
        """Rows of a block as a dense array, shifted and scaled."""
        return np.asarray(self.moved(i, self.shift) * self.inverse)

    def products(self) -> NDArray[np.float64]:
        """Products of all pairs of rows, upper triangle; ``n^2 d / 2`` multiplications."""
        K = np.zeros((len(self), len(self)))  # the lower triangle too, because it is multiplied
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
        """``Z V``, shape (n, t), for V of shape (d, t); sparse rows stay uncentred."""
        scaled = V * self.inverse[:, None]
        return np.vstack([self.moved(i, self.shift) @ scaled for i in range(len(self.blocks))])

    def transposed_product(self, V: NDArray[np.float64]) -> NDArray[np.float64]:
        """``Z^T V``, shape (d, t), for V of shape (n, t) whose columns sum to zero if centred."""
        product = sum(self.moved(i, self.shift).T @ V[p] for i, p in enumerate(self.parts))
        return np.asarray(product * self.inverse[:, None])

    def _moments(
        self, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Means, variances, and the values of constant columns (NaN for other columns)."""
        total = weights.sum()
        # Start from the heaviest row: if one row has nearly all of the weight, the mean is there.
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
) -> Solution:
    """Solve the dual system ``(Z Z^T + alpha I) u = y``, ``w = Z^T u``, for n < d.

    ``Z`` holds the rows, centred and multiplied by the square roots of their weights. Memory is
    n x n and one block of rows; time is ``n^2 d``.

    If the condition number is too large, the solution is refined with residuals from the rows,
    which do not square it.

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
        # Centring removes the direction of the mean from K and from the right-hand side. Fill it
        # in, or a small alpha would make the system look singular.
        fill = K.trace() / len(K)
        blas.dsyr(fill, mean, a=K.T, lower=1, overwrite_a=1)
    filled = K.diagonal().copy()
    filled[filled <= 0.0] = 1.0
    # As in the primal system, because weights may differ by any factor.
    scale = 1.0 / np.sqrt(filled)
    norm = np.zeros(len(K))
    _triangle.scale(K, scale, K, norm)
    positive = diagonal > 0.0
    lost = EPSILON * float((before[positive] / diagonal[positive]).max(initial=0.0))
    try:
        factor, condition = cholesky(K, norm, REFINE_LIMIT)
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
    # The sum for the coefficients cancels if the features explain little of the targets.
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
    """Rows in an orthonormal basis of the space that they span, for n < d; shape (n, m), m <= n.

    Inner products and distances of rows do not change, and neither does any answer of a ridge
    problem. The coordinates come from an eigendecomposition of the n x n products of all rows, in
    time ``n^2 d``. If that would lose what a small penalty makes visible, they come from a QR of
    the transposed rows, which squares nothing and takes about three times as long.

    Parameters
    ----------
    blocks : sequence of Block
        The rows.
    weights : ndarray of shape (n,)
        Weights for the means and variances.
    problem : Problem
        Rows are centred if it has an intercept, and features scaled if they are standardised.
    smallest : float
        The smallest penalty of the summed loss that will be used.
    """
    n = sum(block.X.shape[0] for block in blocks)
    rows = _Rows(blocks, weights, problem)
    K = rows.products()
    if K.trace() <= SEARCH_LIMIT["float64"] * smallest:
        values, vectors = scipy.linalg.eigh(
            K.T, lower=True, overwrite_a=True, check_finite=False, driver="evd"
        )
        real = values > n * EPSILON * values.max(initial=0.0)
        real[-1] = True  # identical rows have a coordinate too
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


def _dense(X: Any) -> NDArray[np.float64]:
    """At most one block of rows as float64, in C order so that every layout gives the same bits."""
    return np.asarray(X if isinstance(X, np.ndarray) else X.toarray(), dtype=np.float64, order="C")
