"""Reductions over blocks of rows, each defined by a zero, a step and a finish.

A backend runs any reduction without knowing which it is: it makes a zero for each worker, adds
blocks to it, finishes it to a value, and adds the values of all workers.
"""

from parallel_ridge.reductions._accumulators import PartialSums, Spare
from parallel_ridge.reductions._base import (
    BLOCK_ROWS,
    GroupedReduction,
    GroupValues,
    Reduction,
    Value,
    check_range,
    coefficient_dtype,
    complete,
    in_floats,
    largest,
    pack,
    raise_not_finite,
    unpack,
)
from parallel_ridge.reductions._columns import ColumnForm, Columns, Formed
from parallel_ridge.reductions._decisions import Decisions, PathDecisions
from parallel_ridge.reductions._integers import exact_dtype, promises_integers
from parallel_ridge.reductions._leave_one_out import (
    AxisLeverages,
    BandLeverages,
    DualLeaveOneOutDecisions,
    LeaveOneOutDecisions,
    Leverages,
)
from parallel_ridge.reductions._linear import LinearMap, answer_dtype
from parallel_ridge.reductions._products import Moments, MomentsReduction, NormalProductReduction
from parallel_ridge.reductions._row_products import (
    RowProductReduction,
    RowProducts,
    column_source,
)
from parallel_ridge.reductions._rows import QRReduction, RowsReduction
from parallel_ridge.reductions._scores import (
    AccuracyReduction,
    Confusion,
    ConfusionReduction,
    DecisionReduction,
    HeldOut,
    SquaredErrorReduction,
)
from parallel_ridge.reductions._shift import (
    SAMPLE_ROWS,
    Earlier,
    choose_shift,
    repeated_rounding,
)
from parallel_ridge.reductions._statistics import (
    DENSE_FROM,
    StatisticsOptions,
    StatisticsReduction,
    float32_holds,
    fold_statistics,
)

__all__ = [
    "BLOCK_ROWS",
    "DENSE_FROM",
    "SAMPLE_ROWS",
    "AccuracyReduction",
    "AxisLeverages",
    "BandLeverages",
    "ColumnForm",
    "Columns",
    "Confusion",
    "ConfusionReduction",
    "DecisionReduction",
    "Decisions",
    "DualLeaveOneOutDecisions",
    "Earlier",
    "Formed",
    "GroupValues",
    "GroupedReduction",
    "HeldOut",
    "LeaveOneOutDecisions",
    "Leverages",
    "LinearMap",
    "Moments",
    "MomentsReduction",
    "NormalProductReduction",
    "PartialSums",
    "PathDecisions",
    "QRReduction",
    "Reduction",
    "RowProductReduction",
    "RowProducts",
    "RowsReduction",
    "Spare",
    "SquaredErrorReduction",
    "StatisticsOptions",
    "StatisticsReduction",
    "Value",
    "answer_dtype",
    "check_range",
    "choose_shift",
    "coefficient_dtype",
    "column_source",
    "complete",
    "exact_dtype",
    "float32_holds",
    "fold_statistics",
    "in_floats",
    "largest",
    "pack",
    "promises_integers",
    "raise_not_finite",
    "repeated_rounding",
    "unpack",
]
