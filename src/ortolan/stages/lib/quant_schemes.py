"""The schemes of ``[quantize]`` by name, as the search for sensitive layers applies them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import half, quant_dynamic, quant_static, quant_weights
from .ranges import Range

if TYPE_CHECKING:
    from onnx import ModelProto

    from .lowering import Prepared


def prepare(scheme: str, model: ModelProto, measured: Mapping[str, Range], how: Mapping[str, Any]) -> Prepared:
    """A model ready to be lowered by a scheme; ``how`` are the parameters of the scheme's own stage."""
    if scheme == "static":
        return quant_static.prepare(model, measured, how)
    if scheme == "fp16":
        return half.prepare(model, measured, how)
    return {"dynamic": quant_dynamic.prepare, "weight-only": quant_weights.prepare}[scheme](model, how)
