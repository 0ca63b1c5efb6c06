"""Which of a model's quantised nodes TensorRT would misread or refuse, told before it is asked; needs no TensorRT.

TensorRT takes signed symmetric Q/DQ. Measured with TensorRT-RTX 1.7.1: uint8 with zero points 0 becomes int8 with a warning only,
a zero point other than 0 and an int32 bias fail to parse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import graphs
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Q, DQ = "QuantizeLinear", "DequantizeLinear"
FIX = 'quantise with activations = "int8", weights = "int8" and symmetric_activations = true in [quantize]'
_TAKEN = frozenset({"INT8", "INT4", "FLOAT8E4M3FN", "FLOAT4E2M1"})
_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"})
_MEANT = ("QLinear", "QGemm", "QAttention", "DynamicQuantize")
_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """A node that TensorRT would misread or refuse. ``index`` is its place, or its outermost node's, in the main graph."""

    index: int
    node: str
    why: str


def check(model: ModelProto) -> None:
    """Raise ``Refused``, naming the nodes, when a Q/DQ node is not in TensorRT's scheme."""
    found = problems(model)
    if not found:
        return
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    why = "; ".join(f"{problem.node}: {problem.why}" for problem in found[:_SHOWN]) + more
    raise Refused("the model is not quantised as TensorRT takes it", why=why, hint=FIX)


def quantised(model: ModelProto) -> bool:
    """Whether the model holds Q/DQ nodes."""
    return any(node.op_type in {Q, DQ} for node in graphs.nodes(model))


def problems(model: ModelProto) -> list[Problem]:
    """The nodes of a model, nested graphs and local functions included, that are not in TensorRT's scheme."""
    known = _Known(model.graph)
    found = [problem for index, node in enumerate(model.graph.node) for problem in _inside(index, node, known)]
    for function in model.functions:
        known = _Known(function)
        calls = (i for i, n in enumerate(model.graph.node) if (n.domain, n.op_type) == (function.domain, function.name))
        called = next(calls, -1)
        found += [problem for node in function.node for problem in _inside(called, node, known)]
    return found


class _Known:
    """Constants and element types of the tensors of one graph and those around it."""

    def __init__(self, graph: Any, outer: _Known | None = None) -> None:
        self.constants: dict[str, TensorProto] = dict(outer.constants) if outer else {}
        self.types: dict[str, str] = dict(outer.types) if outer else {}
        self.constants |= {tensor.name: tensor for tensor in getattr(graph, "initializer", ())}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
            if node.op_type == Q:
                self.types[node.output[0]] = _target(node, self)
        self.types |= {name: _type(tensor.data_type) for name, tensor in self.constants.items()}
        values = (*getattr(graph, "value_info", ()), *(v for v in graph.input if not isinstance(v, str)))
        for value in values:
            self.types.setdefault(value.name, _type(value.type.tensor_type.elem_type))


def _inside(index: int, node: NodeProto, known: _Known) -> Iterator[Problem]:
    why = _why(node, known)
    if why:
        yield Problem(index, graphs.label(node), why)
    for inner in graphs.subgraphs(node):
        nested = _Known(inner, known)
        for each in inner.node:
            yield from _inside(index, each, nested)


def _why(node: NodeProto, known: _Known) -> str:
    if node.op_type in _INTEGER or node.op_type.startswith(_MEANT):
        return "computes on integers itself, and TensorRT takes only Q/DQ around float operators"
    if node.op_type == Q:
        return _type_problem(_target(node, known)) or _zero_problem(node, known)
    if node.op_type == DQ:
        return _type_problem(_source(node, known)) or _zero_problem(node, known)
    return ""


def _type_problem(kind: str) -> str:
    if kind in {"UINT8", "UINT4"}:
        return f"{kind.lower()}, which TensorRT silently reads as {kind[1:].lower()}"
    if kind == "INT32":
        return "a quantised bias (int32), which TensorRT does not take"
    return f"{kind.lower()}, which TensorRT does not quantise" if kind and kind not in _TAKEN else ""


def _zero_problem(node: NodeProto, known: _Known) -> str:
    import numpy as np
    from onnx import numpy_helper

    name = node.input[2] if len(node.input) > 2 else ""
    if not name:
        return ""
    if name not in known.constants:
        return f"its zero point {name} is computed, and TensorRT takes none but 0"
    values = numpy_helper.to_array(known.constants[name]).astype(np.float32)
    return f"an asymmetric zero point ({values[values != 0].flat[0]:g})" if values.any() else ""


def _target(node: NodeProto, known: _Known) -> str:
    """What a QuantizeLinear makes: its zero point's type, ``output_dtype``, or else uint8 (ONNX)."""
    if len(node.input) > 2 and node.input[2]:
        return known.types.get(node.input[2]) or _type_of(known, node.input[2])
    said = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
    return _type(said) if said else "UINT8"


def _source(node: NodeProto, known: _Known) -> str:
    """What a DequantizeLinear reads, by its input or its zero point; empty where neither says."""
    found = (known.types.get(name) or _type_of(known, name) for name in (node.input[0], *node.input[2:3]) if name)
    return next((kind for kind in found if kind), "")


def _type_of(known: _Known, name: str) -> str:
    return _type(known.constants[name].data_type) if name in known.constants else ""


def _type(elem_type: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(elem_type)) if elem_type else ""


def by_node(model: ModelProto) -> Mapping[int, str]:
    """``{index in the main graph: why}``."""
    return {problem.index: problem.why for problem in reversed(problems(model))}
