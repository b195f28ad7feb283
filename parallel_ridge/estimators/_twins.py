"""Methods that fit, or read a fit, as a whole, whatever other threads do meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sklearn.base import BaseEstimator

from parallel_ridge.backends import public_call
from parallel_ridge.estimators._stream import Reading, Stream, joining
from parallel_ridge.progress import showing

E = TypeVar("E", bound=BaseEstimator)
A = ParamSpec("A")
R = TypeVar("R")


def _twin(estimator: E) -> E:
    """A copy that shares all attributes of one moment.

    A fit replaces all attributes of an estimator at once, and changes none in place but its stream,
    which a twin shares.
    """
    twin = object.__new__(type(estimator))
    twin.__dict__ = dict(vars(estimator))
    return twin


def reads_whole(method: Callable[Concatenate[E, A], R]) -> Callable[Concatenate[E, A], R]:
    """Make a method read the attributes of one fit only, whatever other threads fit meanwhile."""

    @wraps(method)
    def read(self: E, /, *args: A.args, **kwargs: A.kwargs) -> R:
        twin = _twin(self)
        if isinstance(stream := vars(twin).get("_stream"), Stream):
            twin._stream = Reading(stream)
        with showing(bool(twin.verbose)):
            return method(twin, *args, **kwargs)

    return read


def fits_whole(method: Callable[Concatenate[E, A], E]) -> Callable[Concatenate[E, A], E]:
    """Make a method fit a twin, whose attributes replace the estimator's at the end, all at once.

    If it raises, KeyboardInterrupt included, the estimator stays as it was. If several threads fit one
    estimator, the last fit wins as a whole.
    """

    @wraps(method)
    def fit(self: E, /, *args: A.args, **kwargs: A.kwargs) -> E:
        twin = _twin(self)
        call = f"{type(self).__name__}.{method.__name__}"
        with public_call(call), showing(bool(twin.verbose)):
            method(twin, *args, **kwargs)
        # Options that were set meanwhile stay; what a fit makes has an underscore at either end.
        given = {name: value for name, value in vars(self).items() if name.strip("_") == name}
        self.__dict__ = vars(twin) | given
        return self

    return fit


def adds_whole(method: Callable[Concatenate[E, A], E]) -> Callable[Concatenate[E, A], E]:
    """Make a method add to a fit as `fits_whole` does; what several threads add counts, all of it.

    The estimator says in ``_adds_in_turn()`` whether batches must wait for each other.
    """
    add_whole = fits_whole(method)

    @wraps(method)
    def add(self: E, /, *args: A.args, **kwargs: A.kwargs) -> E:
        with joining(self, self._adds_in_turn()):
            return add_whole(self, *args, **kwargs)

    return add


def forget_fit(estimator: BaseEstimator) -> None:
    """Remove all fitted attributes."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)
    for name in ("_declared_classes", "_stream", "_dealer", "_prequential"):
        vars(estimator).pop(name, None)


def forget_answers(estimator: BaseEstimator) -> None:
    """Remove the fitted attributes that a stream answers."""
    for name in estimator._answers:
        vars(estimator).pop(name, None)
