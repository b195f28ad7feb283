"""The reduction protocol, its values, and groups of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.sources import Block
from parallel_ridge.statistics import SufficientStatistics


class Value(Protocol):
    """Result of a worker's fold; values of disjoint sets of rows add.

    All values can be pickled. Values that add elementwise can also be packed: see `pack`.
    """

    def __add__(self, other: Self, /) -> Self:
        """Value of both sets of rows."""


A = TypeVar("A")
V = TypeVar("V", bound=Value, covariant=True)
# Rows per block: enough to amortise its call (tens of microseconds), and at most about a second of
# work for two cores with AVX-512, so that Ctrl-C takes effect.
BLOCK_ROWS = 2048


def pack(value: Any) -> list[NDArray[Any]] | None:
    """The contiguous arrays of numbers in a value, if values add by adding these.

    Arrays can be packed, and so can values with the methods ``pack`` and ``unpack`` and groups of
    these. The value is consumed: the arrays may share its memory. None for values that add in
    another way.
    """
    if isinstance(value, np.ndarray):
        return [np.ascontiguousarray(value)]
    if isinstance(value, GroupValues):
        packed = [pack(one) for one in value]
        return None if None in packed else [array for arrays in packed for array in arrays or ()]
    if hasattr(value, "pack"):
        arrays: list[NDArray[Any]] = value.pack(overwrite=True)
        return arrays
    return None


def unpack(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """A value like the packed one with other numbers; removes its arrays from the list."""
    if isinstance(value, np.ndarray):
        return arrays.pop(0).reshape(value.shape)
    if isinstance(value, GroupValues):
        return GroupValues(unpack(one, arrays) for one in value)
    return value.unpack(arrays)


class Reduction(Protocol, Generic[A, V]):
    """A fold over blocks of rows.

    Attributes
    ----------
    block_rows : int
        Rows per block.
    shares_blocks : bool
        Whether threads share the work on each block, as in the kernels and LAPACK, and all blocks
        share an accumulator. If not, blocks are spread over threads, and their values are added in
        order.
    """

    block_rows: int
    shares_blocks: bool

    def zero(self, n_threads: int) -> A:
        """Accumulator of no rows."""

    def add(self, total: A, block: Block) -> None:
        """Add a block of rows to an accumulator, in place.

        Raises
        ------
        ValueError
            If the block holds NaN or infinity; the message names the row and the column.
        """

    def finish(self, total: A) -> V:
        """Value of the rows added so far; the accumulator is consumed."""


class GroupValues(list[Any]):
    """Value of `GroupedReduction`: one value per group, added group by group.

    None stands for a group without rows until `complete` is called. A block holds rows of one group
    only, so its value stays small however many groups there are.
    """

    def __add__(self, other: GroupValues) -> GroupValues:  # type: ignore[override]
        """Values of both sets of rows."""
        pairs = zip(self, other, strict=True)
        return GroupValues(b if a is None else a if b is None else a + b for a, b in pairs)


@dataclass
class GroupTotals:
    """Accumulator of `GroupedReduction`: values of closed groups, and totals of open ones.

    Attributes
    ----------
    returns : bool
        Whether a group has returned after another one: then no more groups are closed.
    """

    n_threads: int
    values: dict[int, Any] = field(default_factory=dict)
    totals: dict[int, Any] = field(default_factory=dict)
    returns: bool = False


class GroupedReduction:
    """Reduce rows in groups to one value per group.

    Only one accumulator is open at a time where rows come group by group, to save memory. Once a group
    returns, as in a stream, all stay open: closing one costs about as much as a block.

    Parameters
    ----------
    reductions : sequence of Reduction
        One per group; they may differ only in their parameters.
    """

    def __init__(self, reductions: Sequence[Reduction[Any, Any]]) -> None:
        self.reductions = reductions
        self.block_rows = min(reduction.block_rows for reduction in reductions)
        self.shares_blocks = reductions[0].shares_blocks

    def zero(self, n_threads: int) -> GroupTotals:
        """Accumulator of no rows."""
        return GroupTotals(n_threads)

    def add(self, total: GroupTotals, block: Block) -> None:
        """Add a block of rows of one group."""
        group = block.group
        if group not in total.totals:
            total.returns = total.returns or group in total.values
            if not total.returns:
                self._close(total)
            total.totals[group] = self.reductions[group].zero(total.n_threads)
        self.reductions[group].add(total.totals[group], block)

    def finish(self, total: GroupTotals) -> GroupValues:
        """Values of all groups; None for groups without rows."""
        self._close(total)
        return GroupValues(total.values.get(group) for group in range(len(self.reductions)))

    def _close(self, total: GroupTotals) -> None:
        for group, open_total in total.totals.items():
            value = self.reductions[group].finish(open_total)
            total.values[group] = total.values[group] + value if group in total.values else value
        total.totals = {}


def complete(reduction: Reduction[Any, Any], value: Any) -> Any:
    """The value of a whole fold, including values for groups without rows."""
    if not isinstance(reduction, GroupedReduction):
        return value
    return GroupValues(
        one.finish(one.zero(1)) if part is None else part
        for one, part in zip(reduction.reductions, value, strict=True)
    )


def largest(value: Any) -> list[float]:
    """Bound on the sums in exact statistics, or in each of a group; infinite if they are not exact.

    0 for other values.
    """
    if isinstance(value, GroupValues):
        return [bound for one in value for bound in largest(one)]
    if not isinstance(value, SufficientStatistics):
        return [0]
    return [value.largest() if value.exact else math.inf]


def in_floats(reduction: Any, value: Any, which: Sequence[bool]) -> Any:
    """A value, or each value of a group, as float64 sums about one shift if ``which`` says so.

    Only statistics may be asked for that; they are consumed.
    """
    if isinstance(value, GroupValues):
        groups = zip(reduction.reductions, value, which, strict=True)
        return GroupValues(in_floats(one, part, [too]) for one, part, too in groups)
    return reduction.to_float(value) if which[0] else value


def coefficient_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Floating dtype of coefficients for rows of ``dtype``: float32 for float16 and float32."""
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)


