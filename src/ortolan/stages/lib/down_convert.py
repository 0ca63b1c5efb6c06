"""Brings an ONNX model to an older opset with onnx's own converter, and never believes it: the checker decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import checked, graphs
from .refused import Refused
from .signature import shape
from .transient import reraise_if_transient
from .weightless import without_weights

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_DEFAULT = {"", "ai.onnx"}
_HIDDEN = "ortolan.hidden"
_ALIKE, _ALIKE_SINCE = ("Split", "Pad"), 13
"""Operators that onnx 1.23.2 cannot bring below 18, and the opset since which they mean the same, apart from what was added.

Split-18 added ``num_outputs`` and Pad-18 ``axes``, which the checker refuses in older opsets; Pad-19 added the mode ``wrap``,
which it passes (https://onnx.ai/onnx/operators/).
"""


def opset(model: ModelProto) -> int:
    """The version of the default operator set."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in _DEFAULT)


def convert(model: ModelProto, target: int) -> tuple[ModelProto, str]:
    """The model at opset ``target`` and how it got there: ``direct``, ``converted`` or ``converted after repair``.

    Raises Refused when neither attempt gives a model of that opset that the ONNX checker accepts.
    """
    if opset(model) == target:
        problem = _problem(model, target)
        if problem:
            raise Refused(
                f"the model is not valid at opset {target}", why=problem, hint="export it otherwise, or at another opset"
            )
        return model, "direct"
    plain, first = _attempt(model, target)
    if plain is not None:
        return plain, "converted"
    repaired, second = _attempt(_repair(model, target), target)
    if repaired is not None:
        return repaired, "converted after repair"
    why = second if first == second else f"{second} (without repair: {first})"
    what = f"the model cannot be converted from opset {opset(model)} to opset {target}"
    raise Refused(what, why=why, hint=f"export it with opset {target}, or use opset {opset(model)} where the runtimes take it")


def _attempt(model: ModelProto, target: int) -> tuple[ModelProto | None, str]:
    from onnx import version_converter

    try:
        converted = without_weights(lambda whole: version_converter.convert_version(whole, target), _hidden(model, target))
    except (RuntimeError, ValueError, IndexError, version_converter.ConvertError) as error:
        reraise_if_transient(error)
        text = " ".join(str(error).split())
        return None, re.sub(r"^.*?Assertion `.*?` failed: ", "", text).replace("$", "")[:300]
    problem = _problem(_shown(converted), target)
    return (None, problem) if problem else (converted, "")


def _hidden(model: ModelProto, target: int) -> ModelProto:
    """A copy with the nodes that need no adapter in a domain that the converter leaves alone."""
    copy = type(model)()
    copy.CopyFrom(model)
    for node in graphs.nodes(copy):
        if node.domain in _DEFAULT and node.op_type in _ALIKE and target >= _ALIKE_SINCE and not _wraps(node):
            node.domain = _HIDDEN
    copy.opset_import.add(domain=_HIDDEN, version=1)
    return copy


def _wraps(node: NodeProto) -> bool:
    return b"wrap" in [item.s for item in node.attribute if item.name == "mode"]


def _shown(model: ModelProto) -> ModelProto:
    for node in graphs.nodes(model):
        node.domain = "" if node.domain == _HIDDEN else node.domain
    kept = [entry for entry in model.opset_import if entry.domain != _HIDDEN]
    model.ClearField("opset_import")
    model.opset_import.extend(kept)
    return model


def _problem(model: ModelProto, target: int) -> str:
    """Why this is not a valid model of opset ``target``; empty when it is."""
    from onnx import checker

    if opset(model) != target:
        return f"asked for opset {target}, found {opset(model)}"
    shaped = type(model)()
    shaped.CopyFrom(model)
    for value in (*shaped.graph.input, *shaped.graph.output):
        if value.type.WhichOneof("value") == "tensor_type":
            value.type.tensor_type.shape.SetInParent()  # the checker wants one, the runtimes do not
    try:
        checked.check(shaped)
    except checker.ValidationError as error:
        return " ".join(str(error).split())[:300]
    return ""


def _repair(model: ModelProto, target: int) -> ModelProto:
    """A copy without local functions and without what only newer schemas can say, where an older one says it otherwise."""
    from onnx import inliner

    copy = without_weights(inliner.inline_local_functions, model)
    sizes = _sizes(copy)
    for graph in graphs.graphs(copy.graph):
        for node in graph.node:
            if node.domain in _DEFAULT:
                _drop_defaults(node, opset(model), target)
                _spell_split(node, graph, sizes)
    return copy


def _drop_defaults(node: NodeProto, source: int, target: int) -> None:
    """Remove attributes that the older schema lacks where they say what it meant anyway (``noop_with_empty_axes = 0``)."""
    from onnx import defs, helper

    try:
        new, old = defs.get_schema(node.op_type, source, "").attributes, defs.get_schema(node.op_type, target, "").attributes
    except defs.SchemaError:
        return
    for item in [item for item in node.attribute if item.name in new and item.name not in old]:
        default = new[item.name].default_value
        if default.name and helper.get_attribute_value(item) == helper.get_attribute_value(default):
            node.attribute.remove(item)


def _spell_split(node: NodeProto, graph: GraphProto, sizes: Mapping[str, list[int | str | None] | None]) -> None:
    """Write the sizes that ``num_outputs`` stands for, where the axis has a known size: equal parts, the last the rest."""
    from onnx import TensorProto, helper

    count = next((item.i for item in node.attribute if item.name == "num_outputs"), 0)
    axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
    shape = sizes.get(node.input[0]) if node.op_type == "Split" and count else None
    size = shape[axis] if shape else None
    if not isinstance(size, int):
        return
    part = -(-size // count)
    name = f"{node.output[0]}_sizes"
    parts = [part] * (count - 1) + [size - part * (count - 1)]
    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [count], parts))
    node.input[:] = [node.input[0], name]
    node.attribute.remove(next(item for item in node.attribute if item.name == "num_outputs"))


def _sizes(model: ModelProto) -> dict[str, list[int | str | None] | None]:
    """The shape of every tensor of the main graph that shape inference knows."""
    from onnx import shape_inference

    graph = without_weights(shape_inference.infer_shapes, model).graph
    return {info.name: shape(info) for info in (*graph.input, *graph.value_info, *graph.output)}
