"""Reductions of rows to moments, and to the products that iterative solvers need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.numerics import CONSTANT, ROUNDING
from parallel_ridge.reductions._base import BLOCK_ROWS, Value, check_range
from parallel_ridge.reductions._rows import shifted_rows
from parallel_ridge.sources import Block, shifted

V = TypeVar("V", bound=Value, covariant=True)
# Rows per float64 tile in NormalProductReduction, capped by PRODUCT_VALUES so that a tile fits in
# L2; OpenBLAS is about twice as fast on tiles this short.
PRODUCT_ROWS = 64
PRODUCT_VALUES = 2**17


@dataclass
class Moments:
    """Value of `MomentsReduction`: sums of rows, of their squares and of each class's rows."""

    n_samples: int
    weight_sum: float
    class_weights: NDArray[np.float64]
    feature_sums: NDArray[np.float64]
    square_sums: NDArray[np.float64]
    class_sums: NDArray[np.float64]

    @property
    def variances(self) -> NDArray[np.float64]:
        """Sums of squares about the means; zero where they may be pure rounding error."""
        centred = self.square_sums - self.feature_sums * (self.feature_sums / self.weight_sum)
        rounding = ROUNDING["float64"] * self.square_sums
        centred[centred <= CONSTANT * rounding] = 0.0
        return centred

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of rows."""
        return Moments(
            self.n_samples + other.n_samples,
            self.weight_sum + other.weight_sum,
            self.class_weights + other.class_weights,
            self.feature_sums + other.feature_sums,
            self.square_sums + other.square_sums,
            self.class_sums + other.class_sums,
        )

    def pack(self, overwrite: bool = False) -> list[NDArray[Any]]:
        """The numbers, in one array per dtype."""
        floats = (
            [self.weight_sum],
            self.class_weights,
            self.feature_sums,
            self.square_sums,
            self.class_sums.ravel(),
        )
        return [np.array([self.n_samples]), np.concatenate(floats)]

    def unpack(self, arrays: list[NDArray[Any]]) -> Moments:
        """Moments like these with other numbers."""
        (n_samples,), floats = arrays.pop(0), arrays.pop(0)
        k, d = self.class_sums.shape
        weights, sums, squares, class_sums = np.split(floats[1:], np.cumsum([k, d, d]))
        return Moments(
            int(n_samples), float(floats[0]), weights, sums, squares, class_sums.reshape(k, d)
        )


class MomentsReduction:
    """Reduce rows to `Moments` about a shift, which iterative solvers need to centre and scale.

    Parameters
    ----------
    n_classes : int
    shift : ndarray of shape (d,)
    """

    block_rows = BLOCK_ROWS
    shares_blocks = False

    def __init__(self, n_classes: int, shift: NDArray[np.float64]) -> None:
        self.n_classes = n_classes
        self.shift = shift

    def zero(self, n_threads: int) -> Moments:
        """Moments of no rows."""
        d, k = len(self.shift), self.n_classes
        return Moments(0, 0.0, np.zeros(k), np.zeros(d), np.zeros(d), np.zeros((k, d)))

    def add(self, total: Moments, block: Block) -> None:
        """Add a block of rows."""
        X = shifted_rows(block, self.shift)
        m = X.shape[0]
        weights = np.ones(m) if block.weights is None else block.weights
        members = (block.labels.indicator(self.n_classes) > 0) * weights[:, None]
        total.n_samples += m
        total.weight_sum += float(weights.sum())
        total.class_weights += members.sum(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            total.feature_sums += X.T @ weights
            total.square_sums += (X.multiply(X) if hasattr(X, "multiply") else X * X).T @ weights
            total.class_sums += (X.T @ members).T
        check_range(total.square_sums)

    def finish(self, total: Moments) -> Moments:
        """The moments."""
        return total


class NormalProductReduction:
    """Reduce rows to ``Z^T W (Z V)``, ``Z = (X - mean) / scale``: one step of an iterative solver.

    Parameters
    ----------
    V : ndarray of shape (d, t)
    mean, scale : ndarray of shape (d,)
        Sparse rows are centred only in `full` columns; elsewhere, the product is corrected.
    full : ndarray of shape (d,), bool, default=None
        Columns far from zero in which sparse rows store nearly all values: see `choose_shift`.
    centred : bool, default=True
        Whether dense rows are centred. float64 rows whose means are not far from zero need neither
        centring nor a copy.
    target_means : ndarray of shape (t,), default=None
        If given, the value is the product with residuals, ``Z^T W (Y - target_means - Z V)``.
    offset : ndarray of shape (d,), default=None
        True mean minus ``mean``, which is rounded; the product is corrected for it.
    n_classes : int
    targets : slice
        The classes that are targets.
    """

    block_rows = BLOCK_ROWS
    shares_blocks = False

    def __init__(
        self,
        V: NDArray[np.float64],
        mean: NDArray[np.float64],
        scale: NDArray[np.float64],
        centred: bool = True,
        target_means: NDArray[np.float64] | None = None,
        n_classes: int = 0,
        targets: slice = slice(None),
        full: NDArray[np.bool_] | None = None,
        offset: NDArray[np.float64] | None = None,
    ) -> None:
        self.offset = offset
        self.V = V / scale[:, None]
        self.mean = mean
        self.far = np.zeros(len(mean)) if full is None else np.where(full, mean, 0.0)
        self.scale = scale
        self.centred = centred
        self.target_means = target_means
        self.n_classes = n_classes
        self.targets = targets

    def zero(self, n_threads: int) -> NDArray[np.float64]:
        """Product of no rows, above three sums: those of centred, uncentred and sparse rows."""
        return np.zeros((len(self.V) + 3, self.V.shape[1]))

    def add(self, total: NDArray[np.float64], block: Block) -> None:
        """Add a block of rows."""
        aims = None
        if self.target_means is not None:
            aims = block.labels.indicator(self.n_classes)[:, self.targets] - self.target_means

        def weighted(products: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
            if aims is not None:
                np.subtract(aims[rows], products, out=products)
            if block.weights is not None:
                products *= block.weights[rows, None]
            return products

        if not isinstance(block.X, np.ndarray):
            X = shifted(block.X, self.far)
            products = weighted(X @ self.V - (self.mean - self.far) @ self.V, slice(None))
            total[:-3] += X.T @ products
            total[-1] += products.sum(axis=0)
            return
        offset = self.mean @ self.V
        step = max(16, min(PRODUCT_ROWS, PRODUCT_VALUES // len(self.V)))
        buffer = np.empty((min(step, len(block.X)), len(self.V)))
        for first in range(0, len(block.X), step):
            some = slice(first, min(first + step, len(block.X)))
            rows = block.X[some]
            if self.centred or rows.dtype != np.float64:
                rows = np.subtract(rows, self.mean, out=buffer[: len(rows)])
                products = weighted(rows @ self.V, some)
                kind = -3
            else:
                products = weighted(rows @ self.V - offset, some)
                kind = -2
            total[:-3] += rows.T @ products
            total[kind] += products.sum(axis=0)

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """The product, in the scaled features."""
        zero = np.zeros(len(self.mean))
        away = np.stack([zero, self.mean, self.mean - self.far], axis=1)
        if self.offset is not None:
            away += self.offset[:, None]
        return (total[:-3] - away @ total[-3:]) / self.scale[:, None]
