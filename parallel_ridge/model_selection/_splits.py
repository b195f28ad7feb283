"""Which rows train and which test, and which rows are always together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv


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
        Split(_positions(train, n), _positions(test, n))
        for train, test in check_cv(cv, y, classifier=True).split(rows, y, groups)
    ]
    if not splits:
        raise ValueError(f"cv={cv!r} gives no splits.")
    for number, split in enumerate(splits):
        for name, chosen in (("training", split.train), ("test", split.test)):
            if not len(chosen):
                raise ValueError(f"Split {number} of cv={cv!r} has an empty {name} set.")
    return splits


def _positions(rows: Any, n: int) -> NDArray[np.intp]:
    rows = np.asarray(rows)
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows)
    if len(rows) and (rows.min() < -n or rows.max() >= n):
        worst = rows.max() if rows.max() >= n else rows.min()
        raise ValueError(f"A split of cv has row {worst}, and there are {n} rows.")
    positions: NDArray[np.intp] = rows.astype(np.intp) % max(n, 1)
    return positions


def alike(splits: Sequence[Split], n: int) -> NDArray[np.intp] | None:
    """Number the rows so that those which every split treats alike have the same number.

    The statistics of any training or test set are sums of those of such groups, without any
    cancellation. For K folds the groups are the folds. None if there are so many groups that
    folding each training set by itself is less work, or if a set holds a row twice.
    """
    group = np.zeros(n, dtype=np.intp)
    for split in splits:
        use = np.bincount(split.train, minlength=n) + 3 * np.bincount(split.test, minlength=n)
        if use.max() > 3 or (use == 2).any():
            return None
        _, group = np.unique(4 * group + use, return_inverse=True)
        if group.max() >= 2 * len(splits) + 1:
            return None
    return group
