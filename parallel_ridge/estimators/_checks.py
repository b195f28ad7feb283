"""Checks of options, rows and class weights."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import check_scalar, compute_class_weight
from sklearn.utils.validation import validate_data

from parallel_ridge.sources import FeatureRows, Source, Target, as_csr


def as_rows(X: Any) -> Any:
    """Sparse rows as CSR, all others as they are.

    Raises
    ------
    ValueError
        For arrays that do not hold rows of numbers (the message adds to scikit-learn's), and for
        damaged sparse matrices (see `check_sparse`).
    """
    if sp.issparse(X):
        return as_csr(X)
    if not isinstance(X, np.ndarray):
        return X
    if X.ndim > 2:
        raise ValueError(
            f"Found array with dim {X.ndim}, of shape {X.shape}, while dim <= 2 is required: "
            "flatten each sample into a row, X.reshape(len(X), -1)."
        )
    if X.dtype.kind in "SU" and X.size:
        raise ValueError(
            f"X must hold numbers, and holds strings: {X.flat[0].item()!r} in row 0, column 0. Convert "
            "it, as by X.astype(float) or an encoder."
        )
    return X


def check_features(estimator: Any, X: FeatureRows, reset: bool) -> None:
    """As `validate_data` checks arrays: note the number of features, or compare it."""
    validate_data(estimator, np.empty((0, X.shape[1])), reset=reset, skip_check_array=True)


def check_alpha(alpha: Any, name: str = "alpha") -> float:
    """A penalty as a float; errors are scikit-learn's.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is negative, NaN or infinite.
    """
    if isinstance(alpha, bool | np.bool_):
        raise TypeError(f"{name} must be an instance of float, not bool.")
    check_scalar(alpha, name, Real, min_val=0.0)
    if not np.isfinite(alpha):
        raise ValueError(f"{name} == {alpha}, must be finite.")
    return float(alpha)


def check_alphas(alphas: Any) -> list[float]:
    """Penalties as floats; errors name the position of a bad one."""
    values = [alphas] if np.ndim(alphas) == 0 else list(alphas)
    return [check_alpha(alpha, f"alphas[{i}]") for i, alpha in enumerate(values)]


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless an option is one of the known ones."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not known; choose one of {choices}.")


def check_flag(name: str, value: Any) -> None:
    """Raise unless an option is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False; got {value!r}.")


def is_empty(rows: Any) -> bool:
    shape = getattr(rows, "shape", None)
    return (shape[0] if shape else len(rows) if hasattr(rows, "__len__") else 1) == 0


def class_weights(class_weight: Any, target: Target, source: Source) -> NDArray[np.float64] | None:
    """Class weights for the rows of a source, in scikit-learn's sense.

    Returns
    -------
    ndarray of shape (k,), or (k, 2) for multilabel targets, or None
        See `Labels.weights`.

    Raises
    ------
    ValueError
        If they name a class that no row has, or are negative or not finite.
    """
    if class_weight is None:
        return None
    counts = source.class_counts(len(target.classes))
    if not target.multilabel:
        table = _weights_of(class_weight, target.classes, counts)
    else:
        given = [class_weight] * len(counts) if isinstance(class_weight, str) else class_weight
        if isinstance(given, dict) and len(counts) > 1:
            raise ValueError(
                "For multilabel targets, class_weight is a list of dict, one for each label; got one "
                "dict."
            )
        given = [given] if isinstance(given, dict) else given
        if len(given) != len(counts):
            raise ValueError(
                f"class_weight has {len(given)} elements, and there are {len(counts)} labels."
            )
        table = np.array(
            [
                _weights_of(weight, np.array([0, 1]), np.array([source.n_rows - count, count]))
                for weight, count in zip(given, counts, strict=True)
            ]
        )
    bad = np.argwhere(~(table >= 0.0) | np.isinf(table))
    if len(bad):
        label, value = target.classes[bad[0][0]], table[tuple(bad[0])]
        raise ValueError(
            f"class_weight must be finite and not negative; class {label!r} gets {value}."
        )
    return table


def _weights_of(
    class_weight: Any, classes: NDArray[Any], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A weight for each class; zero for those without rows."""
    present, table = counts > 0, np.zeros(len(classes))
    if isinstance(class_weight, str):
        table[present] = counts.sum() / (present.sum() * counts[present])
    else:
        found = classes[present]
        table[present] = compute_class_weight(class_weight, classes=found, y=found)
    return table
