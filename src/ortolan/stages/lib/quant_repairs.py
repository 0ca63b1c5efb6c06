"""Mends what ONNX Runtime's quantizers stumble over, and names what they cannot quantise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import external, graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def flatten_biases(model: ModelProto) -> tuple[list[str], list[str]]:
    """Give every constant bias of a Gemm the shape [N]: what was done, and the names of nodes whose bias has no such shape.

    ONNX lets a Gemm's bias be any shape that broadcasts to [M,N]; ONNX Runtime's quantizer takes [N] alone when it quantises
    per channel (onnxruntime issue 24815: ValueError, "ambiguous").
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    repairs, unfit = [], []
    for node in model.graph.node:
        bias = weights.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        width = _width(node, weights) if bias is not None else None
        if bias is None or width is None or list(bias.dims) == [width]:
            continue
        if all(size == 1 for size in bias.dims[:-1]) and (not bias.dims or bias.dims[-1] in {1, width}):
            node.input[2] = _flat(model, node, bias, width)
            repairs.append(f"{graphs.label(node)}: bias {list(bias.dims)} reshaped to [{width}]")
        else:
            unfit.append(node.name)
    return repairs, unfit


def _width(node: NodeProto, weights: Mapping[str, TensorProto]) -> int | None:
    """N of a Gemm with constant weights."""
    weight = weights.get(node.input[1])
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return int(weight.dims[0 if transposed else 1]) if weight is not None else None


def _flat(model: ModelProto, node: NodeProto, bias: TensorProto, width: int) -> str:
    """Add the bias as [width] under a name of its own, for other nodes may read the old one."""
    import numpy as np
    from onnx import numpy_helper

    taken = {tensor.name for tensor in model.graph.initializer}
    name = f"{bias.name}_flat"
    while name in taken:
        name = f"{node.name}_{name}"
    values = np.broadcast_to(numpy_helper.to_array(bias).reshape(-1), (width,))
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def grouped_transposes(model: ModelProto) -> dict[str, str]:
    """The weights of grouped ConvTranspose nodes, each with what is done about it.

    They are [C_in, C_out/group, ...]: no axis counts output channels, and the quantizer, which takes the second, raises
    ValueError ("could not be broadcast") at the bias.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        grouped = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
        if node.op_type == "ConvTranspose" and grouped and node.input[1] in weights:
            found[node.input[1]] = f"{graphs.label(node)}: grouped, so its weights are quantised per tensor"
    return found


def split_gemms(model: ModelProto) -> list[str]:
    """Make each plain Gemm with constant weights a MatMul of the same name, and an Add of its bias; what was done.

    The quantizers of MatMul's weights know no Gemm. ONNX Runtime's own replacement transposes weights in place, under the feet
    of other readers, and gives the MatMul a name by which nobody excludes it.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    done: list[str] = []
    for node in model.graph.node:
        plain = _plain(node) and node.input[1] in weights and not turns_apart(node, weights)
        nodes += _split(model, node, weights[node.input[1]]) if plain else [node]
        done += [f"{graphs.label(node)} becomes a MatMul"] if plain else []
    if done:
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
    return done


def turns_apart(node: NodeProto, weights: Mapping[str, TensorProto]) -> bool:
    """Whether a Gemm transposes weights that stand in another file: to split it they would have to be in memory."""
    turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return node.op_type == "Gemm" and turned and node.input[1] in weights and external.is_outside(weights[node.input[1]])


def _plain(node: NodeProto) -> bool:
    values = {attribute.name: attribute.f if attribute.name in {"alpha", "beta"} else attribute.i for attribute in node.attribute}
    return node.op_type == "Gemm" and values.get("alpha", 1) == values.get("beta", 1) == 1 and not values.get("transA", 0)


def _split(model: ModelProto, node: NodeProto, weight: TensorProto) -> list[NodeProto]:
    import numpy as np
    from onnx import helper, numpy_helper

    name, bias = weight.name, len(node.input) > 2 and node.input[2]
    if any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
        name = f"{weight.name}_transposed"
        if all(tensor.name != name for tensor in model.graph.initializer):
            turned = np.ascontiguousarray(numpy_helper.to_array(weight).T)
            model.graph.initializer.append(numpy_helper.from_array(turned, name))
    product = f"{node.output[0]}_product" if bias else node.output[0]
    made = [helper.make_node("MatMul", [node.input[0], name], [product], node.name)]
    return made + ([helper.make_node("Add", [product, bias], [node.output[0]], f"{node.name}_bias")] if bias else [])
