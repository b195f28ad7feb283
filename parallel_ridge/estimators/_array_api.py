"""Arrays of other libraries, where scikit-learn's array API dispatch is on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator

from parallel_ridge.backends import reader_of

E = TypeVar("E", bound=BaseEstimator)
A = ParamSpec("A")


class Namespace(NamedTuple):
    """The library of an array, and where the array is.

    Attributes
    ----------
    xp : module
        With the functions of the array API standard.
    device : object
    """

    xp: Any
    device: Any

    def array(self, values: Any) -> Any:
        """Numbers in an array of NumPy as an array of the library; anything else as it is."""
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
            return values
        return self.xp.asarray(values, device=self.device)


def namespace_of(X: Any) -> Namespace | None:
    """The library of an array; None for NumPy's, for what is no array, and where dispatch is off."""
    foreign = not isinstance(X, np.ndarray) and hasattr(X, "__dlpack__")
    if not foreign or not get_config()["array_api_dispatch"]:
        return None
    # No public function finds it.
    from sklearn.utils._array_api import _is_numpy_namespace, get_namespace_and_device

    xp, known, device = get_namespace_and_device(X)
    return Namespace(xp, device) if known and not _is_numpy_namespace(xp) else None


def in_numpy(estimator: E) -> E:
    """Make the fitted arrays of an estimator NumPy's, in place."""
    for name, value in list(vars(estimator).items()):
        if (
            name.endswith("_")
            and hasattr(value, "__dlpack__")
            and not isinstance(value, np.ndarray)
        ):
            with config_context(array_api_dispatch=True):
                setattr(estimator, name, _as_numpy(value))
    return estimator


def fits_in_namespace(method: Callable[Concatenate[E, A], E]) -> Callable[Concatenate[E, A], E]:
    """Make the arrays that a fit makes arrays of the library of X, on its device.

    So scikit-learn wants it where its ``array_api_dispatch`` is on.
    """

    @wraps(method)
    def fit(self: E, /, *args: Any, **kwargs: Any) -> E:
        X = args[0] if args else kwargs.get("X")
        convert = converter(self, X)
        method(self, *map(convert, args), **{name: convert(v) for name, v in kwargs.items()})
        namespace = namespace_of(X)
        if namespace is not None:
            for name, value in list(vars(self).items()):
                if name.endswith("_"):
                    setattr(self, name, namespace.array(value))
        return self

    return fit


def converter(estimator: Any, X: Any) -> Callable[[Any], Any]:
    """What makes X, and what lies beside it, arrays that the estimator's backend reads."""
    reader, backend = reader_of(X), estimator.backend
    kept = reader is not None and (backend in ("auto", reader) or not isinstance(backend, str))
    return lambda value: value if kept and reader_of(value) is not None else _as_numpy(value)


def check_namespace(estimator: Any, method: str, X: Any) -> None:
    """Raise unless X is of the library, and on the device, that the fit was.

    Only where dispatch is on, as estimators of scikit-learn do.
    """
    if not get_config()["array_api_dispatch"]:
        return
    fitted, given = (namespace_of(values) for values in (estimator.coef_, X))
    if fitted != given:
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and the "
            f"same device as those passed to fit(): {_in_words(fitted)} in fit, {_in_words(given)} now."
        )


def _in_words(namespace: Namespace | None) -> str:
    if namespace is None:
        return "numpy"
    return f"{namespace.xp.__name__} on {namespace.device}"


def _as_numpy(values: Any) -> Any:
    """An array of another library as NumPy's; anything else as it is."""
    namespace = namespace_of(values)
    if namespace is None:
        return values
    from sklearn.utils._array_api import _convert_to_numpy

    return _convert_to_numpy(values, namespace.xp)
