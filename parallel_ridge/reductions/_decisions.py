"""Decision values of held-out rows for each of several penalties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from parallel_ridge.reductions._base import raise_not_finite
from parallel_ridge.sources import Block

# From this many penalties on, evaluate a basis of them and interpolate the rest.
MANY_PENALTIES = 32


class Decisions(ABC):
    """Held-out decision values of rows, for each of several penalties.

    Attributes
    ----------
    shape : tuple of int
        (penalties, targets).
    """

    shape: tuple[int, int]

    @abstractmethod
    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, *shape)."""

    def classes(self, block: Block) -> NDArray[np.intp]:
        """Codes of the predicted classes, shape (m, penalties)."""
        return _classes(self(block))


def _classes(values: NDArray[Any]) -> NDArray[np.intp]:
    if values.shape[2] == 1:
        return (values[:, :, 0] > 0).astype(np.intp)
    return np.asarray(values.argmax(axis=2))


class PathDecisions(Decisions):
    """Decision values of rows that the coefficients were not fitted to.

    Coefficients vary smoothly with the penalty. In float32, those of many penalties are
    combinations of a few, up to rounding, and so are their decision values.

    Parameters
    ----------
    coefs : ndarray of shape (p, t, d)
        Coefficients for p penalties and t targets.
    intercepts : ndarray of shape (p, t)
    """

    def __init__(self, coefs: NDArray[Any], intercepts: NDArray[Any]) -> None:
        self.shape = intercepts.shape
        p, t, d = coefs.shape
        self.combination: NDArray[Any] | None = None
        # Only in float32 do dozens of penalties reduce to a few.
        if p >= MANY_PENALTIES and coefs.dtype == np.float32 and coefs.any():
            few, combination = _interpolation(coefs.reshape(p, t * d))
            if len(few) * (d + p) < p * d:
                self.combination, coefs = combination.astype(coefs.dtype), coefs[few]
        self.weights = np.ascontiguousarray(coefs.reshape(-1, d).T)
        self.intercepts = intercepts

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        X = block.X
        if isinstance(X, np.ndarray):
            X = X.astype(np.result_type(X.dtype, self.weights.dtype), copy=False)
        values: NDArray[Any] = (X @ self.weights).reshape(X.shape[0], -1, self.shape[1])
        if self.combination is not None:
            values = self.combination @ values
        if not np.isfinite(values).all():
            raise_not_finite(block)
        values += self.intercepts
        return values


def _interpolation(rows: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """A few of the rows, not all zero, and their combinations that give all rows, up to rounding.

    References
    ----------
    Cheng, Gimbutas, Martinsson and Rokhlin (2005), On the compression of low rank matrices,
    doi:10.1137/030602678: the interpolative decomposition, by a QR with pivots.
    """
    lengths = np.linalg.norm(rows, axis=1)
    lengths[lengths == 0.0] = 1.0
    scaled = (rows / lengths[:, None]).astype(np.float64)
    R, order = scipy.linalg.qr(scaled.T, mode="r", pivoting=True, check_finite=False)
    sizes = np.abs(R.diagonal())
    rank = int((sizes > np.finfo(rows.dtype).eps * sizes[0]).sum())
    combination = np.empty((len(rows), rank))
    combination[order[:rank]] = np.eye(rank)
    combination[order[rank:]] = scipy.linalg.solve_triangular(R[:rank, :rank], R[:rank, rank:]).T
    return order[:rank], combination * lengths[:, None] / lengths[order[:rank]]
