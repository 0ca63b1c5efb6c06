"""Counts multiply-accumulates per node, and how many of them compute on quantised values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import graphs, quant_nodes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Shape = Sequence[int]
_INTEGER = frozenset({
    "QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulNBits", "DynamicQuantizeLSTM", "QAttention",
})  # fmt: skip
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of a model for one inference, dynamic axes counted as 1.

    ``uncounted`` names the nodes that multiply but whose shapes are unknown. A loop's body counts once.
    """

    total: int
    quantised: int
    uncounted: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of multiply-accumulates in quantised nodes; 0 for a model that has none."""
        return self.quantised / self.total if self.total else 0.0


def count(model: ModelProto, preset: str = quant_nodes.DEFAULT) -> Macs:
    """Count the multiply-accumulates of convolutions, matrix products and recurrent layers, in nested graphs too.

    Shapes come from ``onnx.shape_inference``. A node is quantised when its data comes out of a DequantizeLinear node and
    the preset quantises its operator, or when its operator computes on integers.
    """
    inferred = quant_nodes.inferred(model)
    lowered = quant_nodes.quantised(inferred, preset)
    total, low, unknown = 0, 0, list[str]()
    known = _known(inferred)
    for depth, graph in enumerate(graphs.graphs(inferred.graph)):
        for index, node in enumerate(graph.node):
            macs = _macs(node, known)
            if macs is None:
                unknown.append(graphs.label(node))
                continue
            total += macs
            low += macs if node.op_type in _INTEGER or (not depth and index in lowered) else 0
    return Macs(total, low, tuple(unknown))


def per_node(model: ModelProto) -> list[int | None]:
    """The multiply-accumulates of each node of the main graph, those of the graphs that it holds included, in their order.

    ``None`` for a node of which any part multiplies on unknown shapes. All parts of an ``If`` count, and a loop's body once.
    """
    inferred = quant_nodes.inferred(model)
    known = _known(inferred)
    return [_whole(node, known) for node in inferred.graph.node]


def _whole(node: NodeProto, known: Mapping[str, Shape]) -> int | None:
    held = (each for outer in graphs.subgraphs(node) for graph in graphs.graphs(outer) for each in graph.node)
    parts = [_macs(each, known) for each in (node, *held)]
    return None if None in parts else sum(part for part in parts if part is not None)


def _known(model: ModelProto) -> dict[str, Shape]:
    """The shapes of all tensors, of nested graphs too."""
    known: dict[str, Shape] = {}
    for graph in graphs.graphs(model.graph):
        known |= _shapes(graph)
    return known


def _shapes(graph: GraphProto) -> dict[str, Shape]:
    infos = (*graph.input, *graph.output, *graph.value_info)
    tensors = {info.name: info.type.tensor_type for info in infos if info.type.tensor_type.HasField("shape")}
    found: dict[str, Shape] = {name: [dim.dim_value or 1 for dim in tensor.shape.dim] for name, tensor in tensors.items()}
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def _macs(node: NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Multiply-accumulates of one node; 0 for operators that do not multiply matrices, ``None`` when a shape is missing."""
    count = _COUNTERS.get(node.op_type)
    if count is None:
        return 0
    try:
        return count(node, shapes)
    except (KeyError, IndexError):
        return None


def _conv(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Every output value takes one product per weight of its filter."""
    weight = shapes[node.input[3 if node.op_type == "QLinearConv" else 1]]
    return math.prod(shapes[node.output[0]]) * math.prod(weight[1:])


def _conv_transpose(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Every input value meets one filter: weights are [C_in, C_out/group, ...]."""
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _gemm(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    inner = shapes[node.input[0]][0 if _attribute(node, "transA", 0) else 1]
    return math.prod(shapes[node.output[0]]) * inner


def _matmul(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _recurrent(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Per step and direction: gates * hidden * (inputs + hidden). X is [steps, batch, inputs]."""
    steps, batch, inputs = shapes[node.input[0]]
    directions, _, hidden = shapes[node.input[2]]
    return steps * batch * directions * _GATES[node.op_type] * hidden * (inputs + hidden)


def _dynamic_lstm(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """As ``_recurrent``; its weights are [directions, inputs, gates * hidden]."""
    steps, batch, inputs = shapes[node.input[0]]
    directions, hidden, _ = shapes[node.input[2]]
    return steps * batch * directions * _GATES["LSTM"] * hidden * (inputs + hidden)


def _blocks(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.output[0]]) * _attribute(node, "K", 0)


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def _attention(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """ONNX Runtime's: input [batch, sequence, width], weights [width, 3 * inner] of queries, keys and values at once."""
    batch, sequence, width = shapes[node.input[0]]
    inner = shapes[node.input[1]][1] // 3
    return batch * sequence * (3 * width * inner + 2 * sequence * inner)


def _heads(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """ONNX Runtime's: queries [batch, sequence, inner] against keys [batch, length, inner], and their weights against values."""
    batch, sequence, inner = shapes[node.input[0]]
    return 2 * batch * sequence * shapes[node.input[1]][1] * inner


_COUNTERS: dict[str, Callable[..., int]] = {
    "Attention": _attention,
    "QAttention": _attention,
    "MultiHeadAttention": _heads,
    "Conv": _conv,
    "FusedConv": _conv,
    "QLinearConv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "QLinearMatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulNBits": _blocks,
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
