"""Predictions for rows in tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from parallel_ridge.model_selection import log_probabilities, probabilities
from parallel_ridge.reductions import raise_not_finite
from parallel_ridge.sources import Block, Labels
from parallel_ridge.torch._decisions import LinearValues, classes_of
from parallel_ridge.torch._device import from_numpy, has_float64, import_torch
from parallel_ridge.torch._rows import TensorRows, numpy_of


def answer(model: Any, method: str, X: Any, device: Any = None, block_bytes: int = 0) -> Any:
    """Answers of a fitted estimator to the rows of a tensor, in a tensor on the same device.

    Parameters
    ----------
    model : estimator
    method : {"predict", "decision_function", "predict_proba", "predict_log_proba"}
    X : torch.Tensor
    device : torch.device, default=None
        Where to multiply; the estimator does on the CPU if None.
    block_bytes : int
        Memory for decision values and what is formed of them.

    Returns
    -------
    torch.Tensor, or ndarray for labels that no tensor holds
    """
    if device is None or not has_float64(device):
        return _as_answer(getattr(model, f"_{method}")(numpy_of(X)), X.device)
    model._check_rows(TensorRows(X).stand_in())
    values = _values(model, X, device, block_bytes)
    if method == "decision_function":
        found = values[:, 0] if model.coef_.ndim == 1 else values
        return found.to(X.device)
    if method == "predict":
        if model._multilabel:
            return (values > 0).long().to(X.device)
        codes, classes = classes_of(values[:, None])[:, 0], model.classes_
        if classes.dtype.kind not in "biuf":
            return classes[numpy_of(codes)]
        return from_numpy(classes).to(codes.device)[codes].to(X.device)
    function = probabilities if method == "predict_proba" else log_probabilities
    found = function(numpy_of(values), model.probability_scale_, model._multilabel)
    return _as_answer(found, X.device)


def _values(model: Any, X: Any, device: Any, block_bytes: int) -> Any:
    """Decision values, shape (n, v), on the device."""
    torch = import_torch()
    linear = model._linear()
    values_of = LinearValues(linear.coefs, linear.intercepts, device)
    step = max(1, block_bytes // (8 * (X.shape[1] + 2 * len(linear.intercepts))))
    parts = [values_of(rows.to(device)) for rows in X.split(step)]
    values = parts[0] if len(parts) == 1 else torch.cat(parts)
    if not bool(torch.isfinite(values).all()):
        for start in range(0, len(X), step):
            if not bool(torch.isfinite(values[start : start + step]).all()):
                rows = numpy_of(X[start : start + step])
                labels = Labels(np.empty(0, np.int32))
                raise_not_finite(Block(slice(start, start + len(rows)), rows, labels, None))
    return values


def _as_answer(answers: Any, device: Any) -> Any:
    """An array as a tensor, unless no tensor holds its values."""
    if answers.dtype.kind not in "biuf":
        return answers
    if answers.dtype == np.float64 and not has_float64(device):
        answers = answers.astype(np.float32)
    return from_numpy(answers).to(device)
