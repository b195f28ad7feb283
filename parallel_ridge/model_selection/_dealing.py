"""Folds for the rows of a stream, which nobody can shuffle beforehand."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import murmurhash3_32

from parallel_ridge.backends import Backend
from parallel_ridge.sources import Source, plain


def deal(first: int, n: int, n_folds: int) -> NDArray[np.intp]:
    """Folds of ``n`` positions from ``first`` on.

    Each run of ``n_folds`` positions is spread over all folds, in an order that a hash of the positions
    draws. Sizes of folds differ by at most one, the edges of batches change nothing, and no order of
    the rows is mirrored in the folds: dealing them in turn (position modulo ``n_folds``) would put all
    rows of a class into one fold if the classes alternate, and contiguous folds would split by time.

    Returns
    -------
    ndarray of shape (n,)
        Numbers from 0 to ``n_folds - 1``.
    """
    start, stop = first // n_folds, -(-(first + n) // n_folds)
    positions = np.arange(start * n_folds, stop * n_folds)
    keys = murmurhash3_32(positions.astype(np.int32)).reshape(-1, n_folds)
    return keys.argsort(axis=1, kind="stable").ravel()[first - start * n_folds :][:n]


@dataclass(frozen=True)
class Dealer:
    """What decides the folds of further rows of a stream.

    Attributes
    ----------
    n_folds : int
    by : str or None
        What the rows so far were dealt by; None if there are none.
    n_rows : int
        Number of rows so far.
    groups : mapping
        Number of each group so far, in order of appearance. A group joins the fold that `deal` gives
        its number, and stays there.
    """

    n_folds: int
    by: str | None = None
    n_rows: int = 0
    groups: Mapping[Hashable, int] = field(default_factory=dict)

    def deal(self, backend: Backend, source: Source, groups: Any) -> tuple[Any, Dealer]:
        """Fold of each row of a source, for `Source.grouped`; and the dealer of the rows after it.

        Parameters
        ----------
        groups : array-like, or what else the backend reads, or None
            Groups of this process's rows, which must not be torn apart.

        Raises
        ------
        ValueError
            If the rows before were dealt in another way, or if ``groups`` is no list of one label per
            row.
        """
        what = "groups" if groups is not None else "rows"
        by = f"the order of {what}" if source.collectable else f"hashes of {what}"
        if self.by not in (None, by):
            raise ValueError(
                f"The rows of this batch would be dealt to folds by {by}, and earlier rows were dealt "
                f"by {self.by}: pass the same kind of rows, and groups, in all batches or in none."
            )
        after = replace(self, by=by, n_rows=self.n_rows + source.n_rows)
        if not source.collectable and not source.fold_sizes:
            raise ValueError(
                "The rows of this batch can be read once, and a second pass deals them to folds: pass "
                "arrays, or rows that can be read again."
            )
        if not source.collectable:  # the backend made the folds
            return None, after
        rows = source.local_rows
        if groups is None:
            return deal(self.n_rows + rows.start, rows.stop - rows.start, self.n_folds), after
        mine: list[Hashable] = []

        def find_new() -> list[Hashable]:
            mine[:] = _labels(groups, rows.stop - rows.start)
            return list(dict.fromkeys(group for group in mine if group not in self.groups))

        known = dict(self.groups)
        for new in backend.gather(find_new):
            for group in new:
                known.setdefault(group, len(known))
        folds = deal(0, len(known), self.n_folds)
        return folds[[known[group] for group in mine]], replace(after, groups=known)


def _labels(groups: Any, n_rows: int) -> list[Hashable]:
    """Groups of rows as Python objects."""
    labels = np.asarray(plain(groups))
    if labels.shape != (n_rows,):
        raise ValueError(
            f"groups has shape {labels.shape}, expected {(n_rows,)}: one group per row."
        )
    found: list[Hashable] = labels.tolist()
    for row, label in enumerate(found):
        if label is None or label != label:
            raise ValueError(f"groups has a missing value in row {row}: every row needs a group.")
    return found
