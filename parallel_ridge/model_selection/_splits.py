"""Which rows train and which test, and which rows are always together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

T = TypeVar("T", bound=Any)
# Up to here adding all parts anew for each sum costs less memory, and little time.
FEW_PARTS = 12


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to test on, by position."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


def make_splits(cv: Any, y: Any, groups: Any = None) -> list[Split]:
    """Splits of a number of folds, a splitter or an iterable, as scikit-learn takes them.

    Raises
    ------
    ValueError
        If there is no split, or one has an empty set or a row that does not exist.
    """
    n = y.shape[0]
    rows = np.empty((n, 0))  # splitters look at the number of rows only
    splits = [
        Split(_positions(train, n, i), _positions(test, n, i))
        for i, (train, test) in enumerate(check_cv(cv, y, classifier=True).split(rows, y, groups))
    ]
    if not splits:
        raise ValueError(f"cv={cv!r} gives no splits.")
    for number, split in enumerate(splits):
        for name, chosen in (("training", split.train), ("test", split.test)):
            if not len(chosen):
                raise ValueError(f"Split {number} of cv={cv!r} has an empty {name} set.")
    return splits


def _positions(rows: Any, n: int, split: int) -> NDArray[np.intp]:
    rows = np.asarray(rows)
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows)
    if len(rows) and rows.dtype.kind not in "iu":
        raise ValueError(f"Split {split} of cv holds {rows[0]!r}, which is no position of a row.")
    if len(rows) and (rows.min() < -n or rows.max() >= n):
        worst = rows.max() if rows.max() >= n else rows.min()
        raise ValueError(f"Split {split} of cv has row {worst}, and there are {n} rows.")
    positions: NDArray[np.intp] = rows.astype(np.intp) % max(n, 1)
    return positions


def alike(splits: Sequence[Split], n: int, most: int) -> NDArray[np.intp] | None:
    """Number the rows so that those which every split treats alike have the same number.

    The statistics of any training or test set are sums of those of such groups, without any
    cancellation. For K folds the groups are the folds. None if a set holds a row twice, or if there
    are more than ``most`` groups or two a split.
    """
    group = np.zeros(n, dtype=np.intp)
    for split in splits:
        counts = [np.bincount(rows, minlength=n) for rows in (split.train, split.test)]
        if max(count.max() for count in counts) > 1:
            return None
        _, group = np.unique(4 * group + 2 * counts[0] + counts[1], return_inverse=True)
        if group.max() >= min(most, 2 * len(splits) + 1):
            return None
    return group


def terms(parts: Sequence[T], members: Sequence[Sequence[int]]) -> list[list[T]]:
    """What to add for the sum of some of the parts, for each list of them; few terms each.

    Of many parts, all but one (as of K folds) are a running sum from the front and one from the
    back, so that K sums take 3 K additions; nothing cancels.
    """
    n = len(parts)
    if n <= FEW_PARTS:
        return [[parts[j] for j in some] for some in members]
    front, back = list(accumulate(parts)), list(accumulate(reversed(parts)))
    found = []
    for some in members:
        missing = set(range(n)) - set(some)
        if len(missing) == 1:
            gap = missing.pop()
            found.append(
                ([front[gap - 1]] if gap else []) + ([back[n - 2 - gap]] if gap < n - 1 else [])
            )
        else:
            found.append([parts[j] for j in some])
    return found
