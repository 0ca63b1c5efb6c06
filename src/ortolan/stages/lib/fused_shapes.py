"""Shapes of what ONNX Runtime's own operators give in a fused transformer: ONNX's inference does not know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto, TypeProto

_AS_INPUT = frozenset({"BiasGelu", "FastGelu", "Gelu", "SkipLayerNormalization", "MultiHeadAttention"})  # of the first input
_EMBED, _ATTENTION = "EmbedLayerNormalization", "Attention"
_OWN = "com.microsoft"


def add(graph: GraphProto) -> None:
    """Write down the first outputs' types and shapes where the graph does not, as far as the inputs' are known. In place.

    Source: the operators' descriptions in ONNX Runtime's docs/ContribOperators.md.
    """
    known = {info.name: info.type for info in (*graph.input, *graph.output, *graph.value_info)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.domain == _OWN and node.output[0] not in known and (made := _type(node, known, constants)) is not None:
            known[node.output[0]] = made
            graph.value_info.add(name=node.output[0]).type.CopyFrom(made)


def _type(node: NodeProto, known: dict[str, TypeProto], constants: dict[str, TensorProto]) -> TypeProto | None:
    """The type of a node's first output; None where it cannot be told."""
    first = known.get(node.input[0])
    if first is None or not first.tensor_type.HasField("shape"):
        return None
    made = type(first)()
    made.CopyFrom(first)
    if node.op_type in _AS_INPUT:
        return made
    if node.op_type == _EMBED and (words := constants.get(node.input[2])) is not None:  # [vocabulary, width]
        made.tensor_type.elem_type = words.data_type
        made.tensor_type.shape.dim.add(dim_value=words.dims[1])
        return made
    if node.op_type == _ATTENTION and (weights := constants.get(node.input[1])) is not None:  # of [width, 3 * inner]
        made.tensor_type.shape.dim[-1].dim_value = weights.dims[1] // 3
        return made
    return None
