"""How a model that comes quantised is quantised: types and zero points at QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from . import graphs, signature

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

_Q, _DQ = "QuantizeLinear", "DequantizeLinear"
_OF_CONSTANTS = frozenset({_Q, "Clip", "Cast", "Identity", "Reshape", "Transpose"})  # what exporters put before a weight's DQ
_SHOWN = 3
_BIAS = "int32"
_INTEGER = frozenset({
    "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearAdd", "QLinearMul",
    "QGemm", "QAttention", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits",
    "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearConcat", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax",
})  # fmt: skip
"""Operators that compute on integers by themselves, of ONNX and of ONNX Runtime."""


def describe(model: ModelProto) -> dict[str, Any]:
    """Facts of a model that holds quantised operators; empty where it holds none.

    ``nodes``: its Q/DQ nodes; ``operators``: others on integers, by name. ``activations`` and ``weights``: how many tensors are
    of each type. ``asymmetric``: activations whose zero point is not 0, the first of them in ``such_as``. ``biases``: constants
    behind an int32 DequantizeLinear. A node that only converts an input or output of the model quantises nothing.
    """
    found = _Walk(model)
    operators = Counter(node.op_type for node in graphs.nodes(model) if node.op_type in _INTEGER)
    if not found.inner and not operators:
        return {}
    return {
        "nodes": found.nodes, "operators": dict(sorted(operators.items())), "biases": found.biases,
        "activations": dict(sorted(found.activations.items())), "weights": dict(sorted(found.weights.items())),
        "asymmetric": len(found.asymmetric), "such_as": sorted(found.asymmetric)[:_SHOWN],
    }  # fmt: skip


class _Walk:
    """Counts over the nodes of a model, each tensor once."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = self.inner = self.biases = 0
        self.activations, self.weights = Counter[str](), Counter[str]()
        self.asymmetric = set[str]()
        for graph in graphs.graphs(model.graph):
            self._constants = {tensor.name: tensor for tensor in graph.initializer} | _constants(graph.node)
            self._makers = {name: node for node in graph.node for name in node.output}
            self._ends = {info.name for info in (*graph.input, *graph.output)} if graph is model.graph else set()
            for node in graph.node:
                if node.op_type in {_Q, _DQ}:
                    self._count(node)

    def _count(self, node: NodeProto) -> None:
        self.nodes += 1
        end = node.input[0] if node.op_type == _DQ else node.output[0]
        self.inner += end not in self._ends
        kind, zero = self._zero_point(node)
        constant = self._constant(node.input[0])
        if constant and node.op_type == _DQ:
            self.biases += kind == _BIAS
            self.weights.update([] if kind == _BIAS else [kind])
        elif not constant and node.op_type == _Q:
            self.activations[kind] += 1
            self.asymmetric |= {node.input[0]} if zero else set()

    def _constant(self, name: str) -> bool:
        """Whether a tensor is constant: itself, or as what is made of a constant."""
        maker = self._makers.get(name)
        behind = maker is not None and maker.op_type in _OF_CONSTANTS and self._constant(maker.input[0])
        return name in self._constants or behind

    def _zero_point(self, node: NodeProto) -> tuple[str, bool]:
        """The type that a node quantises to or from, and whether its zero point is anything but 0."""
        import numpy as np
        from onnx import TensorProto, numpy_helper

        name = node.input[2] if len(node.input) > 2 else ""
        if (tensor := self._constants.get(name)) is not None:
            here = tensor.data_location != TensorProto.EXTERNAL  # zero points are small, and seldom stand elsewhere
            return signature.dtype_name(tensor.data_type), here and bool(np.any(numpy_helper.to_array(tensor) != 0))
        wanted = next((one.i for one in node.attribute if one.name == "output_dtype" and one.i), TensorProto.UINT8)
        given = self._constants.get(node.input[0]) if node.op_type == _DQ else None
        return signature.dtype_name(given.data_type if given is not None else wanted), bool(name)


def _constants(nodes: Any) -> dict[str, TensorProto]:
    """The tensors of Constant nodes."""
    values: dict[str, AttributeProto] = {
        node.output[0]: one for node in nodes if node.op_type == "Constant" for one in node.attribute if one.name == "value"
    }
    return {name: one.t for name, one in values.items()}
