"""Reductions of rows to what scores are made from: counts, squared errors, decision values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.reductions._decisions import DECISION_ROWS, Decisions, value_rows
from parallel_ridge.sources import Block, Labels

# Cells of the largest table of confusion counts that stays in a core's cache.
CONFUSION_TABLE = 2**15


class AccuracyReduction:
    """Reduce rows to the number of correct predictions for each penalty.

    The value has shape (p + 1,): the number or weight of the rows predicted correctly for each
    penalty, followed by that of all rows. Of a multilabel row, all labels must be right.

    Parameters
    ----------
    decisions : Decisions
    weighted : bool
        Whether to count by the rows' weights.
    """

    shares_blocks = False

    def __init__(self, decisions: Decisions, weighted: bool) -> None:
        self.decisions = decisions
        self.weighted = weighted
        self.block_rows = DECISION_ROWS

    def zero(self, n_threads: int) -> NDArray[Any]:
        """Counts of no rows."""
        return np.zeros(self.decisions.shape[0] + 1, np.float64 if self.weighted else np.int64)

    def add(self, total: NDArray[Any], block: Block) -> None:
        """Count a block of rows."""
        right = self._right(block)
        if self.weighted and block.weights is not None:
            total[:-1] += block.weights @ right
            total[-1] += block.weights.sum()
        else:
            total[:-1] += right.sum(axis=0)
            total[-1] += len(right)

    def finish(self, total: NDArray[Any]) -> NDArray[Any]:
        """The counts."""
        return total

    def _right(self, block: Block) -> NDArray[np.bool_]:
        """Which rows each penalty predicts correctly, shape (m, p)."""
        if block.labels.indptr is None:
            return np.asarray(self.decisions.classes(block) == block.labels.codes[:, None])
        return np.concatenate([self._all_right(part) for part in self.decisions.parts(block)])

    def _all_right(self, block: Block) -> NDArray[np.bool_]:
        has = block.labels.indicator(self.decisions.shape[1]) > 0
        return np.asarray(((self.decisions(block) > 0) == has[:, None]).all(axis=2))


@dataclass
class Confusion:
    """Value of `ConfusionReduction`: the nonzero cells of its table.

    Attributes
    ----------
    shape : tuple of int
        (p, k, k): penalty, true class, predicted class.
    cells : ndarray of int64, ascending
        Positions in the flat table.
    counts : ndarray of int64, or of float64 for weights
    """

    shape: tuple[int, int, int]
    cells: NDArray[np.int64]
    counts: NDArray[Any]

    def __add__(self, other: Confusion) -> Confusion:
        """Counts of both sets of rows."""
        return Confusion.of(
            self.shape,
            np.concatenate([self.cells, other.cells]),
            np.concatenate([self.counts, other.counts]),
        )

    @staticmethod
    def of(
        shape: tuple[int, int, int], cells: NDArray[np.int64], counts: NDArray[Any]
    ) -> Confusion:
        """Sum the counts of cells that may occur more than once."""
        found, where = np.unique(cells, return_inverse=True)
        sums = np.zeros(len(found), counts.dtype)
        np.add.at(sums, where, counts)
        return Confusion(shape, found, sums)

    def of_penalty(self, j: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
        """True and predicted classes that occur together for a penalty, and their counts."""
        size = self.shape[1] * self.shape[2]
        some = slice(*np.searchsorted(self.cells, [j * size, (j + 1) * size]))
        true, predicted = np.divmod(self.cells[some] - j * size, self.shape[2])
        return true.astype(np.intp), predicted.astype(np.intp), self.counts[some]


class ConfusionReduction:
    """Reduce rows to confusion counts: how often each class was predicted as each, per penalty.

    The counts are int64, or float64 sums of weights if rows have weights. With many classes few
    pairs of them occur, so the pairs of each block are kept rather than a table.

    Parameters
    ----------
    decisions : Decisions
        Decision values for single-label targets.
    n_classes : int
    weighted : bool
        Whether to count by the rows' weights.
    """

    shares_blocks = False

    def __init__(self, decisions: Decisions, n_classes: int, weighted: bool) -> None:
        self.decisions = decisions
        self.n_classes = n_classes
        self.weighted = weighted
        self.block_rows = DECISION_ROWS

    def zero(self, n_threads: int) -> list[Confusion]:
        """Counts of no rows."""
        k, dtype = self.n_classes, np.float64 if self.weighted else np.int64
        shape = self.decisions.shape[0], k, k
        return [Confusion(shape, np.empty(0, np.int64), np.empty(0, dtype))]

    def add(self, total: list[Confusion], block: Block) -> None:
        """Count a block of rows."""
        codes = self.decisions.classes(block)
        p, k = self.decisions.shape[0], self.n_classes
        cells = ((np.arange(p) * k + block.labels.codes[:, None]) * k + codes).ravel()
        dtype = total[0].counts.dtype
        weights = np.ones(len(cells), dtype)
        if self.weighted and block.weights is not None:
            weights = np.repeat(block.weights, p)
        if p * k * k <= CONFUSION_TABLE:  # counting costs less than sorting
            table = np.bincount(cells, weights, minlength=p * k * k)
            found = np.flatnonzero(table)
            total[0] += Confusion(total[0].shape, found, table[found].astype(dtype))
        else:
            total[0] += Confusion.of(total[0].shape, cells, weights)

    def finish(self, total: list[Confusion]) -> Confusion:
        """The counts."""
        return total[0]


class SquaredErrorReduction:
    """Reduce rows to weighted squared errors of their decision values, for each penalty.

    The value has shape (p + 1, t + 1). The row of a penalty holds the sums of ``w e^2`` for each
    target, followed by the sum of squares of ``w e^2`` averaged over the targets. The last row
    holds the sums of ``w y`` for each target, followed by the sum of ``w``.

    Parameters
    ----------
    decisions : Decisions
    n_classes : int
    targets : slice
        The classes that are targets.
    """

    shares_blocks = False

    def __init__(self, decisions: Decisions, n_classes: int, targets: slice) -> None:
        self.decisions = decisions
        self.n_classes = n_classes
        self.targets = targets
        self.block_rows = DECISION_ROWS

    def zero(self, n_threads: int) -> NDArray[np.float64]:
        """Errors of no rows."""
        p, t = self.decisions.shape
        return np.zeros((p + 1, t + 1))

    def add(self, total: NDArray[np.float64], block: Block) -> None:
        """Add the errors of a block of rows."""
        first = self.targets.start or 0
        self.decisions.add_errors(block, first, total[:-1])
        labels, weights = block.labels, block.weights
        weight = float(len(labels) if weights is None else weights.sum())
        sums = labels.counts(self.n_classes, weights)[self.targets]
        total[-1, :-1] += 2.0 * sums - weight
        total[-1, -1] += weight

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """The errors."""
        return total


@dataclass
class HeldOut:
    """Rows without their features: all that a score needs.

    Attributes
    ----------
    values : ndarray of shape (m, p, t)
        Held-out decision values.
    labels : Labels
    weights : ndarray of shape (m,), or None
    """

    values: NDArray[Any]
    labels: Labels
    weights: NDArray[np.float64] | None

    @staticmethod
    def join(parts: Sequence[HeldOut]) -> HeldOut:
        """All rows, in order."""
        weights = None
        if any(part.weights is not None for part in parts):
            weights = np.concatenate(
                [np.ones(len(p.values)) if p.weights is None else p.weights for p in parts]
            )
        values = np.concatenate([part.values for part in parts])
        return HeldOut(values, Labels.join([part.labels for part in parts]), weights)


class DecisionReduction:
    """Reduce rows to their decision values: a list of `HeldOut`, in row order."""

    shares_blocks = False

    def __init__(self, decisions: Decisions) -> None:
        self.decisions = decisions
        self.block_rows = value_rows(decisions.shape)

    def zero(self, n_threads: int) -> list[HeldOut]:
        """Values of no rows."""
        return []

    def add(self, total: list[HeldOut], block: Block) -> None:
        """Add the values of a block of rows."""
        total.append(HeldOut(self.decisions(block), block.labels, block.weights))

    def finish(self, total: list[HeldOut]) -> list[HeldOut]:
        """The values."""
        return total
