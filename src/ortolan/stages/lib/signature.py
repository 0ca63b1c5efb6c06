"""What a model is: its IR, opsets, inputs, outputs and operators, as plain JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from . import graphs

if TYPE_CHECKING:
    from onnx import ModelProto, TypeProto, ValueInfoProto

DEFAULT_DOMAIN = "ai.onnx"
WEIGHTS = "ortolan.weights"
"""The metadata entry of a model whose weights stand in a file beside it: that file's digest."""


def domain(name: str) -> str:
    """A domain's full name: the empty one is ``ai.onnx``."""
    return name or DEFAULT_DOMAIN


def opsets(model: ModelProto) -> dict[str, int]:
    """``{domain: version}``, sorted by domain."""
    return dict(sorted((domain(entry.domain), int(entry.version)) for entry in model.opset_import))


def inputs(model: ModelProto) -> list[ValueInfoProto]:
    """What a caller feeds: the graph's inputs less its initializers."""
    constant = graphs.initializers(model.graph)
    return [value for value in model.graph.input if value.name not in constant]


def dtype_name(elem_type: int) -> str:
    """The numpy name of an ONNX element type: ``float32``, ``bfloat16``; ``str`` for strings, ``undefined`` for none."""
    from onnx import TensorProto, helper

    if elem_type == TensorProto.UNDEFINED:
        return "undefined"
    return "str" if elem_type == TensorProto.STRING else str(helper.tensor_dtype_to_np_dtype(elem_type).name)


def type_name(kind: TypeProto) -> str:
    """``float32`` for a tensor, ``sequence(float32)``, ``map(int64, float32)``, ``optional(…)`` or ``sparse(…)`` for the rest."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return dtype_name(kind.tensor_type.elem_type)
    if which == "sparse_tensor_type":
        return f"sparse({dtype_name(kind.sparse_tensor_type.elem_type)})"
    if which == "map_type":
        return f"map({dtype_name(kind.map_type.key_type)}, {type_name(kind.map_type.value_type)})"
    if which in {"sequence_type", "optional_type"}:
        return f"{which.removesuffix('_type')}({type_name(getattr(kind, which).elem_type)})"
    return "undefined"


def shape(value: ValueInfoProto) -> list[int | str | None] | None:
    """The axes: a size, a name, or ``None`` where the file says neither; ``None`` for an unknown rank."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [
        int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else (dim.dim_param or None)
        for dim in value.type.tensor_type.shape.dim
    ]


def value(info: ValueInfoProto) -> dict[str, Any]:
    """``{"name", "dtype", "shape"}`` of one input or output."""
    return {"name": info.name, "dtype": type_name(info.type), "shape": shape(info)}


def operators(model: ModelProto) -> dict[str, int]:
    """How often each operator occurs, nested graphs and functions included; ``domain:Op`` outside ``ai.onnx``."""
    names = (f"{n.domain}:{n.op_type}" if domain(n.domain) != DEFAULT_DOMAIN else n.op_type for n in graphs.nodes(model))
    return dict(sorted(Counter(names).items()))


def describe(model: ModelProto) -> dict[str, Any]:
    """``{"ir", "opsets", "inputs", "outputs", "operators"}``; dtypes by their numpy names, shapes as ``shape`` gives them.

    And ``weights_file``, the digest of the file that holds its large initializers, for a model that has one.
    """
    return ({"weights_file": digest} if (digest := weights(model)) else {}) | {
        "ir": int(model.ir_version),
        "opsets": opsets(model),
        "inputs": [value(info) for info in inputs(model)],
        "outputs": [value(info) for info in model.graph.output],
        "operators": operators(model),
    }


def weights(model: ModelProto) -> str:
    """The digest of the file in which we keep a model's large initializers; empty where they stand in the model itself."""
    return next((str(entry.value) for entry in model.metadata_props if entry.key == WEIGHTS), "")


def shapes(model: ModelProto) -> dict[str, list[int | str | None] | None]:
    """The shape of every tensor of the main graph and the graphs nested in it, as far as onnx's shape inference finds it."""
    from onnx import shape_inference

    found: dict[str, list[int | str | None] | None] = {}
    for graph in graphs.graphs(shape_inference.infer_shapes(model, data_prop=True).graph):
        found |= {info.name: shape(info) for info in (*graph.input, *graph.value_info, *graph.output)}
        found |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return found
