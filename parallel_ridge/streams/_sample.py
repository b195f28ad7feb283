"""A sample of rows, spread evenly, of which the number is not known before they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.sources import Block, joined
from parallel_ridge.streams._pieces import found_target


@dataclass(frozen=True)
class Sample:
    """Every ``step``-th row of some consecutive rows.

    Attributes
    ----------
    most : int
        Rows wanted. There are at most twice as many, and at least half as many if there are enough.
    n_rows : int
        Number of rows that it was taken from.
    step : int
        A power of two.
    parts : tuple of (rows, labels or None, ndarray)
        Rows, their decoded labels, and their positions among the ``n_rows``.
    """

    most: int
    n_rows: int = 0
    step: int = 1
    parts: tuple[tuple[Any, Any, NDArray[np.intp]], ...] = ()

    def plus(self, X: Any, labels: Any) -> Sample:
        """The sample of these rows too, which come after the others."""
        n_rows = self.n_rows + X.shape[0]
        some = slice(-self.n_rows % self.step, None, self.step)
        y = None if labels is None else labels[some]
        positions = np.arange(self.n_rows, n_rows)[some]
        parts = (*self.parts, (_copied(X[some]), y, positions))
        return replace(self, n_rows=n_rows, parts=parts)._thinned_to(2 * self.most)

    def __add__(self, other: Sample) -> Sample:
        """The sample of the rows of both, those of `other` after the others."""
        step = max(self.step, other.step)
        mine, theirs = self._thinned(step), other._thinned(step)
        moved = [(X, y, self.n_rows + positions) for X, y, positions in theirs.parts]
        n_rows = self.n_rows + other.n_rows
        both = Sample(self.most, n_rows, step, (*mine.parts, *moved))
        return both._thinned_to(2 * self.most)

    def rows(self) -> tuple[Any, Any, NDArray[np.intp]]:
        """At most ``most`` rows, their labels or None, and their positions."""
        return self._thinned_to(self.most)._joined()

    def _thinned_to(self, most: int) -> Sample:
        step, count = self.step, sum(len(positions) for _, _, positions in self.parts)
        while count > most:
            step, count = 2 * step, -(-count // 2)
        return self._thinned(step)

    def _thinned(self, step: int) -> Sample:
        """The same with larger steps."""
        if step == self.step or not self.parts:
            return replace(self, step=step)
        every = step // self.step
        X, y, positions = self._joined()
        part = X[::every], None if y is None else y[::every], positions[::every]
        return replace(self, step=step, parts=(part,))

    def _joined(self) -> tuple[Any, Any, NDArray[np.intp]]:
        full = [part for part in self.parts if len(part[2])] or list(self.parts[:1])
        rows, labels, positions = zip(*full, strict=True)
        y = None if labels[0] is None else joined(labels)
        return joined(rows), y, np.concatenate(positions)


class SampleReduction:
    """Reduces rows with `FoundLabels` to a `Sample` of them.

    Parameters
    ----------
    most : int
        Rows wanted.
    """

    shares_blocks = True
    block_rows = 2**62

    def __init__(self, most: int) -> None:
        self.most = most

    def zero(self, n_threads: int) -> list[Sample]:
        """Accumulator of no rows."""
        return [Sample(self.most)]

    def add(self, total: list[Sample], block: Block) -> None:
        """Add a block of rows."""
        total[0] = total[0].plus(block.X, found_target(block).decode(block.labels))

    def finish(self, total: list[Sample]) -> Sample:
        """The sample."""
        return total[0]


def _copied(X: Any) -> Any:
    """Rows that do not keep the memory of their piece."""
    return X.copy() if isinstance(X, np.ndarray) or sp.issparse(X) else X
