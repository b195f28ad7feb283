"""The shift of sums of statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from parallel_ridge.statistics._statistics import SufficientStatistics


def common_shift(
    a: SufficientStatistics, b: SufficientStatistics, sign: int
) -> NDArray[np.float64]:
    """The shift about which two sets of statistics combine.

    Columns with the same shift keep it, so merging about a shift agreed on before remains a plain
    sum. Other columns get the mean of the result: centring then cancels nothing, however far the
    rows have drifted. Exact statistics keep integer shifts.
    """
    if a.n_samples == 0 or b.n_samples == 0:
        return (b if a.n_samples == 0 else a).shift
    same = a.shift == b.shift
    if same.all():
        return a.shift
    weight = a.weight_sum + sign * b.weight_sum
    if not weight > 0.0:
        return a.shift
    mean = (a.weight_sum * a.means + sign * b.weight_sum * b.means) / weight
    if a.exact and b.exact:
        mean = np.rint(mean)
    return np.where(same | ~np.isfinite(mean), a.shift, mean)
