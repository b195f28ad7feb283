"""Streams: sums of batches that grow in place, and are solved when somebody asks."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _triangle
from parallel_ridge.reductions import Earlier, Spare, check_range
from parallel_ridge.sources import union_of_labels
from parallel_ridge.statistics import SufficientStatistics

C = TypeVar("C", bound=type)
Folds = tuple[SufficientStatistics, ...]
Solve = Callable[[Folds], dict[str, Any]]


@dataclass(frozen=True)
class Seen:
    """What the next batch must know of the rows before it.

    Attributes
    ----------
    n_samples : int
    classes : ndarray of shape (k,)
    near : Earlier, or None
        None if sums are exact, which have no shift, or have no weight.
    shift_key : int
        Hash of the shifts.
    """

    n_samples: int
    classes: NDArray[Any]
    near: Earlier | None
    shift_key: int


@dataclass(frozen=True)
class _Moment:
    """A stream after a batch.

    Attributes
    ----------
    folds : tuple of SufficientStatistics
        Of all batches; Gram matrices are those of all but the last as long as some are owed.
    owed : tuple of ndarray of shape (d, d), or of None
        Gram matrix of each fold of the last batch; zeros once it is in the fold's. Empty if all are.
    solve : callable
        Fitted attributes from the statistics of the folds, with the options of the last batch.
    """

    folds: Folds
    owed: tuple[NDArray[Any] | None, ...]
    solve: Solve


class Stream:
    """Statistics of batches that grow in place, and the fit to them, which waits until it is wanted.

    The rows may be dealt to folds, which have statistics of their own. A batch counts as a whole or not
    at all, whatever interrupts it. `add` stores in one step the new small sums and the Gram matrices
    that are yet to be added to the old ones; adding one leaves zeros, so it can be done again. Threads
    may share a stream: they wait for each other.

    Parameters
    ----------
    folds : sequence of SufficientStatistics
        Of the first rows; a single fold if nothing is to be held out.
    solve : callable
        ``solve(folds)``: fitted attributes by name.
    owned : bool, default=False
        Whether nobody else holds the statistics.

    Attributes
    ----------
    spare : Spare
        Memory for folds of batches.
    """

    def __init__(
        self, folds: Sequence[SufficientStatistics], solve: Solve, owned: bool = False
    ) -> None:
        self._lock = threading.RLock()
        self._now = _Moment(tuple(folds), (), solve)
        # The last Gram matrices that somebody may hold. The next batch goes to copies.
        self._lent = [] if owned else [fold.gram for fold in folds]
        self._fit: tuple[_Moment | None, dict[str, Any]] = (None, {})
        self.spare = Spare()

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return Stream, (self.folds(), self._now.solve)

    @property
    def total(self) -> SufficientStatistics:
        """The statistics so far; unlike those of `statistics`, their Gram matrix may change."""
        with self._lock:
            return SufficientStatistics.sum(self._settled().folds)

    def seen(self) -> Seen:
        """What the next batch must know."""
        with self._lock:
            folds = self._settled().folds
            weighty = any(fold.weight_sum > 0.0 for fold in folds)
            floats = not all(fold.exact for fold in folds)
            return Seen(
                sum(fold.n_samples for fold in folds),
                classes_of(folds),
                Earlier.of(*folds) if floats and weighty else None,
                zlib.crc32(b"".join(fold.shift.tobytes() for fold in folds)),
            )

    def add(self, batch: Sequence[SufficientStatistics], solve: Solve) -> None:
        """Add the statistics of each fold of a batch, which are consumed.

        Raises
        ------
        ValueError
            If the sums do not fit together, overflow or determine no fit; the stream stays as it was.
        """
        with self._lock:
            now = self._settled()
            pairs = [self._beside(*pair) for pair in zip(now.folds, batch, strict=True)]
            folds, owed = (tuple(column) for column in zip(*pairs, strict=True))
            with np.errstate(over="ignore", invalid="ignore"):
                squares = [gram.diagonal() for gram in owed if gram is not None]
                check_range(sum(fold.gram.diagonal() for fold in folds) + sum(squares))
            check_solvable(folds)
            # Whoever comes next adds what is owed: an interrupt must not meet a batch that counts.
            self._now = _Moment(folds, owed, solve)

    def folds(self) -> Folds:
        """The statistics of the folds so far, which never change."""
        with self._lock:
            folds = self._settled().folds
            self._lent = [fold.gram for fold in folds]
            return folds

    def statistics(self) -> SufficientStatistics:
        """The statistics so far, which never change."""
        with self._lock:
            return self.total if len(self._now.folds) > 1 else self.folds()[0]

    def copy(self) -> Stream:
        """A stream that goes its own way from here."""
        with self._lock:
            return Stream(self.folds(), self._now.solve)

    def answer(self, name: str) -> Any:
        """A fitted attribute, solved for if necessary."""
        if name == "statistics_":
            return self.statistics()
        if name == "classes_":
            with self._lock:
                return classes_of(self._now.folds)
        return self.solution()[name]

    def answers(self) -> dict[str, Any]:
        """All fitted attributes, of one moment."""
        with self._lock:
            return {**self.solution(), "statistics_": self.statistics()}

    def solution(self) -> dict[str, Any]:
        """The fitted attributes but for the statistics, solved for once after a batch."""
        with self._lock:
            now = self._settled()
            if self._fit[0] is not now:
                self.spare.release()  # a solve needs as much
                self._fit = now, now.solve(now.folds)
            return self._fit[1]

    def _beside(
        self, fold: SufficientStatistics, batch: SufficientStatistics
    ) -> tuple[SufficientStatistics, NDArray[Any] | None]:
        """The sum of a fold and a batch but for the Gram matrix of the batch, which is owed."""
        if not batch.n_samples:
            return fold, None
        with np.errstate(over="ignore", invalid="ignore"):
            total, owed = fold.beside(batch)
        # Sums of integers may meet others; arrays from other processes may be read-only.
        dtype = np.promote_types(total.gram.dtype, owed.dtype)
        owed = np.require(owed, dtype, ["C", "W"])
        gram = np.require(total.gram, dtype, ["C", "W"])
        if any(gram is lent for lent in self._lent):
            gram = gram.copy()
        return replace(total, gram=gram), owed

    def _settled(self) -> _Moment:
        """Add the Gram matrices that are owed; the lock is the caller's."""
        now = self._now
        if now.owed:
            pairs = zip(now.folds, now.owed, strict=True)
            owed = [(fold.gram, gram) for fold, gram in pairs if gram is not None]
            for into, gram in owed:
                _triangle.pour(into, gram)
            self._now = replace(now, owed=())
            # Only now, because they are zero and owed by nobody.
            self.spare.keep_grams([gram for _, gram in owed])
        return self._now


