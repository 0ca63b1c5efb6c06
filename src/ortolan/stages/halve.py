"""Turns a model to half precision but for the nodes that float16 cannot serve; counts what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, half, lowering, ranges, weights

INPUTS = ("model+", "ranges")
PARAMS = ("float_io", "exclude", "float_operators")
OUTPUTS = ("model.onnx", "model.onnx.data?")
CPU = False


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``float_io``: inputs and outputs stay float32. Facts: as ``quantise_weights``; what would overflow stays in float32."""
    beside = inputs["model"].parent
    prepared = half.prepare(canon.parse(inputs["model"]), ranges.read(inputs["ranges"]), params, beside)
    counted = lowering.per_node(prepared.model)
    made = prepared.lower(type(prepared.model).FromString(prepared.model.SerializeToString()), prepared.left)
    layers = prepared.layers(made)
    made = weights.keep(made, beside, out / "model.onnx")
    sizes = {"size": weights.size(out / "model.onnx"), "float_size": weights.size(inputs["model"])}
    return {**lowering.facts(prepared, counted, layers), **lowering.told(prepared), **sizes, **weights.told(made)}
