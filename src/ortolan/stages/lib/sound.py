"""Refuses models that cannot mean anything: unknown operators, tensors that nobody makes, constants without their data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import external, graphs, signature
from .refused import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

_AGAIN = "export the model again, or ask its author for a whole one"


def refuse_unsound(model: ModelProto) -> None:
    """Raise ``Refused`` for the first thing that makes ``model`` unusable, with the names of what is wrong."""
    if not model.graph.node:
        raise Refused("the model is empty", why="its graph has no nodes", hint=_AGAIN)
    if not model.graph.output:
        raise Refused("the model has no outputs", hint=_AGAIN)
    _versions(model)
    _operators(model)
    _tensors_only("input", signature.inputs(model))
    _tensors_only("output", model.graph.output)
    _holding(model.graph.output)
    _wiring(model.graph, set())
    _data(model)


def _holding(outputs: Iterable[ValueInfoProto]) -> None:
    """At least one output holds values: parity of none would always pass."""
    shapes = {info.name: signature.shape(info) for info in outputs}
    if all(shape is not None and 0 in shape for shape in shapes.values()):
        name, shape = next(iter(shapes.items()))
        raise Refused(
            "the model's outputs hold no values",
            why=f"output '{name}' has shape {shape}: an axis of size 0",
            hint="there is nothing to compare and nothing to run; was it exported with an empty example?",
        )


def _versions(model: ModelProto) -> None:
    import onnx

    if model.ir_version > onnx.IR_VERSION:
        raise Refused(
            f"the model has IR version {model.ir_version}",
            why=f"the graph tools know versions up to {onnx.IR_VERSION}",
            hint="export it with an older onnx package",
        )
    version = signature.opsets(model).get(signature.DEFAULT_DOMAIN)
    newest = onnx.defs.onnx_opset_version()
    if version is not None and not 1 <= version <= newest:
        raise Refused(
            f"the model has opset {version}",
            why=f"the graph tools know opsets 1 to {newest}",
            hint="export it with a lower opset",
        )


def _operators(model: ModelProto) -> None:
    versions = signature.opsets(model)
    known = _known_domains()
    for node in graphs.nodes(model):
        domain = signature.domain(node.domain)
        if domain not in known:
            _refuse_operator(node, f"domain '{domain}' is not one that ONNX Runtime knows without a custom operator library")
        if domain not in versions:
            _refuse_operator(node, f"the model imports no opset for domain '{domain}'")
        since = known[domain].get(node.op_type)
        if since is None:
            _refuse_operator(node, f"domain '{domain}' has no operator of this name")
        elif versions[domain] < since:
            _refuse_operator(node, f"it came with opset {since}, and the model says opset {versions[domain]}")


def _known_domains() -> dict[str, dict[str, int]]:
    """``{domain: {operator: opset it came with}}`` of the onnx package and of this runtime's ONNX Runtime."""
    import onnx
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    found: dict[str, dict[str, int]] = {}
    for schema in (*onnx.defs.get_all_schemas_with_history(), *runtime.get_all_operator_schema()):
        versions = found.setdefault(signature.domain(schema.domain), {})
        versions[schema.name] = min(int(schema.since_version), versions.get(schema.name, 10**6))
    return found


def _refuse_operator(node: NodeProto, why: str) -> None:
    raise Refused(
        f"operator '{node.op_type}' of domain '{signature.domain(node.domain)}' is unknown (node {graphs.label(node)})",
        why=why,
        hint="replace it by standard operators before exporting: no stock ONNX Runtime can run it",
    )


def _tensors_only(what: str, values: Iterable[ValueInfoProto]) -> None:
    for value in values:
        if value.type.WhichOneof("value") not in {"tensor_type", None}:
            raise Refused(
                f"{what} '{value.name}' is a {signature.type_name(value.type)}, not a tensor",
                hint="export the model with tensors only; for scikit-learn classifiers: options={'zipmap': False}",
            )


def _wiring(graph: GraphProto, outer: set[str]) -> None:
    """Every tensor is made once, and what is read is made somewhere. Nodes stand in topological order by now."""
    made = outer | {value.name for value in graph.input} | graphs.initializers(graph) | {""}
    for node in graph.node:
        lost = next((name for name in node.input if name not in made), None)
        if lost is not None:
            raise Refused(f"node {graphs.label(node)} reads tensor '{lost}', which nothing makes", hint=_AGAIN)
        for inner in graphs.subgraphs(node):
            _wiring(inner, made)
        twice = next((name for name in node.output if name and name in made), None)
        if twice is not None:
            raise Refused(f"tensor '{twice}' is made twice, the second time by node {graphs.label(node)}", hint=_AGAIN)
        made |= set(node.output)
    lost = next((value.name for value in graph.output if value.name not in made), None)
    if lost is not None:
        raise Refused(f"nothing makes the output '{lost}' of graph '{graph.name}'", hint=_AGAIN)


def _data(model: ModelProto) -> None:
    from onnx import numpy_helper

    for tensor in external.tensors(model):
        if external.is_outside(tensor):
            continue  # these were looked at when they were found
        try:
            numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            dtype = signature.dtype_name(tensor.data_type)
            raise Refused(
                f"initializer '{tensor.name}' does not hold its data",
                why=f"it should have shape {list(tensor.dims)} of {dtype}: {error}",
                hint="the weights were stripped or lost: export the model with its weights",
            ) from None
