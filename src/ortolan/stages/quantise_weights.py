"""Quantises the constant weights of matrix products to 4 or 8 bits in blocks; counts what became of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, external, lowering, quant_weights, weights

INPUTS = ("model+",)
PARAMS = ("bits", "block_size", "accuracy_level", "exclude", "float_operators")
OUTPUTS = ("model.onnx", "model.onnx.data?")
CPU = True  # the blocks' scales are computed by ONNX Runtime's kernels


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``lowering.facts`` and ``lowering.told``; ``size`` and ``float_size`` in bytes.

    Of a model in two files the weights of one node at a time are in memory, beside what became of those before.
    """
    beside = inputs["model"].parent
    model = canon.parse(inputs["model"])
    apart = bool(external.stored_outside(model))
    prepared = quant_weights.prepare(model, params, beside)
    counted = lowering.per_node(prepared.model)
    made = prepared.lower(type(prepared.model).FromString(prepared.model.SerializeToString()), prepared.left)
    layers = prepared.layers(made)
    path = out / "model.onnx"
    made = weights.save(made, beside, path) if apart else canon.save(made, path)
    sizes = {"size": weights.size(path), "float_size": weights.size(inputs["model"])}
    return {**lowering.facts(prepared, counted, layers), **lowering.told(prepared), **sizes, **weights.told(made)}
