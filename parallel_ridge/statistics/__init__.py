"""Sufficient statistics: the additive algebra between the pass over the rows and the solve."""

from parallel_ridge.statistics._packing import fold_rounding
from parallel_ridge.statistics._statistics import SufficientStatistics

__all__ = ["SufficientStatistics", "fold_rounding"]
