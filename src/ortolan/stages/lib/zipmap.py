"""Takes ZipMap from the outputs of a model: a device wants the tensor of probabilities, not a list of one map for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_ML = "ai.onnx.ml"
_LABELS = ("classlabels_int64s", "classlabels_strings")


def to_tensors(model: ModelProto) -> list[str]:
    """Every output that a ZipMap makes becomes the float32 tensor [rows, classes] that it read, under its own name.

    In place; the names of these outputs. A map that another node reads stays.
    """
    read = {name for node in graphs.nodes(model) for name in node.input}
    outputs = {info.name for info in model.graph.output} - read
    maps = [node for node in model.graph.node if (node.domain, node.op_type) == (_ML, "ZipMap") and node.output[0] in outputs]
    for node in maps:
        _replace(model, node)
    return [node.output[0] for node in maps]


def _replace(model: ModelProto, node: NodeProto) -> None:
    from onnx import TensorProto, helper

    index = next(i for i, info in enumerate(model.graph.output) if info.name == node.output[0])
    labels = next((list(helper.get_attribute_value(a)) for a in node.attribute if a.name in _LABELS), [])
    info = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [None, len(labels) or None])
    model.graph.output[index].CopyFrom(info)
    model.graph.node.remove(node)
    if node.input[0] in {value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)}:
        model.graph.node.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
        return
    for other in graphs.nodes(model):
        for names in (other.input, other.output):
            names[:] = [node.output[0] if name == node.input[0] else name for name in names]
