"""The shift about which sums of rows lose few digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parallel_ridge.numerics import COARSE, FEW_EQUAL, REPEATED
from parallel_ridge.statistics import SufficientStatistics

# Rows from which a shift is taken (a quarter will tell whether an earlier one suits), and how many are
# worked on at a time, which stay in L2.
SAMPLE_ROWS = 512
SHIFT_ROWS = 64
# Bits of a float32 that a float16 leaves zero (a bfloat16 more).
HALF_BITS = np.uint32(2**13 - 1)


@dataclass(frozen=True)
class Earlier:
    """What matters of the rows that these rows will be added to.

    Attributes
    ----------
    shift : ndarray of shape (d,)
        Kept in the columns that it suits.
    squares : ndarray of shape (d,)
        Sums of squares about the means.
    weight_sum : float
    """

    shift: NDArray[np.float64]
    squares: NDArray[np.float64]
    weight_sum: float

    @classmethod
    def of(cls, *statistics: SufficientStatistics) -> Earlier:
        """What matters of statistics, at least one of them with a positive weight.

        The shift is that of the heaviest.
        """
        weighty = [one for one in statistics if one.weight_sum > 0.0]
        squares = sum(
            np.maximum(
                one.gram.diagonal() - one.feature_sums * (one.feature_sums / one.weight_sum), 0
            )
            for one in weighty
        )
        heaviest = max(weighty, key=lambda one: one.weight_sum)
        return cls(heaviest.shift, np.asarray(squares), sum(one.weight_sum for one in weighty))


def repeated_rounding(sample: Any, shift: ArrayLike) -> NDArray[np.float64] | None:
    """Rounding error that float32 sums of squares of rows like these have in common, relative to them.

    None if errors are independent, as those of values that hardly ever return.

    Parameters
    ----------
    sample : {ndarray, CSR matrix} of shape (m, d)
        Rows spread evenly, so that neighbours are alike where they are in all rows.
    shift : array-like of shape (d,)
        What is subtracted from the rows; values that become zero round nothing.
    """
    if not isinstance(sample, np.ndarray) or sample.dtype.kind != "f" or len(sample) < 2:
        return None
    sample = sample.astype(sample.dtype.newbyteorder("="), copy=False)
    moved = np.asarray(shift, sample.dtype)
    first = sample[:-1]
    equal = np.count_nonzero((first == sample[1:]) & (first != moved), axis=0) / len(first)
    coarse = equal > 0.0
    if sample.dtype == np.float16:
        coarse[:] = True
    elif sample.dtype == np.float32 and not coarse.all():
        coarse |= not (np.ascontiguousarray(sample).view(np.uint32) & HALF_BITS).any()
    relative = np.where(equal > FEW_EQUAL, REPEATED * equal, np.where(coarse, COARSE, 0.0))
    return relative if relative.any() else None


def choose_shift(
    sample: Any, near: Earlier | None = None, weight_sum: float | None = None
) -> NDArray[np.float64]:
    """Shift for rows like these: a column's mean if it exceeds the standard deviation, else 0.

    A mean of at most one standard deviation costs centred sums at most one bit, and the kernels
    skip zeros that stay zeros. The mean is taken about the first row, so a constant column is
    shifted to exact zeros.

    Parameters
    ----------
    sample : {ndarray, CSR matrix} of shape (m, d)
        The mean of a sparse column can exceed its standard deviation only if more than half of its
        values are stored, so shifting it fills in few.
    near : Earlier, default=None
        Rows whose shift is kept in the columns whose mean lies within a standard deviation of it, and
        in those where moving these rows to it adds less than the earlier sums of squares. Either costs
        the whole at most one bit.
    weight_sum : float, default=None
        Weight of all rows like these; that of the earlier ones if None.
    """
    known = None
    if near is not None:
        weight = near.weight_sum if weight_sum is None else weight_sum
        with np.errstate(over="ignore"):
            known = np.stack([near.shift, near.squares / max(weight, 1e-300)])
    if isinstance(sample, np.ndarray):
        return _shift_of(sample, known)
    shift = np.zeros(sample.shape[1])
    stored = np.bincount(sample.indices, minlength=sample.shape[1])
    full = np.flatnonzero(2 * stored > sample.shape[0])
    if near is not None:
        full = np.union1d(full, np.flatnonzero(near.shift))
    some = sample[:, full].toarray() if len(full) else np.empty((1, 0))
    shift[full] = _shift_of(some, None if known is None else known[:, full])
    return shift


def _shift_of(sample: NDArray[Any], known: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Shift for dense rows; `known` has the shift of earlier rows, and how large a square suits it."""
    n, d = sample.shape
    first = sample[0].astype(np.float64)
    mean, squares = np.zeros(d), np.zeros(d)
    rows = np.empty((min(n, SHIFT_ROWS), d))
    with np.errstate(all="ignore"):  # the pass over the rows reports non-finite ones
        for start in range(0, n, SHIFT_ROWS):
            part = sample[start : start + SHIFT_ROWS]
            # C order gives the same bits for any memory layout.
            away = np.subtract(part, first, out=rows[: len(part)])
            mean += away.sum(axis=0)
            squares += np.einsum("ij,ij->j", away, away)
        mean /= n
        variance = squares / n - mean**2
        mean += first
        shift = np.where(mean**2 > variance, mean, 0.0)
        if known is not None:
            near, suits = known
            shift = np.where((mean - near) ** 2 <= np.maximum(variance, suits), near, shift)
    return np.where(np.isfinite(shift), shift, 0.0)
