"""The rows of one rank, with the facts of the rows of all ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.backends import Backend, Request, agree
from parallel_ridge.sources import (
    ArraySource,
    Block,
    Gather,
    Labels,
    Target,
    as_source,
    encode_labels,
    is_text,
    places,
    union_of_labels,
)
from parallel_ridge.streams import StreamSource, open_stream

T = TypeVar("T")


class ShardSource:
    """Rows of this process, with the facts of the rows of all processes.

    Parameters
    ----------
    local : ArraySource or StreamSource
        This process's rows, perhaps none.
    gather : callable
        The verb of the backend.
    rank : int
        This process's place among all.
    dtype : dtype
        Common dtype of all processes with rows.
    sparse : bool
    """

    collectable = True
    fold_sizes: Sequence[int] = ()

    def __init__(
        self,
        local: ArraySource | StreamSource,
        gather: Gather[Any],
        rank: int,
        dtype: np.dtype[Any],
        sparse: bool,
    ) -> None:
        self.local = local
        self.columns = local.columns
        self.gather = gather
        self.rank = rank
        self.n_features = local.n_features
        self.dtype = dtype
        self.sparse = sparse

    @cached_property
    def _parts(self) -> list[tuple[int, bool, float, int, tuple[float, float]]]:
        """Per process: number of rows, whether they are weighted, and facts about the weights."""
        local = self.local
        return self.gather(
            lambda: (
                local.n_rows,
                local.weighted,
                local.weight_sum(),
                local.positive_rows(),
                local.weight_range(),
            )
        )

    @property
    def n_rows(self) -> int:
        """Rows of all processes."""
        return sum(part[0] for part in self._parts)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return any(part[1] for part in self._parts)

    @property
    def local_rows(self) -> slice:
        """Where this process's rows stand among all: in order of the processes."""
        start = sum(part[0] for part in self._parts[: self.rank])
        return slice(start, start + self.local.n_rows)

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Blocks of this process's rows."""
        return self.local.blocks(n_rows)

    def sample(self, n_rows: int) -> Any:
        """At most ``n_rows`` rows: the same as one process with all rows would take."""
        step = max(1, -(-self.n_rows // n_rows))
        start = -self.local_rows.start % step
        parts = self.gather(lambda: self.local.every(step, start))
        parts = [part for part in parts if part.shape[0]] or parts[:1]
        return sp.vstack(parts, format="csr") if self.sparse else np.concatenate(parts)

    def weight_sum(self) -> float:
        """Sum of the rows' weights."""
        return sum(part[2] for part in self._parts)

    def positive_rows(self) -> int:
        """Rows with a positive weight."""
        return sum(part[3] for part in self._parts)

    def weight_range(self) -> tuple[float, float]:
        """The smallest positive weight and the largest; ones if there are none."""
        ranges = [part[4] for part in self._parts if part[3]] or [(1.0, 1.0)]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Rows of each class."""
        counts: NDArray[np.int64] = np.sum(
            self.gather(lambda: self.local.class_counts(n_classes)), axis=0
        )
        return counts

    def stored(self) -> int:
        """Number of values in the rows; for sparse rows, of stored values."""
        return sum(self.gather(self.local.stored))

    def reweighted(self, table: NDArray[np.float64] | None) -> ShardSource:
        """The rows with their weights times those of their classes."""
        return self if table is None else self._with(self.local.reweighted(table))

    def take(self, rows: NDArray[np.intp]) -> ShardSource:
        """Some of this process's rows, by position."""
        return self._with(self.local.take(rows))

    def grouped(self, group: Any, table: Sequence[int]) -> ShardSource:
        """The rows in groups."""
        return self._with(self.local.grouped(group, table))

    def with_others_weightless(self) -> ShardSource:
        """All rows once each, of which some were taken; those not taken have weight zero."""
        return self._with(self.local.with_others_weightless())

    def for_splitter(self, X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any, Any]:
        """What a splitter may look at, of this process's rows."""
        return self.local.for_splitter(X, y, groups)

    def with_rows(self, X: NDArray[Any]) -> ShardSource:
        """The same labels and weights, with other features of all rows."""
        local = self.local.with_rows(X[self.local_rows])
        return ShardSource(local, self.gather, self.rank, X.dtype, False)

    def _with(self, local: ArraySource | StreamSource) -> ShardSource:
        return ShardSource(local, self.gather, self.rank, self.dtype, self.sparse)


@dataclass(frozen=True)
class _Facts:
    """What a process tells the others about its rows."""

    n_rows: int
    n_features: int
    names: list[str] | None
    dtype: np.dtype[Any]
    sparse: bool
    target: Target | None
    options: dict[str, str]


def as_shard(backend: Backend, rank: int, request: Request) -> tuple[ShardSource, Target]:
    """Source of this process's rows, with all that the processes must agree on.

    Parameters
    ----------
    backend : Backend
    rank : int
        This process's place among all.
    request : Request

    Raises
    ------
    ValueError
        If processes disagree; the message shows what two of them have.
    """
    held: list[ArraySource | StreamSource] = []

    def read() -> _Facts:
        local: ArraySource | StreamSource
        target: Target | None = None
        names = None
        stream = open_stream(request.X, request.roles, backend.features)
        if stream is not None:
            names = None if stream.columns is None else list(stream.columns)
            # Statistics of ranks add up only about one shift, which they have yet to agree on.
            part = backend.own_part(stream)
            local = backend.look_at(part, request, options=None, whole=stream)
            target = local.facts.target if local.n_rows else None
            request.check_like(local)
        else:
            names = _names(request.X)
            local, target = read_arrays()
        held.append(local)
        return _Facts(
            local.n_rows,
            local.n_features,
            names,
            # Byte order is each process's own affair.
            local.dtype.newbyteorder("="),
            local.sparse,
            target,
            request.options(),
        )

    def read_arrays() -> tuple[ArraySource, Target | None]:
        rows, labels = request.validate(request.X, request.y, True)
        if rows.shape[0] == 0 and np.shape(labels)[:1] == (0,):
            return ArraySource(rows, Labels(np.empty(0, np.int32))), None
        return as_source(
            rows,
            labels,
            sample_weight=request.sample_weight,
            classes=request.classes,
            validate=_as_they_are,
        )

    facts = backend.gather(read)
    (local,) = held
    for name in facts[0].options:
        agree(name, [fact.options.get(name, "nothing") for fact in facts])
    agree("the number of features", [fact.n_features for fact in facts])
    agree("the names of the features", [fact.names for fact in facts])
    # Processes without rows have no say in either.
    ranks = [i for i, fact in enumerate(facts) if fact.n_rows] or [0]
    dtype = agree("the dtype of X", [facts[i].dtype for i in ranks], ranks)
    sparse = agree("whether X is sparse", [facts[i].sparse for i in ranks], ranks)
    target = _common_target(facts, request, local.n_features)
    mine = facts[rank].target
    if not local.n_rows:
        local = local.without_rows(target)
    elif mine is not None and not np.array_equal(mine.classes, target.classes):
        local = local.with_classes(places(mine.classes, target.classes), target)
    return ShardSource(local, backend.gather, rank, dtype, sparse), target


def _common_target(facts: Sequence[_Facts], request: Request, n_features: int) -> Target:
    """The classes of the rows of all processes."""
    ranks = [rank for rank, fact in enumerate(facts) if fact.target is not None]
    if not ranks:
        if request.classes is None:
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {n_features})) on every rank, so the "
                "classes are unknown: pass classes."
            )
        return encode_labels(np.empty(0), request.classes)[1]
    targets = [fact.target for fact in facts if fact.target is not None]
    if agree("whether y is multilabel", [t.multilabel for t in targets], ranks):
        agree("the number of labels", [len(t.classes) for t in targets], ranks)
        return targets[0]
    agree("whether labels are strings", [is_text(t.classes) for t in targets], ranks)
    return Target(union_of_labels(*(t.classes for t in targets)), multilabel=False)


def _as_they_are(X: Any, y: Any, empty: bool) -> tuple[Any, Any]:
    return X, y


def _names(X: Any) -> list[str] | None:
    columns = getattr(X, "columns", None)
    return None if columns is None else [str(name) for name in columns]
