"""The definitions of operators as onnx and ONNX Runtime know them: since which opset, with which types and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from . import signature

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_CONTRIB = "com.microsoft"


@dataclass(frozen=True)
class Place:
    """One input or output of a definition: its name, its type or the name of its type, and whether it repeats."""

    name: str
    kind: str
    repeats: bool


@dataclass(frozen=True)
class Schema:
    """One definition of an operator. ``expands``: the operators that its body consists of, where it has one."""

    since: int
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    kinds: Mapping[str, frozenset[str]]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expands: tuple[str, ...] = ()

    def input(self, index: int) -> Place | None:
        """The definition of an input."""
        return _at(self.inputs, index)

    def output(self, index: int) -> Place | None:
        """The definition of an output."""
        return _at(self.outputs, index)


def _at(places: tuple[Place, ...], index: int) -> Place | None:
    if index < len(places):
        return places[index]
    return places[-1] if places and places[-1].repeats else None


class Schemas:
    """The definitions that a model's opset imports choose."""

    def __init__(self, model: ModelProto) -> None:
        """Read the imports."""
        self.opsets = signature.opsets(model)

    def find(self, node: NodeProto) -> Schema | None:
        """The definition that a node follows; ``None`` where neither onnx nor ONNX Runtime has one."""
        domain = signature.domain(node.domain)
        version = self.opsets.get(domain)
        return None if version is None else schema(domain, node.op_type, version)


@cache
def schema(domain: str, op: str, opset: int) -> Schema | None:
    """The newest definition of an operator that is not newer than ``opset``."""
    from onnx import defs

    if domain == _CONTRIB:
        return max((one for one in _contrib().get(op, ()) if one.since <= opset), key=lambda one: one.since, default=None)
    short = "" if domain == signature.DEFAULT_DOMAIN else domain
    return _of_onnx(defs.get_schema(op, opset, short)) if defs.has(op, opset, short) else None


@cache
def versions(domain: str, op: str) -> tuple[int, ...]:
    """The versions of all definitions of an operator, oldest first; empty for one that nobody knows."""
    if domain == _CONTRIB:
        return tuple(sorted(one.since for one in _contrib().get(op, ())))
    return tuple(sorted(_history().get((domain, op), ())))


@cache
def _history() -> Mapping[tuple[str, str], set[int]]:
    from onnx import defs

    found: dict[tuple[str, str], set[int]] = {}
    for one in defs.get_all_schemas_with_history():
        found.setdefault((signature.domain(one.domain), one.name), set()).add(one.since_version)
    return found


def domains() -> set[str]:
    """The domains whose operators onnx or ONNX Runtime define."""
    return {domain for domain, _ in _history()} | {_CONTRIB}


def _of_onnx(one: Any) -> Schema:
    defaults = {name: attribute.default_value for name, attribute in one.attributes.items() if attribute.default_value.name}
    return Schema(
        one.since_version,
        tuple(Place(p.name, p.type_str, str(p.option).endswith("Variadic")) for p in one.inputs),
        tuple(Place(p.name, p.type_str, str(p.option).endswith("Variadic")) for p in one.outputs),
        {c.type_param_str: frozenset(map(bare, c.allowed_type_strs)) for c in one.type_constraints},
        defaults,
        tuple(sorted({node.op_type for node in one.function_body.node})) if one.has_function else (),
    )


@cache
def _contrib() -> Mapping[str, list[Schema]]:
    """ONNX Runtime's own operators, of its newest version here."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found: dict[str, list[Schema]] = {}
    for one in state.get_all_operator_schema():
        if one.domain == _CONTRIB:
            inputs, outputs = (
                tuple(Place(p.name, p.typeStr, str(p.option).endswith("Variadic")) for p in places)
                for places in (one.inputs, one.outputs)
            )
            kinds = {c.type_param_str: frozenset(map(bare, c.allowed_type_strs)) for c in one.type_constraints}
            found.setdefault(one.name, []).append(Schema(one.since_version, inputs, outputs, kinds))
    return found


def bare(kind: str) -> str:
    """A type without the words for tensors: ``tensor(float)`` is ``float``, ``seq(tensor(float))`` is ``seq(float)``."""
    if kind.startswith("tensor("):
        return kind[len("tensor(") : -1]
    outer, _, inner = kind.partition("(")
    return f"{outer}({bare(inner[:-1])})" if outer in {"seq", "optional", "sparse_tensor"} and inner else kind
