"""One pass over rows nothing is known about: collects their facts and, if wanted, their statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.numerics import LARGEST_SYSTEM
from parallel_ridge.reductions import BLOCK_ROWS, SAMPLE_ROWS, StatisticsOptions
from parallel_ridge.sources import Block, Target, among, weight_range
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.streams import StatisticsBuilder, found_target, merged, spread_rows

# Sample rows per worker; together they suffice for a shift.
WORKER_SAMPLE_ROWS = 64


@dataclass
class Survey:
    """Facts of rows, and their statistics if wanted; without rows, all is empty.

    Attributes
    ----------
    n_rows, positive_rows : ndarray of shape (G,), int64
        Rows of each group, and those with a positive weight.
    weight_sums : ndarray of shape (G,), float64
    class_counts, class_positive : ndarray of shape (G, k), int64
        Rows of each class.
    class_weights : ndarray of shape (G, k), float64
    target : Target, or None
        The classes found.
    n_features : int
    dtype : dtype, or None
    sparse, weighted : bool
        Whether any rows are sparse, or weighted.
    weight_range : tuple of float
        The smallest positive weight and the largest; ones if there are none.
    sample : list of ndarray
        Some dense rows.
    statistics : list of SufficientStatistics, or of None
        One per group.
    """

    n_rows: NDArray[np.int64]
    positive_rows: NDArray[np.int64]
    weight_sums: NDArray[np.float64]
    class_counts: NDArray[np.int64]
    class_positive: NDArray[np.int64]
    class_weights: NDArray[np.float64]
    target: Target | None
    n_features: int
    dtype: np.dtype[Any] | None
    sparse: bool
    weighted: bool
    weight_range: tuple[float, float]
    sample: list[NDArray[Any]]
    statistics: list[SufficientStatistics | None]

    def __add__(self, other: Survey) -> Survey:
        """Facts of both sets of rows."""
        if self.target is None or other.target is None:
            return other if self.target is None else self
        if self.n_features != other.n_features:
            raise ValueError(
                f"Some rows have {self.n_features} features, and others {other.n_features}."
            )
        target = merged(self.target, other.target)
        a, b = (_spread(survey, target) for survey in (self, other))
        assert self.dtype is not None and other.dtype is not None
        return Survey(
            n_rows=self.n_rows + other.n_rows,
            positive_rows=self.positive_rows + other.positive_rows,
            weight_sums=self.weight_sums + other.weight_sums,
            class_counts=a[0] + b[0],
            class_positive=a[1] + b[1],
            class_weights=a[2] + b[2],
            target=target,
            n_features=self.n_features,
            dtype=np.promote_types(self.dtype, other.dtype),
            sparse=self.sparse or other.sparse,
            weighted=self.weighted or other.weighted,
            weight_range=(
                min(self.weight_range[0], other.weight_range[0]),
                max(self.weight_range[1], other.weight_range[1]),
            ),
            sample=_thinned(self.sample + other.sample),
            statistics=[
                mine if theirs is None else theirs if mine is None else mine + theirs
                for mine, theirs in zip(self.statistics, other.statistics, strict=True)
            ],
        )


def _spread(survey: Survey, target: Target) -> list[NDArray[Any]]:
    """Columns of a survey's classes, spread to those of a target."""
    assert survey.target is not None
    at, _ = among(survey.target.classes, target.classes)
    spread = []
    for values in (survey.class_counts, survey.class_positive, survey.class_weights):
        out = np.zeros((len(values), len(target.classes)), values.dtype)
        out[:, at] = values
        spread.append(out)
    return spread


def _thinned(sample: list[NDArray[Any]]) -> list[NDArray[Any]]:
    rows = sum(map(len, sample))
    if rows <= SAMPLE_ROWS:
        return sample
    return [np.concatenate(sample)[:: -(-rows // SAMPLE_ROWS)]]


class SurveyReduction:
    """Reduces rows with `FoundLabels` to a `Survey`.

    Parameters
    ----------
    n_groups : int, default=1
    options : StatisticsOptions, default=None
        How to form statistics; no statistics when None.
    """

    shares_blocks = True
    block_rows = 8 * BLOCK_ROWS  # the kernels get parts of them

    def __init__(self, n_groups: int = 1, options: StatisticsOptions | None = None) -> None:
        self.n_groups = n_groups
        self.options = options

    def zero(self, n_threads: int) -> _Surveyor:
        """Accumulator of no rows."""
        start: Callable[[], StatisticsBuilder | None] = lambda: None  # noqa: E731
        if self.options is not None:
            options = self.options
            start = lambda: StatisticsBuilder(options, n_threads)  # noqa: E731
        return _Surveyor(self._empty(), [start() for _ in range(self.n_groups)])

    def add(self, total: _Surveyor, block: Block) -> None:
        """Add a block of rows."""
        target, X = found_target(block), block.X
        g, k, labels, m = block.group, len(target.classes), block.labels, X.shape[0]
        facts = self._empty(target)
        weights = np.ones(m) if block.weights is None else block.weights
        each = weights if labels.indptr is None else np.repeat(weights, np.diff(labels.indptr))
        facts.n_rows[g], facts.positive_rows[g] = m, np.count_nonzero(weights)
        facts.weight_sums[g] = weights.sum()
        facts.class_counts[g] = np.bincount(labels.codes, minlength=k)
        facts.class_positive[g] = np.bincount(labels.codes[each > 0.0], minlength=k)
        facts.class_weights[g] = np.bincount(labels.codes, each, minlength=k)
        facts.n_features, facts.dtype = X.shape[1], X.dtype
        facts.sparse, facts.weighted = not isinstance(X, np.ndarray), block.weights is not None
        facts.weight_range = weight_range(weights)
        if not facts.sparse and not total.facts.sample:
            facts.sample = [spread_rows(X, WORKER_SAMPLE_ROWS)]
        total.facts = total.facts + facts
        builder = total.builders[g]
        if builder is not None and X.shape[1] <= LARGEST_SYSTEM:
            builder.add(block)

    def finish(self, total: _Surveyor) -> Survey:
        """The facts, and the statistics."""
        total.facts.statistics = [
            None if builder is None else builder.close() for builder in total.builders
        ]
        return total.facts

    def _empty(self, target: Target | None = None) -> Survey:
        G, k = self.n_groups, 0 if target is None else len(target.classes)
        integers, floats = np.zeros(G, np.int64), np.zeros(G)
        by_class = np.zeros((G, k), np.int64)
        return Survey(
            integers, integers.copy(), floats, by_class, by_class.copy(), np.zeros((G, k)),
            target, 0, None, False, False, (1.0, 1.0), [], [None] * G,
        )  # fmt: skip


@dataclass
class _Surveyor:
    """Accumulator of `SurveyReduction`."""

    facts: Survey
    builders: Sequence[StatisticsBuilder | None]
