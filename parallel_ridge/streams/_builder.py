"""Statistics of rows that nothing is known about before they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.reductions import (
    SAMPLE_ROWS,
    PartialSums,
    StatisticsOptions,
    StatisticsReduction,
    choose_shift,
    coefficient_dtype,
    exact_dtype,
    float32_holds,
    promises_integers,
    repeated_rounding,
)
from parallel_ridge.sources import Block, Labels, Target, among, cut, is_text, weight_range
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.streams._pieces import found_target, merged

# For this many rows, sums of squares of 16-bit integers stay far from the end of int64.
EXACT_ROWS = 2**29


class StatisticsBuilder:
    """Builds statistics of rows with `FoundLabels`, block by block.

    The first block decides the reduction: its features, its dtype, and a shift from a sample of it. A
    block that does not fit (new class, sparse, another dtype) starts a new reduction; the two statistics
    are added. If all blocks are alike, that never happens.
    """

    def __init__(self, options: StatisticsOptions, n_threads: int) -> None:
        self.options = options
        self.n_threads = n_threads
        self.shift: NDArray[np.float64] | None = None
        self.value: SufficientStatistics | None = None
        self._open: tuple[StatisticsReduction, PartialSums] | None = None

    def add(self, block: Block) -> None:
        """Add a block of rows, in pieces that suit the kernels."""
        target = found_target(block)
        exact = self._plain(block) and exact_dtype(block.X.dtype)
        if self._open is None or not _suits(*self._open, block, target, exact):
            self.close()
            self._open = self._begin(block, target, exact)
        reduction, sums = self._open
        labels = Labels(block.labels.codes, block.labels.indptr)
        if not target.multilabel:
            positions, _ = among(target.classes, reduction.target.classes)
            labels = Labels(positions.astype(np.int32)[labels.codes])
        for part in cut(Block(block.rows, block.X, labels, block.weights), reduction.block_rows):
            reduction.add(sums, part)

    def close(self) -> SufficientStatistics | None:
        """Statistics of all rows added so far; None if there are none."""
        if self._open is not None:
            reduction, sums = self._open
            self._open = None
            statistics = reduction.finish(sums)
            self.value = statistics if self.value is None else self.value + statistics
        return self.value

    def _plain(self, block: Block) -> bool:
        """Whether a block is dense, and neither weighted nor shifted by the user."""
        dense = isinstance(block.X, np.ndarray)
        return dense and block.weights is None and not self.options.floats

    def _begin(
        self, block: Block, target: Target, exact: bool
    ) -> tuple[StatisticsReduction, PartialSums]:
        X, sparse = block.X, not isinstance(block.X, np.ndarray)
        if self.value is not None:
            target = merged(Target(self.value.classes, self.value.multilabel), target)
        integers, repeated = False, None
        if self.shift is None:
            self.shift = self.options.given_shift(X.shape[1])
        if not exact:
            sample = spread_rows(X, SAMPLE_ROWS)
            integers = self._plain(block) and promises_integers(sample)
            if self.shift is None and self.options.centre:
                self.shift = choose_shift(sample, self.options.near)
                if integers and self.options.near is None:
                    self.shift = np.rint(self.shift)
            if coefficient_dtype(X.dtype) == np.float32:
                repeated = repeated_rounding(sample, 0.0 if self.shift is None else self.shift)
        shift = None if exact else self.shift
        reduction = StatisticsReduction(
            target,
            X.shape[1],
            X.dtype,
            sparse=sparse,
            weighted=not (exact or integers),
            exact=exact,
            integers=integers,
            shift=np.zeros(X.shape[1]) if shift is None else shift,
            double=self.options.double or _wide(block),
            centre=self.options.centre,
            feature_names=self.options.feature_names,
            repeated=repeated,
        )
        return reduction, reduction.zero(self.n_threads)


def _is_narrow(block: Block) -> bool:
    """Whether float32 holds the products of a block's rows."""
    return coefficient_dtype(block.X.dtype) == np.float32 and not _wide(block)


def _wide(block: Block) -> bool:
    """Whether sample weights are outside float32's range."""
    return not float32_holds(weight_range(block.weights))


def _suits(
    reduction: StatisticsReduction, sums: PartialSums, block: Block, target: Target, exact: bool
) -> bool:
    known = reduction.target
    return (
        known.multilabel == target.multilabel
        and is_text(known.classes) == is_text(target.classes)
        and bool(among(target.classes, known.classes)[1].all())
        and block.X.shape[1] == reduction.n_features
        and reduction.sparse == (not isinstance(block.X, np.ndarray))
        and (reduction.work_dtype != np.float32 or _is_narrow(block))
        and (not reduction.exact or (exact and sums.n_samples < EXACT_ROWS))
    )


def spread_rows(X: Any, n_rows: int) -> Any:
    """A copy of at most ``n_rows`` rows, evenly spaced: an array or CSR."""
    rows = X[:: max(1, -(-X.shape[0] // n_rows))]
    return np.array(rows) if isinstance(X, np.ndarray) else rows
