"""Fuses the patterns of a transformer into operators of ONNX Runtime's own: attention, normalisation, Gelu."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, external, fused_shapes, quant_nodes, signature
from .lib.refused import Refused
from .lib.sessions import first_line
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("model",)
PARAMS = ("family", "heads", "hidden")
OUTPUTS = ("model.onnx",)

_TYPES = {"bert": ("bert",), "vit": ("mmdit", "vit"), "whisper": ("bart",)}
"""Passes by onnxruntime.transformers' names for families: the first of ViT's knows its attention, the second the rest; Whisper's
encoder is BART's.
"""
_OWN = "com.microsoft"
_WITHOUT = "leave [optimise] out of the model's recipe"
_BETWEEN = "between.onnx"
_NORMALISATION = 17  # ONNX changelog: the opset that LayerNormalization came in


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``; ``fused``: ONNX Runtime's operators and how many; ``nodes``: before and after."""
    given = canon.parse(inputs["model"])
    if external.stored_outside(given):
        why = "the optimiser would hold its weights several times in memory"
        raise Refused("a model with its weights in a file of their own is not fused", why=why, hint=_WITHOUT)
    if (opset := signature.opsets(given).get("ai.onnx", 0)) < _NORMALISATION:
        why = f"it writes LayerNormalization, which ONNX has from opset {_NORMALISATION} on"
        hint = f"say opset = {_NORMALISATION} in the target's [runtime], or {_WITHOUT}"
        raise Refused(f"fusion needs opset {_NORMALISATION}, this model has {opset}", why=why, hint=hint)
    model = canon.save(_fused(inputs["model"], params, out), out / "model.onnx")
    before, after = signature.describe(given), canon.describe(model)
    if (before["inputs"], before["outputs"]) != (after["inputs"], after["outputs"]):
        raise Refused("fusion changed the inputs or outputs of the model", why=f"fusion = {params['family']}", hint=_WITHOUT)
    counts = {"before": sum(before["operators"].values()), "after": sum(after["operators"].values())}
    ours = {name.partition(":")[2]: count for name, count in after["operators"].items() if name.startswith(f"{_OWN}:")}
    return after | {"fused": ours, "nodes": counts}


def _fused(path: Path, params: Mapping[str, Any], work: Path) -> ModelProto:
    """The model after every pass of its family; each reads a file."""
    model = canon.load(path)
    for family in _TYPES[params["family"]]:
        (work / _BETWEEN).write_bytes(model.SerializeToString())
        model = _pass(work / _BETWEEN, family, params)
    (work / _BETWEEN).unlink()
    model = quant_nodes.inferred(model)
    fused_shapes.add(model.graph)
    return model


def _pass(path: Path, family: str, params: Mapping[str, Any]) -> ModelProto:
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    how = FusionOptions(family)
    how.use_raw_attention_mask(True)  # else a mask counts as a length, and one with gaps is silently wrong
    sizes = {"num_heads": params["heads"], "hidden_size": params["hidden"]}
    try:
        made = optimizer.optimize_model(str(path), family, **sizes, optimization_options=how, opt_level=0, use_gpu=False)
    except Exception as error:
        reraise_if_transient(error)
        why = f"{type(error).__name__}: {first_line(error)}"
        raise Refused("onnxruntime.transformers cannot fuse this model", why=why, hint=_WITHOUT) from error
    model: ModelProto = made.model
    if all(entry.domain != _OWN for entry in model.opset_import):  # it leaves that to its own way of saving
        model.opset_import.add(domain=_OWN, version=1)
    return model
