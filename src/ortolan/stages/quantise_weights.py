"""Quantises the constant weights of matrix products to 4 or 8 bits in blocks; counts what became of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, lowering, quant_weights

INPUTS = ("model",)
PARAMS = ("bits", "block_size", "accuracy_level", "exclude", "float_operators")
OUTPUTS = ("model.onnx",)
CPU = True  # the blocks' scales are computed by ONNX Runtime's kernels


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``lowering.facts`` and ``lowering.told``; ``size`` and ``float_size`` in bytes."""
    prepared = quant_weights.prepare(canon.load(inputs["model"]), params)
    counted = lowering.per_node(prepared.model)
    made = prepared.lower(type(prepared.model).FromString(prepared.model.SerializeToString()), prepared.left)
    layers = prepared.layers(made)
    canon.save(made, out / "model.onnx")
    sizes = {"size": (out / "model.onnx").stat().st_size, "float_size": inputs["model"].stat().st_size}
    return {**lowering.facts(prepared, counted, layers), **lowering.told(prepared), **sizes}
