"""Methods that fit, and methods that read a fit, whole: whatever other threads do meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sklearn.base import BaseEstimator

from parallel_ridge.backends import public_call

E = TypeVar("E", bound=BaseEstimator)
A = ParamSpec("A")
R = TypeVar("R")


def _twin(estimator: E) -> E:
    """A copy that shares all attributes, as they are at one moment.

    Fits replace an estimator's attributes all at once, and never change one in place.
    """
    twin = object.__new__(type(estimator))
    twin.__dict__ = dict(vars(estimator))
    return twin


def reads_whole(method: Callable[Concatenate[E, A], R]) -> Callable[Concatenate[E, A], R]:
    """A method that reads what a fit made: all from one fit, whatever other threads fit meanwhile."""

    @wraps(method)
    def read(self: E, /, *args: A.args, **kwargs: A.kwargs) -> R:
        return method(_twin(self), *args, **kwargs)

    return read


def fits_whole(method: Callable[Concatenate[E, A], E]) -> Callable[Concatenate[E, A], E]:
    """A method that fits, run on a twin whose attributes replace the estimator's at the end, all at once.

    If it raises, KeyboardInterrupt included, the estimator stays as it was; and of several threads that
    fit one estimator, the last one wins, whole.
    """

    @wraps(method)
    def fit(self: E, /, *args: A.args, **kwargs: A.kwargs) -> E:
        twin = _twin(self)
        with public_call(f"{type(self).__name__}.{method.__name__}"):
            method(twin, *args, **kwargs)
        # Options that were set meanwhile stay; what a fit makes has an underscore at either end.
        given = {name: value for name, value in vars(self).items() if name.strip("_") == name}
        self.__dict__ = vars(twin) | given
        return self

    return fit


def forget_fit(estimator: BaseEstimator) -> None:
    """Remove all fitted attributes."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)
    vars(estimator).pop("_declared_classes", None)
