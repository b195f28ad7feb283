"""Labels before all classes are known, and parts of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.sources import Block, Labels, Target, take_rows, union_of_labels


@dataclass(frozen=True)
class FoundLabels(Labels):
    """Labels with the classes of their block, for use before the classes of all rows are known.

    Attributes
    ----------
    target : Target
        Meaning of the codes.
    """

    target: Target | None = None


def found_target(block: Block) -> Target:
    """Classes of a block with `FoundLabels`."""
    assert isinstance(block.labels, FoundLabels)
    assert block.labels.target is not None
    return block.labels.target


def merged(a: Target, b: Target) -> Target:
    """Union of the classes of two targets.

    Raises
    ------
    ValueError
        If one is multilabel, or holds strings, and the other is not.
    """
    if a.multilabel != b.multilabel or (a.multilabel and len(a.classes) != len(b.classes)):
        raise ValueError(
            f"Some rows have labels {a.classes.tolist()} (multilabel: {a.multilabel}), and others "
            f"{b.classes.tolist()} (multilabel: {b.multilabel})."
        )
    if a.classes.dtype == b.classes.dtype and np.array_equal(a.classes, b.classes):
        return a
    return Target(union_of_labels(a.classes, b.classes), a.multilabel)


def cut(block: Block, n_rows: int) -> Iterator[Block]:
    """Parts of a block, of at most ``n_rows`` rows each."""
    m = block.X.shape[0]
    if m <= n_rows:
        yield block
        return
    for start in range(0, m, n_rows):
        yield part_of(block, slice(start, min(start + n_rows, m)), block.group)


def part_of(block: Block, rows: slice | NDArray[np.intp], group: int) -> Block:
    """Some rows of a block: a view if they are a slice."""
    labels = block.labels[rows]
    if isinstance(block.labels, FoundLabels):
        labels = FoundLabels(labels.codes, labels.indptr, block.labels.target)
    if not isinstance(block.rows, slice):
        positions: slice | NDArray[np.intp] = block.rows[rows]
    elif isinstance(rows, slice):
        positions = slice(block.rows.start + rows.start, block.rows.start + rows.stop)
    else:
        positions = block.rows.start + rows
    weights = None if block.weights is None else block.weights[rows]
    return Block(positions, take_rows(block.X, rows), labels, weights, group)
