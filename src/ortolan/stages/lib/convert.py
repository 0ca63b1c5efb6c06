"""Brings a model to an opset, up or down, with onnx's converter; corrects what it gets silently wrong and checks the result."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import checked, down_convert, graphs, older, repair, signature
from .refused import Refused
from .transient import reraise_if_transient
from .weightless import without_weights

if TYPE_CHECKING:
    from onnx import ModelProto

_NAMED = re.compile(r"(?:No Adapter .*? for|No Previous Version of|attribute: \w+ for operator) (\w+)|OpType: (\w+)")
_ASSERTION = re.compile(r"^.*?Assertion `.*?` failed: ")
_RESIZERS = ("Resize", "Upsample")
_RESIZE_CHANGED = 11


def to_opset(model: ModelProto, target: int) -> ModelProto:
    """The model at opset ``target`` of ai.onnx, meaning the same. Raises ``Refused`` naming the operator in the way."""
    source = down_convert.opset(model)
    if source == target:
        return model
    converted = _up(model, target) if source < target else _down(model, target)
    repair.name_nodes(converted)
    _refuse_changed(model, converted, target)
    return converted


def _up(model: ModelProto, target: int) -> ModelProto:
    if down_convert.opset(model) < _RESIZE_CHANGED <= target and any(n.op_type in _RESIZERS for n in graphs.nodes(model)):
        model = _keep_resizing(_convert(model, _RESIZE_CHANGED))
    return _convert(model, target)


def _keep_resizing(model: ModelProto) -> ModelProto:
    """Resize-10 and Upsample sample at ``x / scale``, rounded down; Resize-11 by default elsewhere, which the converter forgets.

    Source: the operator's texts for opsets 10 and 11; seen with onnx 1.23.2 as errors as large as the values.
    """
    from onnx import helper

    for node in graphs.nodes(model):
        if node.op_type == "Resize" and not node.domain:
            for name, value in (("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")):
                node.attribute.append(helper.make_attribute(name, value))
    return model


def _down(model: ModelProto, target: int) -> ModelProto:
    ready = older.rewrite(model, target)
    try:
        return down_convert.convert(ready, target)[0]
    except Refused as error:
        raise _refusal(model, target, error.why) from error


def _convert(model: ModelProto, target: int) -> ModelProto:
    from onnx import version_converter

    try:
        return without_weights(lambda whole: version_converter.convert_version(whole, target), model)
    except Exception as error:  # the C++ converter raises RuntimeError, ConvertError, IndexError and more
        reraise_if_transient(error)
        text = _ASSERTION.sub("", " ".join(str(error).split())).replace("$", "")
        raise _refusal(model, target, text[:300]) from error


def _refusal(model: ModelProto, target: int, why: str) -> Refused:
    source = down_convert.opset(model)
    named = _NAMED.search(why)
    culprits = next(group for group in named.groups() if group) if named else " or ".join(_suspects(model, target))
    what = f"the model cannot be converted from opset {source} to opset {target}"
    return Refused(
        f"{what}: operator {culprits} stands in the way" if culprits else what,
        why=why,
        hint=f"export the model with opset {target}, or set opset = {source} in the target's [runtime] if its runtimes take it",
    )


def _suspects(model: ModelProto, target: int) -> list[str]:
    """The operators of the model that change at the first opset that it cannot be brought to."""
    from onnx import defs, version_converter

    source = down_convert.opset(model)
    step = 1 if target > source else -1
    names = sorted({node.op_type for node in graphs.nodes(model) if not node.domain and defs.has(node.op_type)})
    for version in range(source + step, target + step, step):
        try:
            version_converter.convert_version(model, version) if step > 0 else down_convert.convert(model, version)
        except Exception as error:  # noqa: BLE001  as in _convert, and Refused
            reraise_if_transient(error)
            changed = max(version, version - step)
            return [name for name in names if defs.get_schema(name, changed).since_version == changed]
    return []


def _refuse_changed(before: ModelProto, after: ModelProto, target: int) -> None:
    """The converter's word is not enough: opset, signature, wiring and every node's form are looked at."""
    found = down_convert.opset(after)
    ends = [[(v["name"], v["dtype"]) for v in (*map(signature.value, signature.inputs(m)), *map(signature.value, m.graph.output))]
            for m in (before, after)]  # fmt: skip
    complaint = complaints(after)
    why = (
        f"asked for opset {target}, found {found}" if found != target
        else "inputs or outputs changed" if ends[0] != ends[1]
        else complaint if complaint and not complaints(before)
        else ""
    )  # fmt: skip
    if why:
        raise _refusal(before, target, f"the converter's result is not valid: {why}")


def complaints(model: ModelProto) -> str:
    """What onnx's checker says about a model, apart from missing shapes of inputs and outputs, which nothing needs."""
    from onnx import checker

    copy = type(model)()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.WhichOneof("value") == "tensor_type" and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()
    try:
        checked.check(copy)
    except checker.ValidationError as error:
        return " ".join(str(error).split())[:300]
    return ""
