"""Systems in a basis where they are banded, so that each further penalty costs little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.kernels import _lapack
from parallel_ridge.numerics import FLOAT32_RANGE
from parallel_ridge.reductions import BandLeverages
from parallel_ridge.solvers._problem import Solution, with_intercept

if TYPE_CHECKING:
    from parallel_ridge.solvers._normal_equations import NormalEquations

BANDWIDTH = 32
"""Diagonals below the main one: so many columns at a time make the reduction a product of matrices."""


class Band:
    """A symmetric matrix as ``Q B Q^T``, where ``B`` is banded and ``Q`` is orthogonal.

    Unlike a tridiagonal form or an eigendecomposition, it is almost all products of matrices:
    ``2/3 m^3`` multiplications, as many as in four Cholesky factorisations.

    Parameters
    ----------
    matrix : ndarray of shape (m, m), Fortran order
        Lower triangle; destroyed.

    References
    ----------
    Bischof, Lang and Sun (2000), A framework for symmetric band reduction, doi:10.1145/365723.365735.
    """

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        m = len(matrix)
        self.width = max(1, min(BANDWIDTH, m))
        self._reflections = matrix
        self._triangles = np.zeros((self.width, self.width, max(0, m - 1) // self.width), order="F")
        _lapack.banded(matrix, self._triangles)
        self._diagonals = np.zeros((self.width + 1, m), order="F")
        for i in range(min(self.width + 1, m)):
            self._diagonals[i, : m - i] = matrix.diagonal(-i)
        below = np.abs(self._diagonals[1:])
        self._sums = below.sum(axis=0)  # of each column but for the diagonal
        for i in range(1, min(self.width + 1, m)):
            self._sums[i:] += below[i - 1, : m - i]

    def rotate(self, columns: NDArray[np.float64], back: bool = False) -> NDArray[np.float64]:
        """``Q^T`` or, back, ``Q`` times columns of shape (m, c)."""
        out = np.array(columns, order="F")
        _lapack.rotate(self._reflections, self._triangles, out, back)
        return out

    def axes(self) -> NDArray[np.float64]:
        """``Q``, with zero columns up to a multiple of the bandwidth."""
        m = len(self._reflections)
        Q = np.zeros((m, -(-m // self.width) * self.width), order="F")
        np.fill_diagonal(Q, 1.0)
        _lapack.rotate(self._reflections, self._triangles, Q, True, identity=True)
        return Q

    def factor(self, penalty: float) -> BandFactor:
        """Factor of ``B + penalty I``; ``m b^2`` multiplications.

        Raises
        ------
        IllConditioned
            If that is not positive definite.
        """
        band, b, m = self._diagonals.copy(order="F"), self.width, self._diagonals.shape[1]
        band[0] += penalty
        reciprocal = _lapack.band_cholesky(band, (np.abs(band[0]) + self._sums).max(initial=0.0))
        if not reciprocal > 0.0:
            raise IllConditioned(np.inf)
        n_blocks = -(-m // b)
        lower = np.zeros((b + 1, n_blocks * b))
        lower[:, :m] = band
        lower[0, m:] = 1.0
        row, column = np.ogrid[:b, :b]
        places = b * np.arange(n_blocks)[:, None, None] + column
        own = np.where(row >= column, lower[np.maximum(row - column, 0), places], 0.0)
        below = np.where(row <= column, lower[np.minimum(b + row - column, b), places], 0.0)
        _lapack.invert_triangles(own)
        return BandFactor(1.0 / reciprocal, own, below[:-1])


@dataclass(frozen=True)
class BandFactor:
    """Cholesky factor of a banded matrix, as blocks of the bandwidth b.

    Attributes
    ----------
    condition : float
        Estimated condition number of the matrix.
    inverses : ndarray of shape (K, b, b)
        Inverses of the diagonal blocks.
    below : ndarray of shape (K - 1, b, b)
        The blocks below them.
    """

    condition: float
    inverses: NDArray[np.float64]
    below: NDArray[np.float64]

    @cached_property
    def before(self) -> NDArray[np.float64]:
        """What each block of a solution takes of the block before it, shape (K, b, b)."""
        before = np.zeros_like(self.inverses)
        np.matmul(self.inverses[1:], self.below, out=before[1:])
        return before

    def solve(self, columns: NDArray[np.float64], whole: bool = False) -> NDArray[np.float64]:
        """Solutions for columns of shape (m, c); with the zeros of `Band.axes` below if ``whole``."""
        (m, c), (n_blocks, b, _) = columns.shape, self.inverses.shape
        padded = np.zeros((n_blocks * b, c))
        padded[:m] = columns
        x = self.inverses @ padded.reshape(n_blocks, b, c)
        for k in range(1, n_blocks):
            x[k] -= self.before[k] @ x[k - 1]
        after = self.below @ self.inverses[:-1]
        x = self.inverses.transpose(0, 2, 1) @ x
        for k in range(n_blocks - 2, -1, -1):
            x[k] -= after[k].T @ x[k + 1]
        return x.reshape(n_blocks * b, c)[: None if whole else m]


def band_leverages(factors: Sequence[BandFactor]) -> BandLeverages:
    """Leverages for several penalties, of rows in the axes."""
    rounding = 2.0**-24 * max(factor.condition for factor in factors) ** 0.5
    inverses = np.stack([factor.inverses for factor in factors])
    # What leaves float32's range when it is squared; the first block has no padding.
    limit = FLOAT32_RANGE**0.5
    first = np.abs(inverses[:, :1]).max(axis=(1, 2, 3), initial=0.0)
    if np.abs(inverses).max(initial=0.0) > limit or (first < 1.0 / limit).any():
        rounding = np.inf
    return BandLeverages(inverses, np.stack([factor.before for factor in factors]), rounding)


@dataclass(frozen=True)
class BandedForm:
    """Normal equations in a basis where they are banded.

    Attributes
    ----------
    system : NormalEquations
    root : ndarray of shape (m,)
        Roots of the penalties of its columns, the units of the basis.
    band : Band
    rotated : ndarray of shape (m, t)
        The right-hand sides in the basis.
    """

    system: NormalEquations
    root: NDArray[np.float64]
    band: Band
    rotated: NDArray[np.float64]

    def factor(self, alpha: float) -> BandFactor:
        """The system's factor for a penalty; raises `IllConditioned` if there is none."""
        return self.band.factor(self.system.penalty(alpha))

    def rotated_back(self, columns: Sequence[NDArray[np.float64]]) -> list[Solution]:
        """Solutions of the system from those in the basis, each of shape (m, t)."""
        if not columns:
            return []
        system, t = self.system, columns[0].shape[1]
        coefs = np.zeros((len(columns), t, len(system.varies)))
        for coef, column in zip(coefs, columns, strict=True):  # one at a time, to save memory
            coef[:, system.varies] = (self.band.rotate(column, back=True) / self.root[:, None]).T
        return [
            with_intercept(
                coef, system.means, system.target_means, bool(system.problem.fit_intercept)
            )
            for coef in coefs
        ]

    def axes(self) -> NDArray[np.float64]:
        """The basis, shape (d, m or a little more); rows of constant columns are zero."""
        axes = self.band.axes()
        axes /= self.root[:, None]
        varies = self.system.varies
        if varies.all():
            return axes
        embedded = np.zeros((len(varies), axes.shape[1]), order="F")
        embedded[varies] = axes
        return embedded
