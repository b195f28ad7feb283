"""Items of a partition as blocks of rows."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.sources import (
    Block,
    Features,
    Labels,
    Target,
    among,
    as_csr,
    canonical,
    check_weights,
    cut,
    encode_labels,
    part_of,
)
from parallel_ridge.streams import (
    FoundLabels,
    read_features,
    read_groups,
    read_labels,
    read_weights,
)


@dataclass(frozen=True)
class Groups:
    """Groups that rows are in.

    Attributes
    ----------
    values : ndarray
        Possible values of a row.
    table : tuple of int
        Group number of each value; -1 leaves rows out.
    """

    values: NDArray[Any]
    table: tuple[int, ...]


@dataclass(frozen=True)
class Reader(ABC):
    """Meaning of the rows of a partition; subclasses read a storage format.

    Attributes
    ----------
    target : Target, default=None
        The classes; when None, blocks have `FoundLabels`.
    unknown : int, default=None
        Code of labels that are not among the classes; when None, they are an error.
    class_table : ndarray, default=None
        Class weights, which multiply the sample weights: see `Labels.weights`.
    groups : Groups, default=None
    making : Features, default=None
        Makes the features of what was read; when None, that is the features.
    any_shape : bool, default=False
        Whether what was read may have any shape, because it goes to the transformers of a pipeline.
    """

    target: Target | None = None
    unknown: int | None = None
    class_table: NDArray[np.float64] | None = None
    groups: Groups | None = None
    making: Features | None = None
    any_shape: bool = False

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the columns that hold the features; None if they have none."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what makes features by value: it may have functions of a notebook."""
        return {**vars(self), "making": None if self.making is None else by_value(self.making)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        making = state["making"]
        vars(self).update(state, making=None if making is None else pickle.loads(making))

    def blocks(self, items: Iterable[Any]) -> Iterator[Block]:
        """Blocks of the items of a partition, in order; one per group if there are groups."""
        start, before = 0, None
        for X, labels, target, weights, groups in self._rows(items):
            if before is not None and X.shape[1:] != before:
                raise ValueError(
                    f"Row {start} has {_in_words(X.shape[1:])} features, and the rows before it have "
                    f"{_in_words(before)}."
                )
            before = X.shape[1:]
            known = self._known(labels, target, start)
            if self.class_table is not None:
                own = known.weights(self.class_table)
                weights = own if weights is None else own * weights
            if weights is not None and np.all(weights == 1.0):
                weights = None
            whole = Block(slice(start, start + X.shape[0]), X, known, weights)
            start += X.shape[0]
            if self.groups is None:
                yield whole
            else:
                yield from self._by_group(whole, groups)

    def _rows(self, items: Iterable[Any]) -> Iterator[tuple[Any, Labels, Target, Any, Any]]:
        """What is read of the items; features are made of few rows at a time."""
        start = 0
        for item in items:
            X, labels, target, weights, groups = self.read(item, start)
            n = X.shape[0]
            if self.making is None:
                if len(X.shape) != 2 and not self.any_shape:
                    raise ValueError(f"X of shape {X.shape} at row {start}; expected (n, d).")
                yield X, labels, target, weights, groups
                start += n
                continue
            step = self.making.rows_at_a_time
            for rows in (slice(first, min(first + step, n)) for first in range(0, n, step)):
                made = self.making.make(X[rows], slice(start + rows.start, start + rows.stop))
                beside = (None if values is None else values[rows] for values in (weights, groups))
                yield made, labels[rows], target, *beside
            start += n

    @abstractmethod
    def read(self, item: Any, start: int) -> tuple[Any, Labels, Target, Any, Any]:
        """Features, labels, the classes among them, weights or None, and groups or None.

        Parameters
        ----------
        start : int
            Position of the item's first row in its partition.
        """

    def _known(self, labels: Labels, found: Target, start: int) -> Labels:
        """Codes among all classes, if those are known."""
        if self.target is None:
            return FoundLabels(labels.codes, labels.indptr, found)
        classes = self.target.classes
        if found.multilabel or self.target.multilabel:
            if found.multilabel != self.target.multilabel or len(found.classes) != len(classes):
                raise ValueError(
                    f"Rows from {start} have labels {found.classes.tolist()} (multilabel: "
                    f"{found.multilabel}), and the others {classes.tolist()} (multilabel: "
                    f"{self.target.multilabel})."
                )
            return labels
        try:
            positions, known = among(found.classes, classes)
        except ValueError as error:
            raise ValueError(f"{error} (labels from row {start}, and the classes)") from error
        strange = ~known
        if strange.any():
            if self.unknown is None:
                row = start + int(np.flatnonzero(strange[labels.codes])[0])
                raise ValueError(
                    f"y contains labels that are not in classes: "
                    f"{found.classes[strange].tolist()} (the first in row {row}) not in "
                    f"{classes.tolist()}."
                )
            positions[strange] = self.unknown
        return Labels(positions.astype(np.int32)[labels.codes])

    def _by_group(self, block: Block, said: NDArray[Any]) -> Iterator[Block]:
        assert self.groups is not None
        values = self.groups.values
        order = np.argsort(values, kind="stable")
        position = order[np.searchsorted(values, said, sorter=order).clip(max=len(values) - 1)]
        strange = np.flatnonzero(values[position] != said)
        if len(strange):
            raise ValueError(
                f"Row {block.position(strange[0])} is of the fold {said[strange[0]]!r}, which is none "
                f"of {values.tolist()}."
            )
        numbers = np.asarray(self.groups.table)[position]
        if len(numbers) and (numbers == numbers[0]).all():  # no need to gather
            if numbers[0] >= 0:
                yield replace(block, group=int(numbers[0]))
            return
        order = np.argsort(numbers, kind="stable")
        found, firsts = np.unique(numbers[order], return_index=True)
        for number, rows in zip(found.tolist(), np.split(order, firsts[1:]), strict=True):
            if number >= 0:
                yield part_of(block, rows, number)


@dataclass(frozen=True)
class BatchReader(Reader):
    """Reads Arrow record batches with these columns, in this order.

    Attributes
    ----------
    features : tuple of str
        One column of whole rows, or one per feature.
    label, weight : str, default=None
        Label and weight columns, if any.
    """

    features: tuple[str, ...] = ()
    label: str | None = None
    weight: str | None = None

    @property
    def names(self) -> tuple[str, ...] | None:
        """The columns, unless features are made of them."""
        return self.features if self.making is None else None

    def blocks(self, items: Iterable[Any]) -> Iterator[Block]:
        """Blocks of the batches that have rows."""
        return super().blocks(batch for batch in items if batch.num_rows)

    def read(self, item: Any, start: int) -> tuple[Any, Labels, Target, Any, Any]:
        """Views of the batch's memory, where its layout allows."""
        columns = iter(item.columns)
        X = read_features([next(columns) for _ in self.features], self.features, start)
        labels, target = Labels(np.zeros(len(item), np.int32)), Target(np.zeros(1), False)
        if self.label is not None:
            labels, target = read_labels(next(columns), self.label, start)
        weights = groups = None
        if self.weight is not None:
            weights = read_weights(next(columns), self.weight, start)
        if self.groups is not None:
            groups = read_groups(next(columns), "fold", start)
        return X, labels, target, weights, groups


@dataclass(frozen=True)
class BlockReader(Reader):
    """Reads ``(X, y)`` or ``(X, y, sample_weight)``: arrays or CSR matrices of some rows each.

    Attributes
    ----------
    n_folds : int, default=0
        Number of folds; a hash of each row's content gives its fold.
    """

    n_folds: int = 0

    def read(self, item: Any, start: int) -> tuple[Any, Labels, Target, Any, Any]:
        """The arrays themselves."""
        if not isinstance(item, tuple | list) or len(item) not in (2, 3):
            raise ValueError(
                "An RDD holds (X, y) or (X, y, sample_weight) with the arrays of some rows; got "
                f"{type(item).__name__} at row {start}."
            )
        sparse = sp.issparse(item[0])
        X = canonical(as_csr(item[0])) if sparse else np.asarray(item[0])
        labels, target = encode_labels(item[1])
        if len(labels) != X.shape[0]:
            raise ValueError(
                f"X has {X.shape[0]} rows and y has {len(labels)} labels, at row {start}."
            )
        weights = check_weights(item[2], X.shape[0]) if len(item) == 3 else None
        groups = _row_hashes(X) % np.uint64(self.n_folds) if self.groups is not None else None
        return X, labels, target, weights, groups


class PartitionSource:
    """Blocks of a partition, cut to the size that a reduction wants."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = blocks

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of at most ``n_rows`` rows."""
        for block in self._blocks:
            yield from cut(block, n_rows)


def by_value(value: Any) -> bytes:
    """A value as bytes, with the functions and classes of the user's own program or notebook."""
    from pyspark import cloudpickle

    packed: bytes = cloudpickle.dumps(value)  # type: ignore[no-untyped-call]
    return packed


def _in_words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _row_hashes(X: Any) -> NDArray[np.uint64]:
    """A hash of the content of each row."""
    import xxhash

    rows = X.toarray() if sp.issparse(X) else np.ascontiguousarray(X)
    return np.array([xxhash.xxh3_64_intdigest(row) for row in rows], dtype=np.uint64)
