"""Mends what TensorRT's parser takes and its builder refuses, where the numbers stay the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import signature, trt_qdq

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_BROADCAST = frozenset({"Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum"})


def scalars(model: ModelProto) -> list[str]:
    """The quantised constants without axes, in the main graph, sorted.

    Measured with TensorRT-RTX 1.7.1: beside such a constant its builder fails ("Quantized constant is only allowed before DQ"),
    which it does not for the same constant of shape [1].
    """
    read = {node.input[0] for node in model.graph.node if node.op_type == trt_qdq.DQ}
    return sorted(tensor.name for tensor in _flat(model) if tensor.name in read)


def give_axes(model: ModelProto) -> list[str]:
    """Give quantised constants without axes the shape [1], where that changes no result; their names.

    That is where each reader is a DequantizeLinear, whose readers compute element by element and have results with axes.
    """
    names = scalars(model)
    if not names:
        return []
    known = signature.shapes(model)
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    ends = {value.name for value in model.graph.output}

    def spreads(node: NodeProto) -> bool:
        return node.op_type in _BROADCAST and not node.domain and bool(known.get(node.output[0]))

    def safe(name: str) -> bool:
        made = [node.output[0] for node in users[name] if node.op_type == trt_qdq.DQ and node.input[0] == name]
        readers = [user for output in made for user in users.get(output, [])]
        return len(made) == len(users[name]) and not ends & set(made) and all(map(spreads, readers))

    mended = [name for name in names if safe(name)]
    for tensor in _flat(model):
        if tensor.name in mended:
            tensor.dims.append(1)
    _forget_shapes(model, {node.output[0] for name in mended for node in users[name]})
    return mended


def _flat(model: ModelProto) -> list[TensorProto]:
    from onnx import TensorProto

    return [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8 and not tensor.dims]


def _forget_shapes(model: ModelProto, names: set[str]) -> None:
    for info in model.graph.value_info:
        if info.name in names:
            info.type.tensor_type.ClearField("shape")
