"""Which groups of rows train and which test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.model_selection import PredefinedSplit, check_cv
from sklearn.utils.validation import _num_samples

from parallel_ridge.backends import Backend
from parallel_ridge.sources import Elsewhere, Source

T = TypeVar("T", bound=Any)
# Up to this many parts each sum is formed anew, which saves memory and costs little time.
FEW_PARTS = 12


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to test on, by position."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True)
class Splits:
    """Training and test sets, as groups of rows that always occur together.

    The statistics of each set are sums over its groups, so nothing cancels. For K folds the groups are
    the folds.

    Attributes
    ----------
    train, test : list of list of int
        Groups of each split.
    n_groups : int
    group : object
        Group of each row, for `Source.grouped`; None if there would be too many groups, or if a set
        repeats a row.
    rows : list of Split, or None
        Positions of this process's rows, where there are no groups.
    """

    train: list[list[int]]
    test: list[list[int]]
    n_groups: int = 0
    group: Any = None
    rows: list[Split] | None = None

    @staticmethod
    def of(backend: Backend, source: Source, cv: Any, X: Any, y: Any, groups: Any = None) -> Splits:
        """Splits as scikit-learn makes them, over the rows of all processes in order of rank.

        Parameters
        ----------
        cv : int, splitter or iterable
        X, y, groups : array-like
            Rows, labels and groups of this process, as the user gave them. With several processes, no
            splitter sees the features.
        """
        if not source.collectable:  # the backend made the groups, which are the folds
            folds = range(len(source.fold_sizes))
            empty = [i for i in folds if source.fold_sizes[i] == 0]
            if empty:
                raise ValueError(f"Split {empty[0]} of cv={cv!r} has an empty test set.")
            others = [[j for j in folds if j != i] for i in folds]
            return Splits(others, [[i] for i in folds], len(folds))
        n, d = source.n_rows, source.n_features
        X, *own = source.for_splitter(X, y, groups)
        parts = backend.gather(
            lambda: [None if one is None else backend.as_array(one) for one in own]
        )
        y, groups, folds = (joined(some) for some in zip(*parts, strict=True))
        if len(parts) > 1:
            X = Elsewhere((n, d), "in several processes")
        if isinstance(cv, str) and folds is not None:
            cv = PredefinedSplit(np.unique(folds, return_inverse=True)[1])
        # Groups pay off while their Gram matrices take no more memory than the rows.
        most = 64 + 4 * max(1, n // d)

        def make(cv: Any) -> Splits:
            splits = make_splits(cv, X, y, groups)
            numbered = number_rows(splits, n, most)
            if numbered is None:
                return Splits([[]] * len(splits), [[]] * len(splits), rows=splits)
            group, member = numbered
            train, test = (
                [np.flatnonzero(of_split & bit).tolist() for of_split in member.T] for bit in (2, 1)
            )
            return Splits(train, test, len(member), group)

        # A splitter may draw at random: one process decides for all.
        return backend.map(make, [cv])[0]._within(source.local_rows)

    def __len__(self) -> int:
        return len(self.train)

    @property
    def tested(self) -> list[int] | None:
        """The split that tests each group, -1 if none does; None if two do."""
        table = [-1] * self.n_groups
        for i, groups in enumerate(self.test):
            for group in groups:
                if table[group] >= 0:
                    return None
                table[group] = i
        return table if self.rows is None else None

    def training(self, source: Source, i: int) -> Source:
        """Rows of a training set."""
        return source.take(self.rows[i].train) if self.rows else self._select(source, self.train[i])

    def testing(self, source: Source, i: int) -> Source:
        """Rows of a test set."""
        return source.take(self.rows[i].test) if self.rows else self._select(source, self.test[i])

    def only(self, i: int) -> Splits:
        """One of the splits."""
        rows = self.rows and [self.rows[i]]
        return Splits([self.train[i]], [self.test[i]], self.n_groups, self.group, rows)

    def _select(self, source: Source, groups: Sequence[int]) -> Source:
        table = [-1] * self.n_groups
        for group in groups:
            table[group] = 0
        return source.grouped(self.group, table)

    def _within(self, span: slice) -> Splits:
        """The splits restricted to a range of rows."""
        if self.rows is None:
            return Splits(self.train, self.test, self.n_groups, self.group[span])
        rows = [
            Split(*(some[(span.start <= some) & (some < span.stop)] - span.start for some in both))
            for both in ((split.train, split.test) for split in self.rows)
        ]
        return Splits(self.train, self.test, rows=rows)


def joined(parts: Sequence[Any]) -> Any:
    """Join the labels of all processes; those of a single one stay as they are."""
    if len(parts) == 1:
        return parts[0]
    if all(part is None for part in parts):
        return None
    if any(sp.issparse(part) for part in parts):
        return sp.vstack(parts, format="csr")
    arrays = [np.asarray(part) for part in parts]
    full = [array for array in arrays if len(array)] or arrays[:1]
    return full[0] if len(full) == 1 else np.concatenate(full)


def make_splits(cv: Any, X: Any, y: Any, groups: Any = None) -> list[Split]:
    """Splits from a number of folds, a splitter or an iterable, as in scikit-learn.

    Raises
    ------
    ValueError
        If there is no split, or one has an empty set or a row that does not exist.
    """
    n = _num_samples(y)
    splits = [
        Split(_positions(train, n, i), _positions(test, n, i))
        for i, (train, test) in enumerate(check_cv(cv, y, classifier=True).split(X, y, groups))
    ]
    if not splits:
        raise ValueError(f"cv={cv!r} gives no splits.")
    for number, split in enumerate(splits):
        for name, chosen in (("training", split.train), ("test", split.test)):
            if not len(chosen):
                raise ValueError(f"Split {number} of cv={cv!r} has an empty {name} set.")
    return splits


def _positions(rows: Any, n: int, split: int) -> NDArray[np.intp]:
    if isinstance(rows, slice):
        return np.arange(n)[rows]
    rows = np.asarray(rows)
    if rows.ndim != 1:
        raise ValueError(f"Split {split} of cv holds {rows!r}, which are no positions of rows.")
    if rows.dtype == np.bool_:
        if len(rows) != n:
            raise ValueError(
                f"Split {split} of cv has a mask of {len(rows)} rows, and there are {n} rows."
            )
        rows = np.flatnonzero(rows)
    if len(rows) and rows.dtype.kind not in "iu":
        raise ValueError(f"Split {split} of cv holds {rows[0]!r}, which is no position of a row.")
    if len(rows) and (rows.min() < -n or rows.max() >= n):
        worst = rows.max() if rows.max() >= n else rows.min()
        raise ValueError(f"Split {split} of cv has row {worst}, and there are {n} rows.")
    positions: NDArray[np.intp] = rows.astype(np.intp, copy=False)
    if len(rows) and rows.min() < 0:
        positions = np.where(positions < 0, positions + n, positions)
    return positions


def number_rows(
    splits: Sequence[Split], n: int, most: int
) -> tuple[NDArray[np.intp], NDArray[np.int8]] | None:
    """Number the rows: rows that every split treats alike form a group.

    Returns
    -------
    group : ndarray of shape (n,)
    member : ndarray of shape (n_groups, n_splits), int8
        2 for groups of a training set, 1 for groups of a test set, and their sum for both.

    None if a set repeats a row, or if there are more than ``min(most, 2 * n_splits + 1)`` groups.
    """
    most = min(most, 2 * len(splits) + 1)
    small: Any = np.int8 if 4 * most <= 128 else np.int32
    group, n_groups = np.zeros(n, small), 1
    steps = []  # for each split the groups that its groups were part of, and their sets
    for split in splits:
        group *= 4
        for bit, rows in ((2, split.train), (1, split.test)):
            chosen = np.zeros(n, np.int8)
            chosen[rows] = bit
            if np.count_nonzero(chosen) < len(rows):
                return None
            group += chosen
        seen = np.zeros(4 * n_groups, np.bool_)
        seen[group] = True
        (keys,) = np.nonzero(seen)
        if len(keys) > most:
            return None
        steps.append((keys // 4, (keys % 4).astype(np.int8)))
        n_groups = len(keys)
        group = (np.cumsum(seen, dtype=small) - small(1))[group]
    member, part = np.empty((n_groups, len(splits)), np.int8), np.arange(n_groups)
    for i, (of, sets) in reversed(list(enumerate(steps))):
        member[:, i] = sets[part]
        part = of[part]
    return group.astype(np.intp), member


def summands(parts: Sequence[T], members: Sequence[Sequence[int]]) -> list[list[T]]:
    """The summands, few of them, for each sum over some of the parts.

    A sum over all parts but one (as for K folds) is a running sum from the front plus one from the back,
    so K sums take 3 K additions and nothing cancels.
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
