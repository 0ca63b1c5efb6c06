"""Weight-only quantisation: MatMul's constant weights in 4 or 8 bits, in blocks with a scale each; activations stay float."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from . import lowering, quant_nodes, quant_repairs
from .lowering import Prepared
from .quant_runs import quantizing

if TYPE_CHECKING:
    from onnx import ModelProto


def prepare(model: ModelProto, params: Mapping[str, Any]) -> Prepared:
    """A MatMul for each Gemm, which MatMulNBits is for."""
    model = lowering.ready(model)
    before = lowering.operators(model)
    repairs = quant_repairs.split_gemms(model)
    model = quant_nodes.inferred(model) if repairs else model
    left, unknown = lowering.chosen(model, params)

    def lower(given: ModelProto, excluded: Collection[str]) -> ModelProto:
        return _quantised(given, sorted(excluded), params)

    def layers(made: ModelProto) -> list[str]:
        made_of = {node.name for node in made.graph.node if node.op_type == "MatMulNBits"}
        return [node.name for node in model.graph.node if f"{node.name}_Q{params['bits']}" in made_of]

    return Prepared(model, left, lower, layers, repairs, quant_nodes.half_weights(model), unknown, before)


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
