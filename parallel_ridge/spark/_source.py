"""Rows in a Spark cluster, as a source: the driver has their facts, executors have the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.reductions import (
    GroupedReduction,
    GroupValues,
    StatisticsOptions,
    StatisticsReduction,
)
from parallel_ridge.sources import Block, Target, among
from parallel_ridge.spark._readers import Groups, Reader
from parallel_ridge.spark._survey import Survey


@dataclass(frozen=True)
class SparkSource:
    """Rows of a DataFrame or an RDD, and what a survey of them has found.

    Attributes
    ----------
    rows : DataFrame of the reader's columns, or RDD of arrays
    reading : Reader
        Reads all of the rows, with labels as they are found.
    survey : Survey
        Facts of at least one row.
    target : Target
        All classes: those that were found, and perhaps more.
    options : StatisticsOptions, or None
        How the survey formed its statistics.
    class_table : ndarray, or None
        Weights of the classes.
    table : tuple of int, or None
        Group number for each of the survey's groups; -1 leaves it out. None is one group.
    """

    rows: Any
    reading: Reader
    survey: Survey
    target: Target
    options: StatisticsOptions | None = None
    class_table: NDArray[np.float64] | None = None
    table: tuple[int, ...] | None = None

    collectable: ClassVar[bool] = False

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the rows, which only the driver can use."""
        return {**vars(self), "rows": None}

    @property
    def fold_sizes(self) -> list[int]:
        """Sizes of the folds that the survey made."""
        return self.survey.n_rows.tolist()

    @property
    def n_rows(self) -> int:
        """Number of rows in use."""
        return int(self.survey.n_rows[self._selected].sum())

    @property
    def n_features(self) -> int:
        """Columns of the features."""
        return self.survey.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the features."""
        assert self.survey.dtype is not None
        return self.survey.dtype

    @property
    def sparse(self) -> bool:
        """Whether rows come as CSR; each partition decides for itself."""
        return self.survey.sparse

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.survey.weighted or self.class_table is not None

    @property
    def local_rows(self) -> slice:
        """All rows: the driver answers for the executors."""
        return slice(0, self.n_rows)

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Not available: the rows are in Spark."""
        raise ValueError(
            "The rows lie in Spark, and this option needs them in the driver (memory=, solver='dual' "
            "and scores from decision values do). Cache the DataFrame instead, or choose another."
        )

    def sample(self, n_rows: int) -> NDArray[Any]:
        """Some dense rows; a row of zeros for sparse rows, which have no shift."""
        sample = self.survey.sample or [np.zeros((1, self.n_features))]
        rows = np.concatenate(sample)
        return rows[:: max(1, -(-len(rows) // n_rows))]

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the feature columns of a DataFrame."""
        return self.reading.names

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""
        if self.class_table is None:
            return float(self.survey.weight_sums[self._selected].sum())
        return float(self.survey.class_weights[self._selected].sum(axis=0) @ self._found_table())

    def positive_rows(self) -> int:
        """Rows with a positive weight."""
        if self.class_table is None:
            return int(self.survey.positive_rows[self._selected].sum())
        positive = self.survey.class_positive[self._selected].sum(axis=0)
        return int(positive[self._found_table() > 0.0].sum())

    def weight_range(self) -> tuple[float, float]:
        """The smallest positive weight and the largest, or a wider range."""
        low, high = self.survey.weight_range
        factors = [1.0] if self.class_table is None else self.class_table[self.class_table > 0.0]
        return low * min(factors, default=1.0), high * max(factors, default=1.0)

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Rows of each class."""
        counts = np.zeros(n_classes, np.int64)
        counts[self._found] = self.survey.class_counts[self._selected].sum(axis=0)
        return counts

    def stored(self) -> int:
        """Number of values in the rows, zeros included."""
        return self.n_rows * self.n_features

    def reweighted(self, table: NDArray[np.float64] | None) -> SparkSource:
        """The rows with their weights times those of their classes."""
        if table is None:
            return self
        if self.target.multilabel:
            raise ValueError("class_weight is not supported for multilabel targets in Spark.")
        return replace(self, class_table=table)

    def take(self, rows: NDArray[np.intp]) -> SparkSource:
        """Not available: rows of a cluster have no positions."""
        raise ValueError("Rows in Spark have no positions: choose a number of folds, or a column.")

    def grouped(self, group: Any, table: Sequence[int]) -> SparkSource:
        """The rows in groups; `group` is that of the survey."""
        return replace(self, table=tuple(table))

    def with_others_weightless(self) -> SparkSource:
        """All rows of the survey."""
        return replace(self, table=None)

    def for_splitter(self, X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any, Any]:
        """Not available: the backend makes the folds."""
        raise ValueError("Rows in Spark have no positions: choose a number of folds, or a column.")

    def with_rows(self, X: NDArray[Any]) -> SparkSource:
        """Not available: the rows are in Spark."""
        raise ValueError("There are fewer rows than features: use an array instead of Spark.")

    # ------------------------------------------------------------------------------ for the backend

    def reader(self) -> Reader:
        """Reader for the executors, with everything that is known."""
        groups = self.reading.groups
        if groups is not None:
            table = (0,) * len(groups.values) if self.table is None else self.table
            groups = Groups(groups.values, table)
        return replace(
            self.reading, target=self.target, class_table=self.class_table, groups=groups
        )

    def known(self, reduction: Any) -> Any:
        """The value of a reduction to statistics if the survey has formed it already, otherwise None.

        The statistics are handed over, because the solve may use up their memory.
        """
        if self.options is None or self.class_table is not None:
            return None
        found = self.survey.statistics
        if any(statistics is None for statistics in found):
            return None  # too many features, a fold without rows, or handed over before
        one = reduction.reductions[0] if isinstance(reduction, GroupedReduction) else reduction
        if not isinstance(one, StatisticsReduction) or not self._matches(one):
            return None
        parts = [s.select_classes(self.target.classes) for s in found if s is not None]
        if isinstance(reduction, GroupedReduction):
            if self.table != tuple(range(len(found))):
                return None
            value: Any = GroupValues(parts)
        elif len(parts) == 1 and self.table in (None, (0,)):
            value = parts[0]
        else:
            return None
        found[:] = [None] * len(found)
        return value

    def _matches(self, reduction: StatisticsReduction) -> bool:
        """Whether the survey's statistics were formed as a reduction forms them."""
        assert self.options is not None
        found = self.survey.statistics
        if self.dtype == np.float32 and not all(s is not None and s.exact for s in found):
            return self.options.double == (reduction.work_dtype == np.float64)
        return True

    @property
    def _selected(self) -> NDArray[np.intp]:
        """Groups of the survey in use."""
        n = len(self.survey.n_rows)
        return np.flatnonzero(np.asarray(self.table or (0,) * n) >= 0)

    @property
    def _found(self) -> NDArray[np.intp]:
        """Positions of the found classes among all classes."""
        assert self.survey.target is not None
        if self.target.multilabel:
            return np.arange(len(self.target.classes))
        return among(self.survey.target.classes, self.target.classes)[0]

    def _found_table(self) -> NDArray[np.float64]:
        assert self.class_table is not None
        return self.class_table[self._found]
