"""Which nodes ONNX Runtime's quantizer may touch, and which activations it needs ranges for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from . import graphs
from .weightless import without_weights

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

    TensorType = TypeProto.Tensor

Q, DQ = "QuantizeLinear", "DequantizeLinear"
DEFAULT, QNN = "default", "qnn"
"""The presets of ``[quantize]``: which operators are quantised, and how."""

_KNOWN = frozenset({"", "ai.onnx", "com.microsoft"})
_NOT_QNN = frozenset({"Cast", "Constant", Q, DQ})  # its own configuration leaves out Cast; the others compute nothing in float


_FLOAT_BETWEEN_QDQ = frozenset({"Attention", "EmbedLayerNormalization"})
"""Operators that ONNX Runtime has on integers, and that it does not take for such between DequantizeLinear and QuantizeLinear
(qdq_selector_action_transformer.cc): Q/DQ around them costs time and accuracy, and gains nothing."""


def operators(model: ModelProto, preset: str) -> list[str]:
    """The operators of ``model`` that the quantizer is to look at, sorted.

    ``default``: those that ``quantize_static`` quantises when it is not told which. ``qnn``: all but control flow and Cast, as
    ONNX Runtime's configuration for QNN has it, since QNN takes quantised and float neighbours only across a conversion.
    """
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    if preset == QNN:
        return sorted({node.op_type for node in model.graph.node if not any(graphs.subgraphs(node))} - _NOT_QNN)
    return sorted({*QDQRegistry, *QLinearOpsRegistry} - _FLOAT_BETWEEN_QDQ)


def candidates(model: ModelProto, preset: str) -> Iterator[NodeProto]:
    """The nodes that the quantizer looks at: those of its operators in the outermost graph."""
    known = set(operators(model, preset))
    return (node for node in model.graph.node if node.op_type in known and node.domain in _KNOWN)


def foreign(model: ModelProto) -> list[str]:
    """The names of the nodes of other domains, which the quantizer tells by their operator's name alone."""
    return [node.name for node in model.graph.node if node.domain not in _KNOWN]


def activations(model: ModelProto, preset: str) -> list[str]:
    """The tensors that the quantizer may ask a range for, of any type: what candidates read and write, less initializers.

    Those of ``qnn`` include those of ``default``.
    """
    constant = {tensor.name for tensor in model.graph.initializer}
    names = {name for node in candidates(model, preset) for name in (*node.input, *node.output) if name}
    return sorted(names - constant)


def unranged(model: ModelProto, ranged: Collection[str], preset: str) -> dict[str, list[str]]:
    """Candidates that must stay in float: ``{node: float tensors without a range}``. Half-precision tensors count as such."""
    floats = _floats(model)
    constant = {tensor.name for tensor in model.graph.initializer if tensor.data_type not in _half()}
    wanted, found = floats - constant - set(ranged), {}
    for node in candidates(model, preset):
        missing = wanted & {*node.input, *node.output}
        if missing:
            found[node.name] = sorted(missing)
    return found


def name_nodes(graph: GraphProto) -> None:
    """Give every node of a graph a name of its own; the quantizer tells nodes apart by name."""
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = _free(f"{node.name or node.op_type}_{index}", taken | {n.name for n in graph.node})
        taken.add(node.name)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def inferred(model: ModelProto) -> ModelProto:
    """The model with the shapes and types that onnx can infer; the model itself where onnx cannot make sense of it."""
    from onnx import shape_inference

    try:
        return without_weights(lambda whole: shape_inference.infer_shapes(whole, data_prop=True), model)
    except shape_inference.InferenceError:
        return model


def describe(model: ModelProto) -> None:
    """Write down type and shape of what Q/DQ nodes of ``com.microsoft`` give, which onnx's shape inference does not know.

    16-bit quantisation needs that domain below opset 21.
    """
    graph = model.graph
    known = {info.name: info.type.tensor_type for info in (*graph.input, *graph.output, *graph.value_info)}
    constant = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in {Q, DQ} and node.domain == "com.microsoft" and node.output[0] not in known:
            info = graph.value_info.add(name=node.output[0])
            info.type.tensor_type.CopyFrom(_shaped(node, known, constant))
            known[node.output[0]] = info.type.tensor_type


def _shaped(node: NodeProto, known: Mapping[str, TensorType], constant: Mapping[str, TensorProto]) -> TensorType:
    """The type of a Q/DQ node's output: its input's shape, the element type of its zero point (Q) or scale (DQ)."""
    from onnx import helper

    given = constant.get(node.input[0])
    kind = constant[node.input[2 if node.op_type == Q else 1]].data_type
    if given is not None:
        return helper.make_tensor_type_proto(kind, given.dims).tensor_type
    like = type(helper.make_tensor_type_proto(kind, None).tensor_type)()
    if node.input[0] in known:
        like.CopyFrom(known[node.input[0]])
    like.elem_type = kind
    return like


def half_weights(model: ModelProto) -> list[str]:
    """The names of the half-precision initializers, sorted. The quantizer leaves them as they are."""
    return sorted(tensor.name for tensor in model.graph.initializer if tensor.data_type in _half())


def _half() -> set[int]:
    from onnx import TensorProto

    return {TensorProto.FLOAT16, TensorProto.BFLOAT16}


def _floats(model: ModelProto) -> set[str]:
    """Tensors of the outermost graph whose known type is float32 or half precision."""
    from onnx import TensorProto

    wanted = {TensorProto.FLOAT, *_half()}
    graph = model.graph
    infos = (*graph.input, *graph.output, *graph.value_info)
    typed = {info.name for info in infos if info.type.tensor_type.elem_type in wanted}
    return typed | {tensor.name for tensor in graph.initializer if tensor.data_type in wanted}


def quantised(model: ModelProto, preset: str = DEFAULT) -> set[int]:
    """The indices of the outermost graph's nodes that may compute on integers: quantisable, their float inputs out of DQ nodes.

    Only a third input, a bias, may stay in float. ``model`` must have its shapes inferred.
    """
    known, floats = set(operators(model, preset)), _floats(model)
    dequantised = {name for node in model.graph.node if node.op_type == DQ for name in node.output}

    def low(node: NodeProto) -> bool:
        raw = (floats & {*node.input[:2]}) - dequantised
        return node.op_type in known and not raw and bool(dequantised & {*node.input})

    return {index for index, node in enumerate(model.graph.node) if low(node)}
