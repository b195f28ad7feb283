"""Reductions of rows to the R factor of a QR, and to the rows themselves."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from parallel_ridge.reductions._base import raise_not_finite
from parallel_ridge.sources import Block, shifted


def dense_rows(block: Block) -> NDArray[np.float64]:
    """Rows of a block as a new float64 array, checked to be finite."""
    X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
    rows: NDArray[np.float64] = np.array(X, dtype=np.float64, order="C")
    if not np.isfinite(rows).all():
        raise_not_finite(block)
    return rows


@dataclass
class RFactor:
    """Value of `QRReduction`: an upper trapezoidal factor; a QR of two factors adds them.

    Attributes
    ----------
    R : ndarray of shape (r, 1 + d + k), r <= p, float64
        Factor of the first p columns, and the same rows of the other columns.
    p : int
    """

    R: NDArray[np.float64]
    p: int

    def __add__(self, other: RFactor) -> RFactor:
        """Factor of both sets of rows."""
        return RFactor(_factor(_sorted(np.vstack([self.R, other.R])), self.p), self.p)


class QRReduction:
    """Reduce rows to the R factor of ``sqrt(w) [1, X - shift, Y]``; its condition is not squared.

    With the column of ones in front, the rows of R below the first define the centred least-squares
    problem. Without an intercept, the column of ones follows X, as one more target.

    Parameters
    ----------
    n_classes : int
    shift : ndarray of shape (d,)
    fit_intercept : bool

    References
    ----------
    Demmel, Grigori, Hoemmen and Langou (2012), Communication-optimal parallel and sequential QR and
    LU factorizations, doi:10.1137/080731992.
    """

    shares_blocks = False  # threads hardly speed up a single factorisation

    def __init__(self, n_classes: int, shift: NDArray[np.float64], fit_intercept: bool) -> None:
        self.n_classes = n_classes
        self.shift = shift
        self.fit_intercept = fit_intercept
        d = len(shift)
        self.block_rows = max(1024, min(4 * d, d + 4096))  # so that a block outweighs the factor

    def zero(self, n_threads: int) -> RFactor:
        """Factor of no rows."""
        p = len(self.shift) + self.fit_intercept
        return RFactor(np.zeros((0, len(self.shift) + 1 + self.n_classes)), p)

    def add(self, total: RFactor, block: Block) -> None:
        """Add a block of rows: factorise the old factor stacked on top of them."""
        r, d = len(total.R), len(self.shift)
        stack = np.empty((r + block.X.shape[0], d + 1 + self.n_classes), order="F")
        stack[:r] = total.R
        rows = stack[r:]
        first = int(self.fit_intercept)
        X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
        np.subtract(X, self.shift, out=rows[:, first : first + d])
        if not np.isfinite(rows[:, first : first + d]).all():
            raise_not_finite(block)
        rows[:, 0 if first else d] = 1.0
        rows[:, d + 1 :] = block.labels.indicator(self.n_classes)
        if block.weights is not None:
            rows *= np.sqrt(block.weights)[:, None]
            stack = _sorted(stack)
        total.R = _factor(stack, total.p)

    def finish(self, total: RFactor) -> RFactor:
        """The factor."""
        return total


def _sorted(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows in descending order of size, so that a QR rounds each row relative to its own size.

    Cox and Higham (1998), Stability of Householder QR factorization for weighted least squares
    problems.
    """
    order = np.argsort(-np.abs(rows).max(axis=1), kind="stable")
    return np.asfortranarray(rows[order])


def _factor(rows: NDArray[np.float64], p: int) -> NDArray[np.float64]:
    """R factor of the first p columns; rows in Fortran order are overwritten."""
    (R,) = scipy.linalg.qr(rows, mode="r", overwrite_a=True, check_finite=False)
    return R[: min(p, len(R))].copy()


class RowsReduction:
    """Keep rows as they are: for n < d they are smaller than a Gram matrix; the dual needs them.

    The rows are not checked to be finite: the passes over their columns are.
    """

    block_rows = sys.maxsize
    shares_blocks = True

    def zero(self, n_threads: int) -> list[Block]:
        """No rows."""
        return []

    def add(self, total: list[Block], block: Block) -> None:
        """Add a block of rows: a view, not a copy."""
        total.append(block)

    def finish(self, total: list[Block]) -> list[Block]:
        """The rows."""
        return total


def shifted_rows(block: Block, shift: NDArray[np.float64]) -> Any:
    """Rows of a block in float64, minus the shift; checked to be finite."""
    if isinstance(block.X, np.ndarray):
        return dense_rows(block) - shift
    if not np.isfinite(block.X.data).all():
        raise_not_finite(block)
    return shifted(block.X, shift)
