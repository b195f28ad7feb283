"""Reduction of columns to the products of all pairs of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.numerics import FEW_ROWS
from parallel_ridge.reductions._accumulators import PartialSums
from parallel_ridge.reductions._base import check_range, coefficient_dtype
from parallel_ridge.reductions._columns import ColumnForm, transposed
from parallel_ridge.reductions._integers import exact_dtype
from parallel_ridge.reductions._statistics import StatisticsReduction
from parallel_ridge.sources import ArraySource, Block, Labels, Target, canonical


@dataclass
class RowProducts:
    """Value of `RowProductReduction`: ``K = Z Z^T`` for rows ``Z``; those of disjoint columns add.

    Attributes
    ----------
    K : ndarray of shape (n, n), float64
        Upper triangle. Rows may differ from centred ones by the same shift.
    rounding : ndarray of shape (n,)
        Estimated rounding error of the diagonal.
    kind : {"exact", "float32", "float64"}
        What the rows are, which decides how many digits are enough.
    products : {"float32", "float64"}
        Dtype of the products.
    """

    K: NDArray[np.float64]
    rounding: NDArray[np.float64]
    kind: str
    products: str

    def __add__(self, other: RowProducts) -> RowProducts:
        """Products of the columns of both."""
        return RowProducts(
            self.K + other.K, self.rounding + other.rounding, self.kind, self.products
        )

    def pack(self, overwrite: bool = False) -> list[NDArray[Any]]:
        """The numbers, in one array per dtype."""
        return [self.K, self.rounding]

    def unpack(self, arrays: list[NDArray[Any]]) -> RowProducts:
        """Products like these with other numbers."""
        return RowProducts(arrays.pop(0), arrays.pop(0), self.kind, self.products)


class RowProductReduction:
    """Reduce columns, in the place of rows, to the products of all pairs of rows.

    The kernels that form ``Z^T Z`` from blocks of rows form ``Z Z^T`` from blocks of columns.

    Parameters
    ----------
    columns : ArraySource
        All columns as rows; a process may reduce some of them.
    how : ColumnForm
    double : bool, default=False
        Whether to form products of float32 rows in float64.
    """

    shares_blocks = True

    def __init__(self, columns: ArraySource, how: ColumnForm, double: bool = False) -> None:
        d, n = columns.n_rows, columns.n_features
        self.how = how
        # Raw columns of small integers have exact sums.
        self.exact = exact_dtype(columns.dtype) and not (columns.sparse or how.standardize)
        dtype = columns.dtype
        self.kind = "exact" if self.exact else str(coefficient_dtype(dtype))
        if not self.exact and dtype != np.float32:
            dtype = np.dtype(np.float64)
        self.sums = StatisticsReduction(
            Target(np.zeros(1, np.intp), False),
            n,
            dtype,
            sparse=columns.sparse,
            weighted=False,
            exact=self.exact,
            shift=np.zeros(n),
            double=double or d < FEW_ROWS,
            centre=False,
        )
        self.block_rows = self.sums.block_rows

    def zero(self, n_threads: int) -> PartialSums:
        """Products of no columns."""
        return self.sums.zero(n_threads)

    def add(self, total: PartialSums, block: Block) -> None:
        """Add the products of a block of columns."""
        if self.exact:
            Z = transposed(block.X.T, self.sums.work_dtype, total.n_threads)
        else:
            Z = self.how.form(block, self.sums.work_dtype, total.n_threads).Z
        self.sums.add(total, Block(block.rows, Z, block.labels, None))

    def finish(self, total: PartialSums) -> RowProducts:
        """The products."""
        for gram in total.grams:  # none, if this process has no columns
            check_range(gram.diagonal(), "Row")
        sums = self.sums.finish(total)
        K = sums.gram.astype(np.float64, copy=False)
        products = "float64" if self.exact else str(self.sums.work_dtype)
        return RowProducts(K, sums.rounding, self.kind, products)


def column_source(X: Any) -> ArraySource:
    """A source whose rows are the columns of rows, without a copy of a dense array."""
    columns = canonical(sp.csr_matrix(X.T)) if sp.issparse(X) else X.T
    return ArraySource(columns, Labels(np.zeros(X.shape[1], np.int32)), None)
