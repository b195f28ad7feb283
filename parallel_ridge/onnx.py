"""Fitted models as ONNX graphs: importing this module tells skl2onnx how to convert them.

>>> import parallel_ridge.onnx  # doctest: +SKIP
>>> from skl2onnx import to_onnx  # doctest: +SKIP
>>> graph = to_onnx(model, X[:1].astype(np.float32))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from skl2onnx.proto import onnx_proto

from parallel_ridge.estimators import ParallelRidgeClassifier, ParallelRidgeClassifierCV

__all__ = ["register"]

PROTO = onnx_proto.TensorProto
OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "raw_scores": [True, False]}


def register() -> None:
    """Register the converters with skl2onnx; done when this module is imported.

    A graph has the outputs of skl2onnx's classifiers. ``label`` is what ``predict`` gives.
    ``probabilities`` is what ``predict_proba`` gives, where the model has it; otherwise, and with the
    option ``raw_scores``, they are decision values: of two classes ``-v`` and ``v``. Graphs of float64
    input multiply in float64, others in float32.
    """
    for model in (ParallelRidgeClassifier, ParallelRidgeClassifierCV):
        update_registered_converter(model, model.__name__, _infer_shapes, _convert, options=OPTIONS)


def _infer_shapes(operator: Any) -> None:
    """Types and shapes of the outputs of a model."""
    model = operator.raw_operator
    n_rows, k = operator.inputs[0].get_first_dimension(), len(model.classes_)
    shape = [n_rows, k] if model._multilabel else [n_rows]
    text = _labels(model).dtype.kind == "O"
    operator.outputs[0].type = StringTensorType(shape) if text else Int64TensorType(shape)
    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    operator.outputs[1].type = (DoubleTensorType if double else FloatTensorType)([n_rows, k])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Nodes of a model."""
    model = operator.raw_operator
    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    graph = _Graph(scope, container, np.dtype(np.float64 if double else np.float32))
    X = operator.inputs[0].full_name
    if not isinstance(operator.inputs[0].type, DoubleTensorType | FloatTensorType):
        X = graph.node("Cast", X, to=graph.proto)
    coefs = np.atleast_2d(np.asarray(model.coef_))
    intercepts = np.broadcast_to(np.asarray(model.intercept_), len(coefs))
    values = graph.node("MatMul", X, graph.constant(coefs.T))
    values = graph.node("Add", values, graph.constant(intercepts[None]))
    zero = graph.constant(np.zeros(1))
    labels, answers = (output.full_name for output in operator.outputs)
    if model._multilabel:
        positive = graph.node("Greater", values, zero)
        graph.node("Cast", positive, to=PROTO.INT64, output=labels)
    else:
        if len(coefs) == 1:
            values = graph.node("Concat", graph.node("Neg", values), values, axis=1)
        best = graph.node("ArgMax", values, axis=1, keepdims=0)
        graph.node("Gather", graph.constant(_labels(model)), best, output=labels)
    scale = getattr(model, "probability_scale_", None)
    if scale is None or container.get_options(model, {"raw_scores": False})["raw_scores"]:
        graph.node("Identity", values, output=answers)
        return
    one_by_one = model._multilabel
    scaled = graph.node("Mul", values, graph.constant(np.full(1, (1.0 + one_by_one) * scale)))
    if one_by_one:
        graph.node("Sigmoid", scaled, output=answers)
    else:
        graph.node("Softmax", scaled, axis=1, output=answers)


class _Graph:
    """Adds nodes whose outputs get names of their own.

    Parameters
    ----------
    scope, container : object
        Of skl2onnx.
    dtype : dtype
        Of floating-point numbers.
    """

    def __init__(self, scope: Any, container: Any, dtype: np.dtype[Any]) -> None:
        self.scope = scope
        self.container = container
        self.dtype = dtype
        self.proto = PROTO.DOUBLE if dtype == np.float64 else PROTO.FLOAT

    def constant(self, values: NDArray[Any]) -> str:
        """Name of an array: of text, integers, or numbers of the graph's dtype."""
        name: str = self.scope.get_unique_variable_name("constant")
        kind, flat = self.proto, values.ravel().tolist()
        if values.dtype.kind == "O":
            kind, flat = PROTO.STRING, [text.encode() for text in flat]
        elif values.dtype.kind == "i":
            kind = PROTO.INT64
        self.container.add_initializer(name, kind, list(values.shape), flat)
        return name

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name: str = self.scope.get_unique_variable_name(kind) if output is None else output
        self.container.add_node(
            kind,
            list(inputs),
            [name],
            name=self.scope.get_unique_operator_name(kind),
            op_version=13,
            **attributes,
        )
        return name


def _labels(model: Any) -> NDArray[Any]:
    """The classes as ONNX has them: int64, or str objects.

    Raises
    ------
    ValueError
        If they are neither whole numbers nor text.
    """
    classes = np.asarray(model.classes_)
    if classes.dtype.kind in "biu":
        return classes.astype(np.int64)
    if classes.dtype.kind == "f" and np.array_equal(classes, np.rint(classes)):
        return classes.astype(np.int64)
    if classes.dtype.kind == "U" or all(isinstance(label, str) for label in classes):
        return np.array([str(label) for label in classes], dtype=object)
    raise ValueError(
        f"Labels of ONNX are integers or text; the model's classes are {classes.tolist()}. Fit to labels "
        "that are."
    )


register()