def raise_not_finite(block: Block, first_column: int = 0) -> None:
    """Raise the error for a block with NaN or infinity, naming their first row and column.

    The block may hold only some columns of the rows, from ``first_column`` on.
    """
    if isinstance(block.X, np.ndarray):
        rows, columns = np.nonzero(~np.isfinite(block.X))
    else:
        X = block.X.tocoo()
        bad = ~np.isfinite(X.data)
        rows, columns = X.row[bad], X.col[bad]
    if not len(rows):
        raise ValueError(
            f"Sums over rows {block.position(0)} to {block.position(block.X.shape[0] - 1)} of X "
            "overflow: its values or their weights are too large. Scale them."
        )
    row, column = int(rows[0]), int(columns[0])
    kind = "NaN" if np.isnan(block.X[row, column]) else "infinity"
    raise ValueError(
        f"Input X contains {kind}: row {block.position(row)}, column {first_column + column} (and "
        f"{len(rows) - 1} more in this block of rows). ParallelRidge estimators do not accept "
        "missing values: impute them (sklearn.impute) or drop the rows."
    )


def check_finite(block: Block) -> None:
    """Raise if a block holds NaN or infinity."""
    values = block.X if isinstance(block.X, np.ndarray) else block.X.data
    if not np.isfinite(values).all():
        raise_not_finite(block)


def check_range(squares: NDArray[np.float64], what: str = "Column", first: int = 0) -> None:
    """Raise if sums of squares overflow; the message names the column (or `what`), from ``first`` on."""
    bad = np.flatnonzero(~np.isfinite(squares))
    if len(bad):
        raise ValueError(
            f"{what} {first + bad[0]} of X has values (times weights) too large for sums of squares in "
            "float64: scale X or the weights."
        )
