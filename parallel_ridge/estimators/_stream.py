"""Streams: sums of batches that grow in place, and are solved when somebody asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _triangle
from parallel_ridge.reductions import Spare, check_range
from parallel_ridge.statistics import SufficientStatistics

C = TypeVar("C", bound=type)
# Attributes of a fit that a stream answers.
ANSWERS = (
    "classes_", "coef_", "intercept_", "n_iter_", "solver_", "statistics_", "_multilabel",
)  # fmt: skip
Solve = Callable[[SufficientStatistics], dict[str, Any]]


@dataclass(frozen=True)
class _Moment:
    """A stream after a batch.

    Attributes
    ----------
    total : SufficientStatistics
        Of all batches; the Gram matrix is that of all but the last as long as one is owed.
    owed : ndarray of shape (d, d), or None
        Gram matrix of the last batch; zeros once it is in the total's.
    solve : callable
        Fitted attributes from statistics, with the options of the last batch.
    """

    total: SufficientStatistics
    owed: NDArray[Any] | None
    solve: Solve


class Stream:
    """Statistics of batches that grow in place, and the fit to them, which waits until it is wanted.

    A batch counts as a whole or not at all, whatever interrupts it. `add` stores in one step the new
    small sums and the Gram matrix that is yet to be added to the old one; adding it leaves zeros, so it
    can be done again. Threads may share a stream: they wait for each other.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the first rows.
    solve : callable
        ``solve(statistics)``: fitted attributes by name.
    owned : bool, default=False
        Whether nobody else holds the statistics.

    Attributes
    ----------
    spare : Spare
        Memory for folds of batches.
    """

    def __init__(self, statistics: SufficientStatistics, solve: Solve, owned: bool = False) -> None:
        self._lock = threading.RLock()
        self._now = _Moment(statistics, None, solve)
        # The last Gram matrix that somebody may hold. The next batch goes to a copy.
        self._lent = None if owned else statistics.gram
        self._fit: tuple[_Moment | None, dict[str, Any]] = (None, {})
        self.spare = Spare()

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return Stream, (self.statistics(), self._now.solve)

    @property
    def total(self) -> SufficientStatistics:
        """The statistics so far; unlike those of `statistics`, their Gram matrix will change."""
        with self._lock:
            return self._settled().total

    def add(self, batch: SufficientStatistics, solve: Solve) -> None:
        """Add the statistics of a batch, which are consumed.

        Raises
        ------
        ValueError
            If the sums do not fit together, overflow or determine no fit; the stream stays as it was.
        """
        with self._lock:
            now = self._settled()
            with np.errstate(over="ignore", invalid="ignore"):
                total, owed = now.total.beside(batch)
                check_range(total.gram.diagonal() + owed.diagonal())
            check_solvable(total)
            # Sums of integers may meet others; arrays from other processes may be read-only.
            dtype = np.promote_types(total.gram.dtype, owed.dtype)
            owed = np.require(owed, dtype, ["C", "W"])
            gram = np.require(total.gram, dtype, ["C", "W"])
            if gram is self._lent:
                gram = gram.copy()
            # Whoever comes next adds what is owed: an interrupt must not meet a batch that counts.
            self._now = _Moment(replace(total, gram=gram), owed, solve)

    def statistics(self) -> SufficientStatistics:
        """The statistics so far, which never change."""
        with self._lock:
            total = self._settled().total
            self._lent = total.gram
            return total

    def answer(self, name: str) -> Any:
        """A fitted attribute, solved for if necessary."""
        if name == "statistics_":
            return self.statistics()
        return self.total.classes if name == "classes_" else self.solution()[name]

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
                self._fit = now, now.solve(now.total)
            return self._fit[1]

    def _settled(self) -> _Moment:
        """Add the Gram matrix that is owed; the lock is the caller's."""
        owed = self._now.owed
        if owed is not None:
            _triangle.pour(self._now.total.gram, owed)
            self._now = replace(self._now, owed=None)
            self.spare.keep_gram(owed)  # only now, because it is zero and owed by nobody
        return self._now


# Locks by the identity of an estimator; they live as long as a thread waits for one.
_starting: WeakValueDictionary[int, Any] = WeakValueDictionary()
_any_starting = threading.Lock()


def joining(estimator: Any) -> AbstractContextManager[Any]:
    """Held by a batch that may start the estimator's stream: batches of other threads then join it."""
    held = vars(estimator)
    if "_stream" in held and "statistics_" not in held:
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
    """Let a class of estimators have the fitted attributes that its stream, ``_stream``, answers."""
    for name in ANSWERS:
        setattr(cls, name, _Answer(name))
    return cls


def check_solvable(statistics: SufficientStatistics) -> None:
    """Raise if there is nothing to fit."""
    if statistics.n_classes < 2 and not statistics.multilabel:
        raise ValueError(
            f"The rows have one class only, {statistics.classes.tolist()}; a classifier needs at "
            "least 2 classes. In partial_fit, pass classes in the first call."
        )
    if not statistics.weight_sum > 0:
        raise ValueError("The statistics hold no rows with a positive weight.")
