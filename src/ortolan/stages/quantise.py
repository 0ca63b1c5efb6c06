"""Quantises a model to QDQ from measured ranges, and counts what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, lowering, macs, quant_nodes, quant_static, ranges, trt_repair

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("model", "ranges")
PARAMS = ("preset", "activations", "weights", "per_channel", "symmetric_activations", "exclude", "float_operators")
OUTPUTS = ("model.onnx",)
CPU = False


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: ``qdq``, the Q and DQ nodes (0: nothing was quantised), ``nodes`` by operator, MACs, repairs, what stays float."""
    prepared = quant_static.prepare(canon.load(inputs["model"]), ranges.read(inputs["ranges"]), params)
    made = prepared.lower(prepared.model, prepared.left)
    scalars = trt_repair.give_axes(made) if params["symmetric_activations"] else []  # symmetric activations are for TensorRT
    made = canon.save(made, out / "model.onnx")
    told = lowering.told(prepared)
    told["repairs"] += [f"{name} gets an axis" for name in scalars]
    return {**_counts(made, prepared.before, params["preset"]), **told}


def _counts(model: ModelProto, before: Mapping[str, int], preset: str) -> dict[str, Any]:
    kinds = Counter(node.op_type for node in model.graph.node)
    model = quant_nodes.inferred(model)
    low = Counter(model.graph.node[index].op_type for index in quant_nodes.quantised(model, preset))
    counted = macs.count(model, preset)
    return {
        "qdq": kinds[quant_nodes.Q] + kinds[quant_nodes.DQ],
        "q": kinds[quant_nodes.Q],
        "dq": kinds[quant_nodes.DQ],
        "nodes": {op: {"quantised": low[op], "before": before.get(op, 0)} for op in sorted(low)},
        "macs": counted.total,
        "macs_quantised": counted.quantised,
        "macs_share": counted.share,
        "macs_uncounted": list(counted.uncounted),
    }
