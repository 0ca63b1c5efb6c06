"""Reads the nodes of an .ort file with their operators and types: a flatbuffer, of which few tables are looked at.

Places in tables are those of ONNX Runtime's schema, format version 4 to 6, as ``onnxruntime.tools.ort_format_model`` has them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import OrtolanError
from .config_form import Operator

_IDENTIFIER = b"ORTM"
_SESSION_MODEL, _MODEL_GRAPH = 6, 18
_GRAPH_VALUES, _GRAPH_NODES = 6, 8
_NODE_NAME, _NODE_DOMAIN, _NODE_SINCE, _NODE_OPERATOR, _NODE_INPUTS, _NODE_OUTPUTS, _NODE_ATTRIBUTES = 4, 8, 10, 14, 20, 22, 24
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 18, 28
_VALUE_NAME, _VALUE_TYPE = 4, 8
_TYPE_KIND, _TYPE_VALUE = 6, 8
_TENSOR, _SEQUENCE, _MAP = 1, 2, 3
_FIRST, _SECOND = 4, 6
_OFFSET = 4  # bytes of an offset
_DEPTH = 64  # graphs one in another; those of loops and conditions, of which real models nest a few
_ELEMENTS = (
    "", "float", "uint8_t", "int8_t", "uint16_t", "int16_t", "int32_t", "int64_t", "std::string", "bool", "MLFloat16", "double",
    "uint32_t", "uint64_t", "complex64", "complex128", "BFloat16", "Float8E4M3FN", "Float8E4M3FNUZ", "Float8E5M2",
    "Float8E5M2FNUZ",
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A node of a graph, nested ones too; types by place, empty where there is no value or its type is not one of tensors."""

    operator: Operator
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class _File:
    """The bytes, and how many of the offsets in them may still be followed: each once, else tables lie in themselves."""

    data: bytes
    left: int

    def number(self, form: str, at: int) -> int:
        if at < 0:
            raise ValueError("it points before its beginning")
        return int(struct.unpack_from(form, self.data, at)[0])

    def follow(self, at: int) -> int:
        self.left -= 1
        if self.left < 0:
            raise ValueError("it has more tables than it has room for: some lie in others that lie in them, or in several")
        return at + self.number("<I", at)

    def text(self, at: int) -> str:
        size = self.number("<I", at)
        if at + 4 + size > len(self.data):
            raise ValueError("a text reaches beyond its end")
        return self.data[at + 4 : at + 4 + size].decode("utf-8", "replace")


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer (https://flatbuffers.dev/internals)."""

    file: _File
    at: int

    def _field(self, place: int) -> int:
        """Where a field's content stands, 0 where the table has none."""
        vtable = self.at - self.file.number("<i", self.at)
        if place >= self.file.number("<H", vtable):
            return 0
        offset = self.file.number("<H", vtable + place)
        return self.at + offset if offset else 0

    def number(self, place: int, form: str = "<i") -> int:
        at = self._field(place)
        return self.file.number(form, at) if at else 0

    def text(self, place: int) -> str:
        at = self._field(place)
        return self.file.text(self.file.follow(at)) if at else ""

    def table(self, place: int) -> _Table | None:
        at = self._field(place)
        return _Table(self.file, self.file.follow(at)) if at else None

    def tables(self, place: int) -> Iterator[_Table]:
        yield from (_Table(self.file, self.file.follow(at)) for at in self._elements(place))

    def texts(self, place: int) -> list[str]:
        return [self.file.text(self.file.follow(at)) for at in self._elements(place)]

    def _elements(self, place: int) -> Iterator[int]:
        at = self._field(place)
        if at:
            start = self.file.follow(at)
            yield from range(start + 4, start + 4 + 4 * self.file.number("<I", start), 4)


def nodes(data: bytes, where: str) -> list[Node]:
    """All nodes in order, those of nested graphs after the node that they belong to. OrtolanError for what is no .ort file."""
    try:
        model = _session(data).table(_SESSION_MODEL)
        graph = model.table(_MODEL_GRAPH) if model else None
        return list(_nodes(graph, {}, _DEPTH)) if graph else []
    except (ValueError, struct.error, RecursionError) as error:
        raise OrtolanError("not an .ort file that can be read", where=where, why=str(error), hint="build again") from error


def _session(data: bytes) -> _Table:
    if data[4:8] != _IDENTIFIER:
        raise ValueError(f"its bytes 4 to 8 are {data[4:8]!r}, not {_IDENTIFIER!r}")
    file = _File(data, len(data) // _OFFSET)
    return _Table(file, file.follow(0))


def _nodes(graph: _Table, outer: Mapping[str, str], depth: int) -> Iterator[Node]:
    if not depth:
        raise ValueError(f"more than {_DEPTH} graphs lie one in another")
    values = {**outer, **{one.text(_VALUE_NAME): _type(one.table(_VALUE_TYPE)) for one in graph.tables(_GRAPH_VALUES)}}
    for node in graph.tables(_GRAPH_NODES):
        operator = Operator(node.text(_NODE_DOMAIN) or "ai.onnx", node.number(_NODE_SINCE), node.text(_NODE_OPERATOR))
        inputs, outputs = node.texts(_NODE_INPUTS), node.texts(_NODE_OUTPUTS)
        name = node.text(_NODE_NAME) or f"→ {next(filter(None, outputs), '')}"
        yield Node(operator, name, _types(inputs, values), _types(outputs, values))
        for attribute in node.tables(_NODE_ATTRIBUTES):
            nested = attribute.table(_ATTRIBUTE_GRAPH)
            for inner in [*([nested] if nested else []), *attribute.tables(_ATTRIBUTE_GRAPHS)]:
                yield from _nodes(inner, values, depth - 1)


def _types(names: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(values.get(name, "") for name in names)


def _type(info: _Table | None) -> str:
    """The type as ONNX Runtime's tools write it: a sequence is told by its elements."""
    value = info.table(_TYPE_VALUE) if info else None
    kind = info.number(_TYPE_KIND, "<B") if info else 0
    if value is None or kind not in {_TENSOR, _SEQUENCE, _MAP}:
        return ""
    if kind == _SEQUENCE:
        return _type(value.table(_FIRST))
    element = value.number(_FIRST)
    name = _ELEMENTS[element] if 0 <= element < len(_ELEMENTS) else ""
    return name if kind == _TENSOR else f"std::map<{name},{_type(value.table(_SECOND))}>"
