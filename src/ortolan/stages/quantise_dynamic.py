"""Quantises weights to 8 bits and leaves the ranges of activations to each run; counts what became of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, lowering, quant_dynamic

INPUTS = ("model",)
PARAMS = ("weights", "per_channel", "convolutions", "exclude", "float_operators")
OUTPUTS = ("model.onnx",)
CPU = False


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``lowering.facts`` and ``lowering.told``; ``convolution_share``: of MACs, in quantised Conv nodes."""
    prepared = quant_dynamic.prepare(canon.load(inputs["model"]), params)
    counted, operators = lowering.per_node(prepared.model), {node.name: node.op_type for node in prepared.model.graph.node}
    whole = type(prepared.model).FromString(prepared.model.SerializeToString())
    made = prepared.lower(whole, prepared.left)
    layers = prepared.layers(made)
    canon.save(made, out / "model.onnx")
    facts = lowering.facts(prepared, counted, layers)
    slow = sum(counted[name] or 0 for name in layers if operators[name] == quant_dynamic.CONVOLUTION)
    return {**facts, **lowering.told(prepared), "convolution_share": slow / facts["macs"] if facts["macs"] else 0.0}
