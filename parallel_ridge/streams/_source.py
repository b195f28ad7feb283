"""A stream as a source: its labels are in memory, its features are read in every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.reductions import StatisticsReduction
from parallel_ridge.sources import (
    ArraySource,
    Block,
    Elsewhere,
    Labels,
    RowFacts,
    Target,
    among,
    as_csr,
    canonical,
)
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.streams._base import Piece, Stream
from parallel_ridge.streams._blocks import Gathered, joined, part
from parallel_ridge.streams._tables import BATCH_BYTES

# Rows that wait for others of their group take at most this many bytes, unless a block of
# FEWEST_ROWS rows of each group takes more.
GATHERED_BYTES = 4 * BATCH_BYTES
FEWEST_ROWS = 64


def check_features(piece: Piece) -> Any:
    """Rows of a piece as the kernels read them.

    Raises
    ------
    ValueError
        If they are not a matrix of numbers; the message names their place.
    """
    X = piece.X
    if sp.issparse(X):
        return canonical(as_csr(X))
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(
            f"X has shape {X.shape} in {piece.place}: flatten each sample into a row, so that it is "
            "(n, d)."
        )
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X holds {X.dtype} in {piece.place}: it must hold numbers.")
    return X.astype(np.float32) if X.dtype == np.float16 else X


@dataclass(frozen=True)
class Facts:
    """What a first look at a stream has found.

    Attributes
    ----------
    labels : Labels
        Of all rows, in order; codes among the classes of ``target``.
    target : Target
    weights, groups, folds : ndarray of shape (n,), or None
    n_features : int
    dtype : dtype
    sparse : bool
        Whether any piece is sparse.
    sample : ndarray or CSR matrix
        Some rows.
    """

    labels: Labels
    target: Target
    weights: NDArray[np.float64] | None
    groups: NDArray[Any] | None
    folds: NDArray[Any] | None
    n_features: int
    dtype: np.dtype[Any]
    sparse: bool
    sample: Any


@dataclass(frozen=True)
class Built:
    """Statistics that the first look has formed, until somebody takes them."""

    statistics: list[SufficientStatistics] = field(default_factory=list)
    double: bool = False


@dataclass
class StreamSource(RowFacts):
    """Rows of a stream, of which only labels and weights are in memory.

    Attributes
    ----------
    stream : Stream
    facts : Facts
    class_table : ndarray, or None
        Weights of the classes: see `Labels.weights`.
    times : ndarray of shape (n,) of int, or None
        How often each row counts.
    number : ndarray of shape (n,) of int, or None
        Group of each row; rows of -1 are left out.
    scale : ndarray of shape (n,), or None
        Further factors of the weights.
    built : Built
    """

    stream: Stream
    facts: Facts
    class_table: NDArray[np.float64] | None = None
    times: NDArray[np.intp] | None = None
    number: NDArray[np.intp] | None = None
    scale: NDArray[np.float64] | None = None
    built: Built = field(default_factory=Built)

    fold_sizes: ClassVar[Sequence[int]] = ()

    @property
    def collectable(self) -> bool:
        """Whether the rows can be collected: not if this look at them was the only one."""
        return not self.stream.once

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the feature columns of a table."""
        return self.stream.columns

    @property
    def n_features(self) -> int:
        """Columns of the rows."""
        return self.facts.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype that holds the values of all pieces."""
        return self.facts.dtype

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR matrices."""
        return self.facts.sparse

    @property
    def n_rows(self) -> int:
        """Number of rows in use."""
        return len(self.facts.labels) if self._often is None else int(self._often.sum())

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        given = (self.facts.weights, self.class_table, self.scale)
        return any(some is not None for some in given)

    @property
    def local_rows(self) -> slice:
        """All rows."""
        return slice(0, self.n_rows)

    # ------------------------------------------------------------------------------------- passes

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of ``n_rows`` rows wherever pieces end, so that no sum depends on the pieces.

        Rows in groups come in blocks of one group each, and groups return.
        """
        row_bytes = max(1, self.n_features * self.dtype.itemsize)
        ordered = n_rows > 2**31  # all rows are wanted, and may be paired with labels by position
        if ordered:
            n_rows = max(1, GATHERED_BYTES // row_bytes)
        pieces = self.stream.pieces()
        with closing(pieces):  # type: ignore[type-var]
            if self._often is None:
                yield from self._windows(pieces, n_rows, ordered)
            else:
                n_groups = 1 if self.number is None else int(self.number.max(initial=0)) + 1
                most = max(FEWEST_ROWS, GATHERED_BYTES // (n_groups * row_bytes))
                yield from self._gathered(pieces, min(n_rows, most))

    def _windows(self, pieces: Iterator[Piece], size: int, ordered: bool) -> Iterator[Block]:
        """Consecutive rows, ``size`` at a time, without a copy where they lie in one piece."""
        held: list[Block] = []
        n_held = 0
        for piece in self._counted(pieces):
            block, done = self._block(piece, ordered), 0
            m = piece.stop - piece.start
            while m - done >= size - n_held:
                rows = slice(done, done + size - n_held)
                yield joined([*held, part(block, rows)])
                done, held, n_held = rows.stop, [], 0
            if done < m:
                held.append(part(block, slice(done, m)))
                n_held += m - done
        if held:
            yield joined(held)

    def _block(self, piece: Piece, ordered: bool = False) -> Block:
        """A piece with the dtype, the codes and the weights of the source."""
        X = check_features(piece)
        if X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {X.shape[1]} features in {piece.place}, and {self.n_features} before."
            )
        if self.sparse and isinstance(X, np.ndarray):
            X = as_csr(sp.csr_matrix(X))
        if X.dtype != self.dtype:
            X = X.astype(self.dtype)
        rows = slice(piece.start, piece.stop)
        labels = self._coded(piece)
        taken = self.number is not None or self.times is not None or self.scale is not None
        if ordered or taken:
            self._check_order(rows, labels)
        weights = piece.weights
        if self.class_table is not None:
            own = labels.weights(self.class_table)
            weights = own if weights is None else own * weights
        if self.scale is not None:
            weights = self.scale[rows] if weights is None else self.scale[rows] * weights
        return Block(rows, X, labels, weights)

    def _coded(self, piece: Piece) -> Labels:
        """The labels of a piece, as codes among all classes."""
        assert piece.labels is not None and piece.target is not None
        target = self.facts.target
        if target.multilabel or np.array_equal(piece.target.classes, target.classes):
            return piece.labels
        positions, known = among(piece.target.classes, target.classes)
        if not known.all():
            raise ValueError(
                f"Labels {piece.target.classes[~known].tolist()} in {piece.place} were not there in the "
                "first pass: X must not change during a fit."
            )
        return Labels(positions.astype(np.int32)[piece.labels.codes])

    def _check_order(self, rows: slice, labels: Labels) -> None:
        """Raise if rows come in another order than in the first pass: each would be another's row."""
        seen = self.facts.labels[rows]
        if len(seen) != len(labels) or not np.array_equal(seen.codes, labels.codes):
            raise ValueError(
                f"Rows {rows.start} to {rows.stop - 1} have other labels than in the first pass. Folds, "
                "and fits to fewer rows than features, go by the position of the rows, so each pass must "
                "give them in the same order: set shuffle=False (or order the query)."
            )

    def _gathered(self, pieces: Iterator[Piece], n_rows: int) -> Iterator[Block]:
        """Blocks of the rows in use, each of ``n_rows`` rows of one group; the last may be shorter."""
        often = self._often
        assert often is not None
        waiting: dict[int, Gathered] = {}
        for piece in self._counted(pieces):
            block = self._block(piece)
            rows = np.repeat(np.arange(piece.stop - piece.start), often[piece.start : piece.stop])
            if not len(rows):
                continue
            number = np.zeros(len(rows), np.intp)
            if self.number is not None:
                number = self.number[piece.start + rows]
                order = np.argsort(number, kind="stable")
                rows, number = rows[order], number[order]
            groups, firsts = np.unique(number, return_index=True)
            for group, some in zip(groups.tolist(), np.split(rows, firsts[1:]), strict=True):
                held = waiting.setdefault(group, Gathered(group, n_rows))
                while len(some):
                    taken, some = np.split(some, [n_rows - held.n_rows])
                    held.add(block, taken)
                    if held.n_rows == n_rows:
                        yield held.block()
                        held = waiting[group] = Gathered(group, n_rows)
        for group in sorted(waiting):
            if waiting[group].n_rows:
                yield waiting[group].block()

    def _counted(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces; raise at the end if there are not as many rows as in the first pass."""
        stop = 0
        for piece in pieces:
            stop = piece.stop
            yield piece
        if stop != len(self.facts.labels):
            raise ValueError(
                f"X has {stop} rows in this pass, and had {len(self.facts.labels)} in the first one: "
                "it must not change during a fit."
            )

    # -------------------------------------------------------------------------------------- facts

    @property
    def _often(self) -> NDArray[np.intp] | None:
        """How often each row is in use; None if each is once."""
        if self.number is None:
            return self.times
        used = (self.number >= 0).astype(np.intp)
        return used if self.times is None else used * self.times

    def _rows(self) -> NDArray[np.intp] | None:
        """Positions of the rows in use; None if all are."""
        often = self._often
        return None if often is None else np.repeat(np.arange(len(often)), often)

    def row_labels(self) -> Labels:
        """Labels of the rows in use."""
        rows = self._rows()
        return self.facts.labels if rows is None else self.facts.labels[rows]

    def row_weights(self) -> NDArray[np.float64] | None:
        """Weights of the rows in use."""
        weights = self.facts.weights
        if self.class_table is not None:
            own = self.facts.labels.weights(self.class_table)
            weights = own if weights is None else own * weights
        if self.scale is not None:
            weights = self.scale if weights is None else self.scale * weights
        rows = self._rows()
        return weights if rows is None or weights is None else weights[rows]

    def sample(self, n_rows: int) -> Any:
        """At most ``n_rows`` of the rows of the first look."""
        rows = self.facts.sample
        return rows[:: max(1, -(-rows.shape[0] // n_rows))]

    def every(self, step: int, start: int = 0) -> Any:
        """About as many rows of the first look as there are every ``step`` rows."""
        return self.sample(max(1, self.n_rows // step)) if self.n_rows else self.facts.sample[:0]

    def stored(self) -> int:
        """Number of values in the rows; for sparse rows, about as many as the first ones suggest."""
        values = self.n_rows * self.n_features
        sample = self.facts.sample
        if not sp.issparse(sample) or not sample.shape[0]:
            return values
        return int(values * sample.nnz / max(1, sample.shape[0] * sample.shape[1]))

    # -------------------------------------------------------------------------------- other sources

    def reweighted(self, table: NDArray[np.float64] | None) -> StreamSource:
        """The rows, each weight multiplied by its class weight."""
        if table is None:
            return self
        if self.class_table is not None:
            table = table * self.class_table
        return replace(self, class_table=table, built=Built())

    def take(self, rows: NDArray[np.intp]) -> StreamSource:
        """Rows selected by position; a row may be selected more than once."""
        times = np.bincount(rows, minlength=len(self.facts.labels))
        return replace(self, times=times, built=Built())

    def grouped(self, group: Any, table: Sequence[int]) -> StreamSource:
        """The rows in groups."""
        return replace(self, number=np.asarray(table, np.intp)[group], built=Built())

    def with_others_weightless(self) -> StreamSource:
        """All rows that `take` chose from, once each; rows not taken have weight zero."""
        often = self._often
        if often is None:
            return self
        scale = often.astype(np.float64)
        if self.scale is not None:
            scale *= self.scale
        return replace(self, times=None, number=None, scale=scale, built=Built())

    def for_splitter(self, X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any, Any]:
        """Labels, groups and folds that the first look has found; X stays where it is."""
        facts = self.facts
        y = facts.target.decode(facts.labels)
        return (
            Elsewhere((self.n_rows, self.n_features), "not in memory"),
            y,
            facts.groups,
            facts.folds,
        )

    def with_rows(self, X: NDArray[Any]) -> ArraySource:
        """The same labels and weights with features in memory."""
        return ArraySource(X, self.row_labels(), self.row_weights())

    def with_classes(self, positions: NDArray[np.int32], target: Target) -> StreamSource:
        """The same rows with more classes; ``positions`` are those of the classes so far."""
        labels = Labels(positions[self.facts.labels.codes])
        return replace(self, facts=replace(self.facts, labels=labels, target=target))

    def without_rows(self, target: Target) -> ArraySource:
        """No rows, for one of several processes; their labels are of the kind of the others'."""
        indptr = np.zeros(1, np.int64) if target.multilabel else None
        X = self.facts.sample[:0]
        return ArraySource(X.astype(self.dtype), Labels(np.empty(0, np.int32), indptr))

    def known(self, reduction: Any) -> SufficientStatistics | None:
        """Statistics that the first look has formed, if `reduction` would form the same; else None.

        They are handed over: the solve may use up their memory.
        """
        found = self.built.statistics
        if not found or not isinstance(reduction, StatisticsReduction):
            return None
        if self.dtype == np.float32 and not found[0].exact:
            double = reduction.work_dtype == np.float64
            if double and not self.built.double:
                return None
        return found.pop().select_classes(self.facts.target.classes)
