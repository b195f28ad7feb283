"""The verbs of a backend, and the block loop that they share."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from itertools import chain, islice
from numbers import Real
from types import BuiltinFunctionType, FunctionType
from typing import Any, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from parallel_ridge.progress import rows_shown
from parallel_ridge.reductions import Reduction, StatisticsOptions, Value, complete
from parallel_ridge.sources import (
    ArraySource,
    Block,
    Source,
    Target,
    Validate,
    as_source,
    check_rows,
    plain,
)
from parallel_ridge.streams import (
    Roles,
    Stream,
    StreamSource,
    answer,
    count_right,
    open_stream,
    survey,
)
from parallel_ridge.threads import blas_threads

A = TypeVar("A")
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
V = TypeVar("V", bound=Value)


def described(value: Any) -> str:
    """A value in words that are the same wherever it is: those of 1, 1.0 and ``np.float64(1)`` are."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bool) or not isinstance(
        value, Real | dict | set | frozenset | list | tuple
    ):
        if isinstance(value, FunctionType | BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if hasattr(value, "get_params") and not isinstance(value, type):
            return f"{type(value).__qualname__}{described(value.get_params(deep=False))}"
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    if isinstance(value, Real):
        number: Any = value  # a float of a whole number is that number, exactly
        return str(int(number)) if number == number // 1 else repr(float(number))
    if isinstance(value, dict):
        pairs = sorted((described(key), described(one)) for key, one in value.items())
        return "{" + ", ".join(f"{key}: {one}" for key, one in pairs) + "}"
    parts = [described(one) for one in value]
    if isinstance(value, set | frozenset):
        parts.sort()
    return "[" + ", ".join(parts) + "]"


@dataclass(frozen=True)
class Request:
    """Rows as the user gave them, and what will be asked of them.

    Attributes
    ----------
    X, y, sample_weight : object
        Arrays, or what else a backend reads. Where X is a table, the others may be names of columns.
    classes : array-like, or None
        All labels there are; those of all rows when None.
    validate : callable
        ``validate(X, y, empty)``: both as arrays, after the estimator's checks; ``empty`` says whether
        this process may have no rows.
    options : callable
        ``options()``: a description of the estimator's options by name, for processes to compare.
    statistics : StatisticsOptions, or None
        How the statistics of all rows will be formed, if they will be, with the weights that the rows
        come with. A backend that must pass over the rows to know their facts may form them in that pass.
    cv, groups : object
        How a search will split the rows: see `Splits`.
    """

    X: Any
    y: Any = None
    sample_weight: Any = None
    classes: Any = None
    validate: Validate = check_rows
    options: Callable[[], dict[str, str]] = dict
    statistics: StatisticsOptions | None = None
    cv: Any = None
    groups: Any = None

    @property
    def roles(self) -> Roles:
        """What lies beside the features, for the streams that read it."""
        folds = self.cv if isinstance(self.cv, str) else None
        return Roles(self.y, self.sample_weight, self.groups, folds)

    def check_like(self, source: StreamSource) -> None:
        """The estimator's checks, on one row like those of a stream."""
        row: Any = np.zeros((1, source.n_features))
        if source.stream.features_named:
            import pyarrow as pa

            assert source.columns is not None
            row = pa.table({name: [0.0] for name in source.columns})
        target = source.facts.target
        y = target.classes[:1] if len(target.classes) else np.zeros(1)
        self.validate(row, y, False)


_call: ContextVar[str] = ContextVar("call", default="")


@contextmanager
def public_call(name: str) -> Iterator[None]:
    """Name the current public call, for processes to compare; an inner call is part of the outer."""
    token = None if _call.get() else _call.set(name)
    try:
        yield
    finally:
        if token is not None:
            _call.reset(token)


def named_call(function: Callable[P, T]) -> Callable[P, T]:
    """A function that is a public call."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with public_call(function.__qualname__):
            return function(*args, **kwargs)

    return call


def current_call() -> str:
    """Name of the public call in progress in this thread, or an empty string."""
    return _call.get()


@runtime_checkable
class Backend(Protocol):
    """Where passes over the rows run.

    `reduce` is data parallelism, `map` is model parallelism, and `gather` is how processes agree.
    `source` takes rows in; `predict` and `score` give answers out. A backend that one process drives
    and that reads arrays inherits all but `reduce`, `map` and `solve_threads`.

    Rows may live in several processes, each of which makes the same calls with its own rows. Then
    every call of a verb is collective: it gives all callers the same answer, or raises the same error
    in all of them. Whatever decides the next call must therefore come from the verbs, and not from a
    process's own rows.

    Rows that are no arrays come as streams (`parallel_ridge.streams`), which each process reads: see
    `own_part`.

    A backend holds configuration only, so that it can be copied and pickled. It looks up live objects
    (communicators, sessions, thread pools) when a verb is called.
    """

    features: str | Sequence[str] | None = None  # columns of a table

    def reduce(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Run `reduction` over every block of `source`.

        Parameters
        ----------
        reduction : Reduction
        source : Source

        Returns
        -------
        value
            The value of all rows, equal on every caller.
        """

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on independent items, spread over the workers; return results in order.

        Each item is processed exactly once, even a single one.
        """

    def gather(self, function: Callable[[], T]) -> list[T]:
        """Call `function` in every process that has rows of its own; return results in order of rank.

        Every caller gets the same list. If the function raises in any process, all raise that error.
        """
        return [function()]

    def can_read(self, X: Any) -> bool:
        """Whether this backend reads X, which another package made, and some backend is registered for.

        Asked when the user chose this backend and not that one. If the answer is False, a fit raises an
        error, and the other backend predicts. True here: the user knows best.

        Raises
        ------
        TypeError
            If X has to be converted first; the message says how.
        """
        return True

    def open(
        self, X: Any, roles: Roles | None, columns: Sequence[str] | None = None
    ) -> Stream | None:
        """Rows as the user gave them as a stream; None for arrays.

        Parameters
        ----------
        X : object
        roles : Roles, or None
            None if no labels are needed, as for predictions.
        columns : sequence of str, or None
            Columns of features; those of this backend when None.
        """
        return open_stream(X, roles, self.features if columns is None else columns)

    def source(self, request: Request) -> tuple[Source, Target]:
        """Turn rows as the user gave them into a source; return it and the classes of all rows."""
        stream = self.open(request.X, request.roles)
        if stream is not None:
            source = self.look_at(stream, request)
            request.check_like(source)
            return source, source.facts.target
        if isinstance(request.y, str):
            raise ValueError(
                f"y={request.y!r} would be the name of a column, and X is a {type(request.X).__name__}: "
                "pass an array of labels."
            )
        return as_source(
            request.X,
            request.y,
            sample_weight=request.sample_weight,
            classes=request.classes,
            validate=request.validate,
        )

    def prepared(self, request: Request) -> Request:
        """A request whose rows, labels and weights read as arrays of this process.

        For a backend of several processes, each of which leaves its own rows to this one.
        """
        return request

    def for_process(self, number: int) -> Backend:
        """The backend for one of several processes on a machine, which are numbered from 0."""
        return self

    def as_array(self, values: Any) -> Any:
        """Labels, weights, groups or answers of rows in this process as arrays."""
        return plain(values)

    def predict(self, model: Any, method: str, X: Any, column: str) -> Any:
        """Answers of a fitted estimator to rows.

        Parameters
        ----------
        model : estimator
            Whose ``_{method}`` answers to arrays.
        method : {"predict", "decision_function", "predict_proba", "predict_log_proba"}
        X : object
            Rows of a kind that this backend reads.
        column : str
            Name of the answers, where they become part of a table.

        Returns
        -------
        ndarray, or whatever holds the answers to rows of this kind
        """
        stream = self.stream_of(model, X, None)
        if stream is not None:
            return answer(model, method, stream)
        return self.predict_array(model, method, X)

    def predict_array(self, model: Any, method: str, X: Any) -> Any:
        """Answers of a fitted estimator to an array of this process."""
        return getattr(model, f"_{method}")(X)

    def score(self, model: Any, X: Any, y: Any, sample_weight: Any) -> float:
        """Accuracy of a fitted estimator on the rows of all processes; NaN if they have no weight."""

        def predict(X: Any) -> Any:
            return self.as_array(self.predict(model, "predict", X, "prediction"))

        def count() -> tuple[float, float]:
            stream = self.stream_of(model, X, Roles(y, sample_weight))
            if stream is not None:
                return count_right(model, stream)
            right: tuple[float, float] = model._count_right(
                X, self.as_array(y), self.as_array(sample_weight), predict
            )
            return right

        parts = self.gather(count)
        right, total = (sum(numbers) for numbers in zip(*parts, strict=True))
        return float(right / total) if total else float("nan")

    def solve_threads(self) -> int:
        """Threads that a solve in this process may use; asks no other process."""

    def own_part(self, stream: Stream) -> Stream:
        """The part of a stream that this process reads."""
        return stream

    def look_at(self, stream: Stream, request: Request, **options: Any) -> StreamSource:
        """The source of a stream, from a first look at its rows; `options` go to `survey`."""
        wanted = request.statistics if request.cv is None else None
        n_threads = self.solve_threads()
        with blas_threads(n_threads):
            return survey(
                stream,
                classes=request.classes,
                n_threads=n_threads,
                **{"options": wanted, **options},
            )

    def stream_of(self, model: Any, X: Any, roles: Roles | None) -> Stream | None:
        """Rows as a stream of the features of a fitted estimator, its own part; None for arrays."""
        names = self.features or getattr(model, "feature_columns_", None)
        # Columns of a frame that stays an array unless some of them have roles.
        frame = getattr(X, "columns", ()) if hasattr(X, "__array__") else ()
        frame = [name for name in frame if isinstance(name, str)]
        if names is None and not frame:
            names = getattr(model, "feature_names_in_", None)
        if frame and roles is None and names is not None and not set(names) <= set(frame):
            names = None
        stream = open_stream(
            X, roles, names if names is None or isinstance(names, str) else tuple(names)
        )
        return None if stream is None else self.own_part(stream)


def agree(name: str, values: Sequence[T], ranks: Sequence[int] | None = None) -> T:
    """The value that all processes have.

    Raises
    ------
    ValueError
        If two differ.
    """
    ranks = range(len(values)) if ranks is None else ranks
    for rank, value in zip(ranks, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"Ranks disagree on {name}: {values[0]} on rank {ranks[0]}, {value} on rank {rank}. "
                "All ranks of a fit need the same options and the same kind of rows."
            )
    return values[0]


def reduce_blocks(reduction: Reduction[A, V], source: Source, n_threads: int) -> Any:
    """Fold in this process, block by block; between two blocks Python hears signals.

    The bits of the value do not depend on the number of threads.
    """
    if isinstance(source, StreamSource):
        known = source.known(reduction)
        if known is not None:
            return known
    blocks = source.blocks(reduction.block_rows)
    # A stream that reads ahead stops at once, also after an error.
    with closing(cast(Any, blocks)) if hasattr(blocks, "close") else nullcontext():
        total = source.n_rows if isinstance(source, ArraySource | StreamSource) else None
        shown = rows_shown(blocks, lambda block: block.X.shape[0], total)
        return complete(reduction, _fold_blocks(reduction, shown, n_threads))


def _fold_blocks(reduction: Reduction[A, V], blocks: Iterator[Block], n_threads: int) -> Any:
    if reduction.shares_blocks:
        total = reduction.zero(n_threads)
        for block in blocks:
            reduction.add(total, block)
        return reduction.finish(total)

    def of_block(block: Block) -> V:
        total = reduction.zero(1)
        reduction.add(total, block)
        return reduction.finish(total)

    values = _in_threads(of_block, blocks, n_threads)
    value = next(values, None)
    if value is None:
        return reduction.finish(reduction.zero(1))
    for other in values:
        value = value + other
    return value


def _in_threads(function: Callable[[T], S], items: Iterable[T], n_threads: int) -> Iterator[S]:
    """Results in order, from few items at a time: blocks that were gathered take memory."""
    items = iter(items)
    first = list(islice(items, 2))
    if n_threads == 1 or len(first) < 2:
        yield from map(function, chain(first, items))
        return
    with ThreadPoolExecutor(n_threads) as workers:
        pending = deque(workers.submit(function, item) for item in first)
        try:
            for item in items:
                pending.append(workers.submit(function, item))
                if len(pending) > 2 * n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
