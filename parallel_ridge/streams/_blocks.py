"""Blocks from pieces: joined, cut, or gathered by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.sources import Block, Labels, take_rows


def joined(blocks: Sequence[Block]) -> Block:
    """Consecutive blocks as one: the only one as it is."""
    if len(blocks) == 1:
        return blocks[0]
    parts = [block.X for block in blocks]
    X = np.concatenate(parts) if isinstance(parts[0], np.ndarray) else sp.vstack(parts, "csr")
    first, last = blocks[0].rows, blocks[-1].rows
    assert isinstance(first, slice) and isinstance(last, slice)
    labels = Labels.join([block.labels for block in blocks])
    return Block(slice(first.start, last.stop), X, labels, joined_weights(blocks))


def part(block: Block, rows: slice) -> Block:
    """Some consecutive rows of a block: a view."""
    assert isinstance(block.rows, slice)
    if rows == slice(0, block.X.shape[0]):
        return block
    weights = None if block.weights is None else block.weights[rows]
    start = block.rows.start
    return Block(
        slice(start + rows.start, start + rows.stop),
        take_rows(block.X, rows),
        block.labels[rows],
        weights,
    )


class Gathered:
    """Rows of one group, gathered until they are a block."""

    def __init__(self, group: int, size: int) -> None:
        self.group = group
        self.size = size
        self.n_rows = 0
        self.X: NDArray[Any] | None = None
        self.parts: list[Block] = []

    def add(self, block: Block, rows: NDArray[np.intp]) -> None:
        """Add some rows of a block, at most as many as there is room for."""
        assert isinstance(block.rows, slice)
        m = len(rows)
        dense = isinstance(block.X, np.ndarray)
        if dense and m == self.size and int(rows[-1]) - int(rows[0]) == m - 1:
            X = block.X[int(rows[0]) : int(rows[-1]) + 1]  # no need to gather
            self.X = X if (np.diff(rows) == 1).all() else block.X[rows]
        elif dense:
            if self.X is None:
                self.X = np.empty((self.size, block.X.shape[1]), block.X.dtype)
            # Rows are in bounds; other modes would take a copy.
            np.take(block.X, rows, 0, self.X[self.n_rows : self.n_rows + m], mode="clip")
        weights = None if block.weights is None else block.weights[rows]
        X = None if dense else block.X[rows]
        self.parts.append(Block(block.rows.start + rows, X, block.labels[rows], weights))
        self.n_rows += m

    def block(self) -> Block:
        """The rows so far."""
        parts = self.parts
        X = sp.vstack([one.X for one in parts], "csr") if self.X is None else self.X
        rows = np.concatenate([one.rows for one in parts])
        labels = Labels.join([one.labels for one in parts])
        return Block(rows, X[: self.n_rows], labels, joined_weights(parts), self.group)


def joined_weights(blocks: Sequence[Block]) -> NDArray[np.float64] | None:
    """Weights of consecutive blocks; None if no block has any."""
    if all(block.weights is None for block in blocks):
        return None
    return np.concatenate(
        [np.ones(len(b.labels)) if b.weights is None else b.weights for b in blocks]
    )
