"""Weight-only quantisation: MatMul's constant weights in 4 or 8 bits, in blocks with a scale each; activations stay float."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import external, lowering, quant_nodes, quant_repairs
from .lowering import Prepared
from .quant_runs import quantizing

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto


_OWN = "com.microsoft"
_APART = "it transposes weights that stand in a file of their own"


def prepare(model: ModelProto, params: Mapping[str, Any], beside: Path | None = None) -> Prepared:
    """A MatMul for each Gemm, which MatMulNBits is for. ``beside``: the folder of the external data, for a model with some."""
    model = lowering.ready(model)
    before = lowering.operators(model)
    repairs = quant_repairs.split_gemms(model)
    model = quant_nodes.inferred(model) if repairs else model
    chosen, unknown = lowering.chosen(model, params)
    inside = {tensor.name: tensor for tensor in model.graph.initializer}
    left = {node.name: _APART for node in model.graph.node if quant_repairs.turns_apart(node, inside)} | chosen

    def lower(given: ModelProto, excluded: Collection[str]) -> ModelProto:
        if beside and external.stored_outside(given):
            return _one_by_one(given, excluded, params, beside)
        return _quantised(given, sorted(excluded), params)

    def layers(made: ModelProto) -> list[str]:
        made_of = {node.name for node in made.graph.node if node.op_type == "MatMulNBits"}
        return [node.name for node in model.graph.node if f"{node.name}_Q{params['bits']}" in made_of]

    return Prepared(model, left, lower, layers, repairs, quant_nodes.half_weights(model), unknown, before)


def _one_by_one(model: ModelProto, excluded: Collection[str], params: Mapping[str, Any], beside: Path) -> ModelProto:
    """The model with its products quantised each in a model of its own: the weights of one at a time are in memory."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    ranks = {info.name: info for info in (*model.graph.input, *model.graph.value_info)}
    nodes: list[NodeProto] = []
    known = set(weights)
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights or node.name in excluded:
            nodes.append(node)
            continue
        made = _quantised(_alone(node, model, weights[node.input[1]], ranks.get(node.input[0]), beside), [], params).graph
        nodes += _copies(made.node)
        model.graph.initializer.extend(tensor for tensor in made.initializer if tensor.name not in known)
        known |= {tensor.name for tensor in made.initializer}
    nodes = _copies(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if all(entry.domain != _OWN for entry in model.opset_import):
        model.opset_import.add(domain=_OWN, version=1)
    return model


def _copies(nodes: Iterable[NodeProto]) -> list[NodeProto]:
    """Nodes that stand alone: one of a model keeps all of that in memory, its weights too."""
    return [type(node).FromString(node.SerializeToString()) for node in nodes]


def _alone(node: NodeProto, model: ModelProto, weight: TensorProto, fed: ValueInfoProto | None, beside: Path) -> ModelProto:
    """A model of one node with its weights inside; ``fed`` tells the rank of what it multiplies."""
    made = type(model)(ir_version=model.ir_version, opset_import=model.opset_import)
    made.graph.node.append(node)
    made.graph.input.extend([fed] if fed else [])
    made.graph.initializer.append(weight)
    external.inline(made, beside)
    return made


def _quantised(model: ModelProto, excluded: list[str], params: Mapping[str, Any]) -> ModelProto:
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    nbits.logger.setLevel(logging.WARNING)
    with quantizing():
        quantizer = nbits.MatMulNBitsQuantizer(
            model,
            bits=params["bits"],
            block_size=params["block_size"],
            accuracy_level=params["accuracy_level"] or None,
            nodes_to_exclude=excluded,
            op_types_to_quantize=("MatMul",),
        )
        quantizer.process()
    made: ModelProto = quantizer.model.model
    _once(made)
    return made


def _once(model: ModelProto) -> None:
    """Weights that several nodes share were quantised for each; keep one of each name."""
    seen: set[str] = set()
    for index in reversed(range(len(model.graph.initializer))):
        name = model.graph.initializer[index].name
        if name in seen:
            del model.graph.initializer[index]
        seen.add(name)
