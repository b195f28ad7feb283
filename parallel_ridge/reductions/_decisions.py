"""Decision values of held-out rows for each of several penalties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from parallel_ridge.reductions._base import raise_not_finite
from parallel_ridge.reductions._linear import LinearMap
from parallel_ridge.sources import Block, cut

# Rows per block: coefficients are packed anew for each, at about one per cent of its cost.
DECISION_ROWS = 1024
# Most decision values of a block that are formed at a time, so that they stay in a thread's cache.
DECISION_VALUES = 2**18
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

    def parts(self, block: Block) -> Iterator[Block]:
        """Parts of a block whose values stay in a cache."""
        return cut(block, value_rows(self.shape))

    def classes(self, block: Block) -> NDArray[np.int64]:
        """Codes of the predicted classes, shape (m, penalties)."""
        p, t = self.shape
        codes, done = np.empty((block.X.shape[0], p), np.int64), 0
        for part in self.parts(block):
            values = self(part).reshape(-1, p * t)
            LinearMap(None, np.zeros(p * t)).codes(values, t, codes[done : done + len(values)])
            done += len(values)
        return codes

    def add_errors(self, block: Block, first_target: int, out: NDArray[np.float64]) -> None:
        """Add squared errors to sums, shape (p, t + 1).

        Parameters
        ----------
        first_target : int
            The class that is the first target.
        out : ndarray of shape (p, t + 1)
            Sums over rows of ``w e^2`` for each target, followed by the sum of squares of ``w e^2``
            averaged over the targets.
        """
        p, t = self.shape
        for part in self.parts(block):
            LinearMap(None, np.zeros(p * t)).add_errors(
                self(part).reshape(-1, p * t),
                out,
                weights=part.weights,
                labels=part.labels.codes,
                label_ptr=part.labels.indptr,
                first_target=first_target,
            )


def value_rows(shape: tuple[int, int]) -> int:
    """Block size that keeps all of a block's decision values in a cache."""
    return max(64, min(DECISION_ROWS, DECISION_VALUES // max(1, shape[0] * shape[1])))


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
        self.linear = LinearMap(
            np.ascontiguousarray(coefs.reshape(-1, d)), np.ascontiguousarray(intercepts.ravel())
        )
        if self.combination is not None:
            self.few = LinearMap(self.linear.coefs, np.zeros(len(coefs) * t, coefs.dtype))
            self.linear = LinearMap(None, self.linear.intercepts)

    def __call__(self, block: Block) -> NDArray[Any]:
        """Values of shape (m, p, t)."""
        values, bad = self.linear.all_values(self._rows(block))
        self._check(bad, block)
        return values.reshape(-1, *self.shape)

    def classes(self, block: Block) -> NDArray[np.int64]:
        """Codes of the predicted classes, shape (m, penalties)."""
        if self._forms_values(block):
            return super().classes(block)
        codes = np.empty((block.X.shape[0], self.shape[0]), np.int64)
        self._check(self.linear.codes(block.X, self.shape[1], codes), block)
        return codes

    def add_errors(self, block: Block, first_target: int, out: NDArray[np.float64]) -> None:
        """Add squared errors to sums, shape (p, t + 1)."""
        if self._forms_values(block):
            return super().add_errors(block, first_target, out)
        labels = block.labels
        bad = self.linear.add_errors(
            block.X,
            out,
            weights=block.weights,
            labels=labels.codes,
            label_ptr=labels.indptr,
            first_target=first_target,
        )
        return self._check(bad, block)

    def _forms_values(self, block: Block) -> bool:
        """Whether values are formed before they are read, rather than in the kernel."""
        return self.combination is not None or not isinstance(block.X, np.ndarray)

    def _rows(self, block: Block) -> Any:
        """Rows, or interpolated products."""
        if self.combination is None:
            return block.X
        values, bad = self.few.all_values(block.X)
        self._check(bad, block)
        values = values.reshape(-1, self.combination.shape[1], self.shape[1])
        return (self.combination @ values).reshape(len(values), self.shape[0] * self.shape[1])

    def _check(self, bad: int, block: Block) -> None:
        if bad < block.X.shape[0]:
            raise_not_finite(block)


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
