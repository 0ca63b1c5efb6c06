"""Reads ONNX models and writes them in one canonical form, so that equal models have equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import external, graphs, signature
from .refused import Refused
from .signature import WEIGHTS, describe, domain

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

__all__ = ["canonical", "describe", "load", "save"]

KEPT = "ortolan."
"""Metadata under this prefix stays; all other metadata goes."""

_PROSE = ("doc_string", "metadata_props", "device_configurations")
_PRODUCER = ("producer_name", "producer_version", "domain", "model_version", "training_info", "configuration")
_OLDEST_IR = 4  # IR 3 wants every initializer to be an input too


def load(path: Path) -> ModelProto:
    """Read a whole model, with its external data when they stand beside it.

    Raises ``Refused`` for what is no ONNX model, and for one whose weights we keep apart: see ``parse`` and ``weights``.
    """
    model = parse(path)
    if signature.weights(model):
        external.refuse(model)
    external.inline(model, path.parent)
    return model


def parse(path: Path) -> ModelProto:
    """Read a model; weights in another file stay there, and ``save`` keeps the model pointing to them.

    Raises ``Refused`` for what is no ONNX model.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    hint = "is it an .onnx file, whole? Compare its size and checksum with where it came from"
    try:
        model: ModelProto = ModelProto.FromString(path.read_bytes())
    except FileNotFoundError:
        raise Refused(f"{path.name} is missing", hint="check [source] file in the model's recipe") from None
    except DecodeError as error:
        raise Refused(f"{path.name} is not an ONNX model", why=f"its bytes do not parse: {error}", hint=hint) from None
    if not model.HasField("graph") or not model.opset_import:
        missing = "graph" if not model.HasField("graph") else "opset import"
        raise Refused(f"{path.name} is not a whole ONNX model", why=f"it holds no {missing}", hint=hint)
    return model


def save(model: ModelProto, path: Path, metadata: Mapping[str, str] | None = None) -> ModelProto:
    """Write the canonical form of ``model`` and return it. ``metadata`` replaces the model's, else ``ortolan.*`` entries stay.

    Raises ``Refused`` for a model above 2 GB, or whose nodes form a cycle.
    """
    return write(canonical(model, metadata), path)


def write(written: ModelProto, path: Path) -> ModelProto:
    """Write a canonical model as it is, and return it. Raises ``Refused`` above 2 GB."""
    if any(entry.key == external.STORED for tensor in external.tensors(written) for entry in tensor.external_data):
        raise ValueError("a tensor was turned to another type, which only weights.save can write")
    data = written.SerializeToString(deterministic=True)  # ByteSize, too, writes it all
    if len(data) > external.LIMIT:
        raise Refused(f"the model has {len(data):,} bytes", why="an ONNX file holds at most 2 GB", hint="export it in float16")
    path.write_bytes(data)
    return written


def canonical(model: ModelProto, metadata: Mapping[str, str] | None = None) -> ModelProto:
    """A copy without prose, paths, producer and what nothing uses, sorted, at the smallest IR that its opsets allow.

    Nodes keep their order where it is a topological one. The meaning of the model does not change.
    """
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith(KEPT)}
    copy = type(model)()
    copy.CopyFrom(model)
    for field in _PRODUCER:
        if field in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(field)
    _strip(copy)
    _tidy(copy.graph)
    _prune_opsets(copy)
    told = {WEIGHTS: digest} if (digest := kept.pop(WEIGHTS, "")) and external.stored_outside(copy) else {}
    for key, text in sorted(((kept if metadata is None else dict(metadata)) | told).items()):
        copy.metadata_props.add(key=key, value=text)
    copy.ir_version = smallest_ir(copy)
    return copy


def _strip(message: Any) -> None:
    """Clear what describes rather than computes, in a message and in all that it holds."""
    fields = message.DESCRIPTOR.fields_by_name
    for name in _PROSE:
        if name in fields:
            message.ClearField(name)
    if message.DESCRIPTOR.name == "TensorProto":  # listing its fields would copy its data
        return
    for field, content in message.ListFields():
        if field.message_type is None:
            continue
        for item in [content] if hasattr(content, "ListFields") else content:
            _strip(item)


def _tidy(graph: GraphProto) -> None:
    graphs.sort(graph)
    graphs.prune_initializers(graph)
    for each in graphs.graphs(graph):
        each.initializer.sort(key=lambda tensor: tensor.name)
        made = {name for node in each.node for name in node.output} | graphs.initializers(each)
        inner = made - {info.name for info in (*each.input, *each.output)}
        known = {info.name: info for info in each.value_info if info.name in inner}
        infos = [known[name] for name in sorted(known)]
        copies = [type(info).FromString(info.SerializeToString()) for info in infos]
        del each.value_info[:]
        each.value_info.extend(copies)
        for node in each.node:
            node.attribute.sort(key=lambda attribute: attribute.name)
            node.domain = "" if node.domain == "ai.onnx" else node.domain


def _prune_opsets(model: ModelProto) -> None:
    used = {domain(node.domain) for node in graphs.nodes(model)} | {domain("")}
    found = {domain(entry.domain): int(entry.version) for entry in model.opset_import}
    del model.opset_import[:]
    for name in sorted(used & found.keys()):
        model.opset_import.add(domain="" if name == domain("") else name, version=found[name])
    model.functions.sort(key=lambda function: (function.domain, function.name))


def smallest_ir(model: ModelProto) -> int:
    """The smallest IR version that the opsets, functions and element types of a model allow.

    Source: the version table of ``onnx.helper`` and the IR changes listed in ``onnx.proto``.
    """
    from onnx import helper

    lowest = int(helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True))
    functions = 8 if model.functions else 0
    return max(_OLDEST_IR, lowest, functions, *(_type_ir(tensor.data_type) for tensor in external.tensors(model)), 0)


def _type_ir(elem_type: int) -> int:
    from onnx import TensorProto

    name = TensorProto.DataType.Name(elem_type) if elem_type in TensorProto.DataType.values() else ""
    since = {"FLOAT8": 9, "UINT4": 10, "INT4": 10, "FLOAT4": 11, "UINT2": 13, "INT2": 13}
    return next((version for prefix, version in since.items() if name.startswith(prefix)), 0)
