"""Asks TensorRT-RTX's own ONNX parser which nodes of a model it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, evidence, signature, trt_load, trt_parser, trt_qdq, trt_types

if TYPE_CHECKING:
    from onnx import NodeProto

INPUTS = ("model",)
PARAMS = ("provider",)
OUTPUTS = ("evidence.json",)

_DOUBLE = "float64, which TensorRT computes as float32"


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``evidence.write``. The level is ``accepted``: only a build proves more."""
    trt = trt_load.load()
    model = canon.load(inputs["model"])
    refused = trt_parser.verdicts(trt, model)
    misread = trt_qdq.by_node(model)
    doubles = set(trt_types.doubles(model))
    sparse = {tensor.values.name for tensor in model.graph.sparse_initializer}
    verdicts = []
    for index, node in enumerate(model.graph.node):
        note = _DOUBLE if doubles & {*node.input, *node.output} else ""
        if index in misread:
            verdicts.append(evidence.Verdict(evidence.UNSUPPORTED, misread[index], trt_qdq.FIX))
        elif refused[index] and node.op_type != "Constant":  # a value, and no computation
            verdicts.append(evidence.Verdict(evidence.UNSUPPORTED, refused[index], _fix(node, sparse)))
        else:
            verdicts.append(evidence.Verdict(evidence.ACCEPTED, note))
    source = f"the ONNX parser of TensorRT-RTX {trt.__version__}"
    return evidence.write(out / "evidence.json", evidence.Evidence(params["provider"]["name"], source, verdicts))


def _fix(node: NodeProto, sparse: set[str]) -> str:
    if signature.domain(node.domain) != signature.DEFAULT_DOMAIN:
        return f"write {node.op_type} with operators of ai.onnx"
    if node.op_type in {"NonZero", "Unique", "Compress"}:
        return "its output's size depends on values: leave it to the CPU, or mask in place of selecting"
    if node.op_type.startswith("Sequence"):
        return "use Split, Concat or Slice in place of a sequence"
    return "make its sparse weights dense" if sparse & {*node.input} else ""
