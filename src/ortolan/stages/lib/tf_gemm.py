"""Makes a Gemm of a quantised dense layer, which tf2onnx writes as MatMul and Add: ONNX Runtime has a kernel in 8 bits for that.

Seen with 1.20.1: an ``.ort`` for ARM with optimisations left to the device does not load with the MatMul, and does with the Gemm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import graphs, signature

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_MATRIX = 2  # axes


def join(model: ModelProto) -> None:
    """Every MatMul of two dequantised matrices, in place, with the bias that is all that reads it; it computes the same."""
    graph, shapes = model.graph, signature.shapes(model)
    makers = {name: node for node in graph.node for name in node.output}
    for node in [node for node in graph.node if node.op_type == "MatMul"]:
        if all(_matrix(name, makers, shapes) for name in node.input):
            bias = _bias(graph, node, makers, shapes)
            node.op_type = "Gemm"
            if bias is not None:
                node.input.append(next(name for name in bias.input if name != node.output[0]))
                node.output[:] = bias.output
                graph.node.remove(bias)
    graphs.sort(graph)


def _matrix(name: str, makers: Mapping[str, NodeProto], shapes: Mapping[str, Any]) -> bool:
    maker = makers.get(name)
    return maker is not None and maker.op_type == "DequantizeLinear" and len(shapes.get(maker.input[0]) or ()) == _MATRIX


def _bias(graph: GraphProto, node: NodeProto, makers: Mapping[str, NodeProto], shapes: Mapping[str, Any]) -> NodeProto | None:
    """The Add of a dequantised vector, where nothing else reads the product."""
    readers = [other for other in graph.node if node.output[0] in other.input]
    ends = {info.name for info in graph.output}
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in ends:
        return None
    maker = makers.get(next((name for name in readers[0].input if name != node.output[0]), ""))
    vector = maker is not None and maker.op_type == "DequantizeLinear" and len(shapes.get(maker.input[0]) or ()) == 1
    return readers[0] if vector else None
