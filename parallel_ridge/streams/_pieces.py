"""Labels before all classes are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from parallel_ridge.sources import Block, Labels, Target, union_of_labels


@dataclass(frozen=True)
class FoundLabels(Labels):
    """Labels with the classes of their block, for use before the classes of all rows are known.

    Attributes
    ----------
    target : Target
        Meaning of the codes.
    """

    target: Target | None = None

    def __getitem__(self, rows: Any) -> FoundLabels:
        labels = super().__getitem__(rows)
        return FoundLabels(labels.codes, labels.indptr, self.target)


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