# Locks by the identity of an estimator; they live as long as a thread waits for one.
_starting: WeakValueDictionary[int, Any] = WeakValueDictionary()
_any_starting = threading.Lock()


def joining(estimator: Any, in_turn: bool) -> AbstractContextManager[Any]:
    """Held by a batch that may start the estimator's stream: batches of other threads then join it.

    If batches must be added in turn, all of them hold it.
    """
    held = vars(estimator)
    if "_stream" in held and "statistics_" not in held and not in_turn:
        return nullcontext()
    with _any_starting:
        lock = _starting.get(id(estimator))
        if lock is None:
            lock = _starting[id(estimator)] = threading.RLock()
        return lock


class Reading:
    """A stream as one reader sees it: what it has once solved for stays, whatever is added meanwhile."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._found: dict[str, Any] = {}

    def answer(self, name: str) -> Any:
        """A fitted attribute."""
        return self._stream.statistics() if name == "statistics_" else self._solution()[name]

    def answers(self) -> dict[str, Any]:
        """All fitted attributes."""
        return {**self._solution(), "statistics_": self._stream.statistics()}

    def _solution(self) -> dict[str, Any]:
        # A cached_property would stand between a warning and the line that it names.
        self._found = self._found or self._stream.solution()
        return self._found


class _Answer:
    """A fitted attribute that a stream answers; one that the estimator holds itself comes first."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, estimator: Any, owner: type) -> Any:
        stream = None if estimator is None else vars(estimator).get("_stream")
        if stream is None:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self.name!r}")
        return stream.answer(self.name)


def answers_from_stream(cls: C) -> C:
    """Let a class of estimators have the fitted attributes that its stream, ``_stream``, answers.

    The class lists their names in ``_answers``.
    """
    for name in cls._answers:  # type: ignore[attr-defined]
        setattr(cls, name, _Answer(name))
    return cls


def classes_of(folds: Sequence[SufficientStatistics]) -> NDArray[Any]:
    """The classes of all folds; a fold without rows in a batch may not know the batch's."""
    return folds[0].classes if len(folds) == 1 else union_of_labels(*(f.classes for f in folds))


def check_solvable(folds: Sequence[SufficientStatistics]) -> None:
    """Raise if there is nothing to fit, or nothing to hold out."""
    classes = classes_of(folds)
    if len(classes) < 2 and not folds[0].multilabel:
        raise ValueError(
            f"The rows have one class only, {classes.tolist()}; a classifier needs at "
            "least 2 classes. In partial_fit, pass classes in the first call."
        )
    weighty = sum(fold.weight_sum > 0.0 for fold in folds)
    if not weighty:
        raise ValueError("The statistics hold no rows with a positive weight.")
    if weighty < min(2, len(folds)):
        raise ValueError(
            "All rows with a positive weight are in one fold, so none are left to train on: pass two "
            "rows, or rows of two groups, in the first batch."
        )
