"""Lets a tool of onnx work on a model without its weights, which it would only copy, four times over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import external

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_LARGE = 2**16  # bytes; what shape inference and the version converter read (axes, shapes, scales, pads) is far smaller
_TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def without_weights(tool: Callable[[ModelProto], ModelProto], model: ModelProto) -> ModelProto:
    """What ``tool`` makes of ``model``, whose large initializers stand aside meanwhile; ``model`` stays as it is.

    The tools hand a model to C++ and back as bytes: shape inference of ResNet-18 takes 0.24 s with its 47 MB of weights and
    0.04 s so, most of that for setting them aside. A tool that gives a weight another name gets the whole model once more.
    """
    weights = {tensor.name: tensor.raw_data for tensor in model.graph.initializer if _is_weight(tensor)}
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = b""
    try:
        made = tool(model)
    finally:
        _put_back(model, weights)
    _put_back(made, weights)
    return tool(model) if weights and any(_hollow(tensor) for tensor in external.tensors(made)) else made


def _is_weight(tensor: TensorProto) -> bool:
    """Large, and no index or size: shape inference may follow those."""
    return tensor.data_type not in {tensor.INT32, tensor.INT64} and len(tensor.raw_data) >= _LARGE


def _put_back(model: ModelProto, weights: dict[str, bytes]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = weights[tensor.name]


def _hollow(tensor: TensorProto) -> bool:
    """Whether a tensor should hold values and holds none."""
    typed = any(len(getattr(tensor, field)) for field in _TYPED)
    return not typed and not tensor.raw_data and not tensor.external_data and math.prod(tensor.dims) > 0
