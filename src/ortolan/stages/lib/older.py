"""Says in older operators what a model says in newer ones, where onnx's converter does not do so by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import down_convert, graphs, signature
from .refused import Refused

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_SOFTMAX = ("Softmax", "LogSoftmax", "Hardmax")
_SOFTMAX_CHANGED = 13


def rewrite(model: ModelProto, target: int) -> ModelProto:
    """A copy ready for conversion down to ``target``. Raises ``Refused`` for a softmax that older opsets cannot express."""
    source = down_convert.opset(model)
    model = _expand_functions(model, source, target)
    for graph in graphs.graphs(model.graph):
        constants = _constants(graph)
        for node in graph.node:
            if not node.domain:
                _drop_idle(node, constants)
    if target < _SOFTMAX_CHANGED <= source:
        _flatten_softmax(model, target)
    return model


def _expand_functions(model: ModelProto, source: int, target: int) -> ModelProto:
    """Replace operators that came after ``target`` and are defined by others (Gelu, LayerNormalization) by their definition."""
    from onnx import defs, inliner

    copy = type(model)()
    copy.CopyFrom(model)
    names = {node.op_type for node in graphs.nodes(copy) if not node.domain and defs.has(node.op_type)}
    newer = [name for name in sorted(names) if not _exists(name, target)]
    schemas: dict[str, Any] = {name: defs.get_schema(name, source) for name in newer}
    defined = [name for name, schema in schemas.items() if schema.has_function or schema.has_context_dependent_function]
    if not defined:
        return copy
    return inliner.inline_selected_functions(copy, [("", name) for name in defined], inline_schema_functions=True)


def _exists(name: str, version: int) -> bool:
    from onnx import defs

    try:
        defs.get_schema(name, version)
    except defs.SchemaError:
        return False
    return True


def _constants(graph: GraphProto) -> set[str]:
    made = {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    return made | {tensor.name for tensor in graph.initializer if any(tensor.dims)}


def _drop_idle(node: NodeProto, constants: set[str]) -> None:
    """Remove attributes that say nothing: dilations of 1, and what to do with empty axes where axes are given."""
    for item in list(node.attribute):
        ones = node.op_type == "AveragePool" and item.name == "dilations" and set(item.ints) == {1}
        given = item.name == "noop_with_empty_axes" and len(node.input) > 1 and node.input[1] in constants
        if ones or given:
            node.attribute.remove(item)


def _flatten_softmax(model: ModelProto, target: int) -> None:
    """Before opset 13 softmax runs over all axes from ``axis`` on: the same for the last alone, which the converter overlooks."""
    from onnx import helper

    ranks = {name: len(shape) for name, shape in signature.shapes(model).items() if shape is not None}
    for node in graphs.nodes(model):
        if node.domain or node.op_type not in _SOFTMAX:
            continue
        given = next((item for item in node.attribute if item.name == "axis"), None)
        axis, rank = given.i if given else -1, ranks.get(node.input[0])
        if rank is None or axis % rank != rank - 1:
            raise Refused(
                f"the model cannot be converted to opset {target}: operator {node.op_type} stands in the way",
                why=f"node {graphs.label(node)} works on axis {axis} of {rank or 'an unknown number of'} axes; before opset 13 "
                "it can only do so on the last",
                hint="set opset = 13 or more in the target's [runtime]",
            )
        (given or node.attribute.add()).CopyFrom(helper.make_attribute("axis", rank - 1))
