"""Columns of a table as a stream of rows, labels and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, cast

from parallel_ridge.streams._ahead import read_ahead
from parallel_ridge.streams._arrow import read_features, read_groups, read_labels, read_weights
from parallel_ridge.streams._base import Arrays, Piece, Stream
from parallel_ridge.streams._columns import check_names, choose_features, kinds_of
from parallel_ridge.streams._tables import LABEL_ROWS, Table


@dataclass(frozen=True)
class Roles:
    """Roles beside the features, each a name of a column or an array of values, or None.

    Attributes
    ----------
    y, sample_weight, groups : str, array-like, or None
    folds : str, or None
        Column that holds the cross-validation fold of each row.
    """

    y: Any = None
    sample_weight: Any = None
    groups: Any = None
    folds: str | None = None

    def named(self) -> dict[str, str]:
        """The roles that are names of columns."""
        return {role: name for role, name in vars(self).items() if isinstance(name, str)}

    def arrays(self) -> Arrays:
        """The roles that are arrays."""
        given = [
            None if isinstance(value, str) else value
            for value in (self.y, self.sample_weight, self.groups)
        ]
        return Arrays.of(*given)


class TableStream(Stream):
    """Rows in columns of a table.

    Parameters
    ----------
    table : Table
    roles : Roles
    features : str, sequence of str, or None
        Columns of features: see `choose_features`.
    option : str
        The option that names them, for messages.
    """

    def __init__(
        self, table: Table, roles: Roles, features: str | Sequence[str] | None, option: str
    ) -> None:
        self.table = table
        self.named = roles.named()
        self.arrays = roles.arrays()
        names = list(table.schema.names)
        check_names(names, list(self.named.values()))
        kinds = kinds_of(table.schema)
        self.columns: tuple[str, ...] = choose_features(
            kinds, features, list(self.named.values()), option
        )
        for name in (*self.columns, *self.named.values()):
            if names.count(name) > 1:
                raise ValueError(
                    f"There are {names.count(name)} columns {name!r}: drop or rename the others."
                )
        self.features_named = kinds[self.columns[0]] == "number"
        self.description = table.description
        self.once = table.once
        self.labels_apart = table.ordered and not table.once

    def pieces(self, features: bool = True) -> Iterator[Piece]:
        """Pieces of the batches that have rows, read ahead."""
        if self.table.reads_ahead and not self.features_named:  # no copy of the features is made
            return self._read(features)
        return read_ahead(self._read(features))

    def share(self, rank: int, size: int) -> Stream:
        """The stream of a share of the files."""
        if size == 1:
            return self
        part = self.table.share(rank, size)
        if part is not self.table and self.arrays.n_rows is not None:
            raise ValueError(
                "Files are shared out over processes, so y, sample_weight and groups must be names of "
                "their columns: none of them can be an array."
            )
        shared = object.__new__(TableStream)
        shared.__dict__ = {**vars(self), "table": part}
        return shared

    def _read(self, features: bool) -> Iterator[Piece]:
        names = [*(self.columns if features else ()), *self.named.values()]
        start = 0
        # Names, not positions: the same column may have two roles.
        columns = list(dict.fromkeys(names)) or list(self.columns[:1])
        batches = self.table.batches(columns, None if features else LABEL_ROWS)
        with closing(cast(Any, batches)) if hasattr(batches, "close") else nullcontext():
            for batch in batches:
                if batch.num_rows:
                    yield self._piece(batch, start, features)
                    start += batch.num_rows
        self.arrays.check_end(start)

    def _piece(self, batch: Any, start: int, features: bool) -> Piece:
        found = self.arrays.beside(start, start + batch.num_rows)
        X = None
        if features:
            X = read_features([batch.column(name) for name in self.columns], self.columns, start)
        for role, name in self.named.items():
            column = batch.column(name)
            if role == "y":
                found["labels"], found["target"] = read_labels(column, name, start)
            elif role == "sample_weight":
                found["weights"] = read_weights(column, name, start)
            else:
                found[role] = read_groups(column, name, start)
        return Piece(start, start + batch.num_rows, X, place=f"row {start}", **found)
