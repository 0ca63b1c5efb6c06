"""Which nodes ONNX Runtime's quantizer may touch, and which activations it needs ranges for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from .weightless import without_weights

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Q, DQ = "QuantizeLinear", "DequantizeLinear"


def operators() -> list[str]:
    """The operators that ``quantize_static`` quantises when it is not told which, sorted."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QDQRegistry, *QLinearOpsRegistry})


def candidates(model: ModelProto) -> Iterator[NodeProto]:
    """The nodes that the quantizer looks at: those of its operators in the outermost graph."""
    known = set(operators())
    return (node for node in model.graph.node if node.op_type in known and node.domain in {"", "ai.onnx", "com.microsoft"})


def activations(model: ModelProto) -> list[str]:
    """The tensors that the quantizer may ask a range for, of any type: what candidates read and write, less initializers."""
    constant = {tensor.name for tensor in model.graph.initializer}
    names = {name for node in candidates(model) for name in (*node.input, *node.output) if name}
    return sorted(names - constant)


def unranged(model: ModelProto, ranged: Collection[str]) -> dict[str, list[str]]:
    """Candidates that must stay in float: ``{node: float tensors without a range}``. Half-precision tensors count as such."""
    floats = _floats(model)
    constant = {tensor.name for tensor in model.graph.initializer if tensor.data_type not in _half()}
    found = {}
    for node in candidates(model):
        missing = {name for name in (*node.input, *node.output) if name in floats and name not in constant} - set(ranged)
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


def quantised(model: ModelProto) -> set[int]:
    """The indices of the outermost graph's nodes that may compute on integers: quantisable, their float inputs out of DQ nodes.

    Only a third input, a bias, may stay in float. ``model`` must have its shapes inferred.
    """
    known, floats = set(operators()), _floats(model)
    dequantised = {name for node in model.graph.node if node.op_type == DQ for name in node.output}

    def low(node: NodeProto) -> bool:
        raw = (floats & {*node.input[:2]}) - dequantised
        return node.op_type in known and not raw and bool(dequantised & {*node.input})

    return {index for index, node in enumerate(model.graph.node) if low(node)}
