"""The element types of a model that matter to TensorRT: float64, which it narrows in silence, and half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto


def doubles(model: ModelProto) -> list[str]:
    """The tensors of the main graph known to be float64, sorted. Measured with TensorRT-RTX 1.7.1: it takes them for float32."""
    from onnx import TensorProto

    return _of_type(model, TensorProto.DOUBLE)


def half(model: ModelProto) -> bool:
    """Whether the model computes in half precision: an input or a weight is float16."""
    from onnx import TensorProto

    return bool(_of_type(model, TensorProto.FLOAT16))


def _of_type(model: ModelProto, kind: int) -> list[str]:
    graph = model.graph
    infos = (*graph.input, *graph.value_info, *graph.output)
    found = {info.name for info in infos if info.type.tensor_type.elem_type == kind}
    return sorted(found | {tensor.name for tensor in graph.initializer if tensor.data_type == kind})
