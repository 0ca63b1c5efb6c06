"""Takes in a finished .onnx file: external data inlined or in one file, oddities mended, what cannot run refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, external, source, weights

INPUTS = ("model+",)
PARAMS = ("file", "inline")
OUTPUTS = ("model.onnx", "model.onnx.data?")


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``, and ``repaired``: ``{repair: names or how many}``, those that changed something.

    A model of more than ``inline`` bytes with its weights keeps those in a file of their own, ``model.onnx.data``.
    """
    model, repaired = source.mended(inputs["model"], params["file"], params["inline"])
    if external.stored_outside(model) or model.ByteSize() > params["inline"]:
        model = weights.save(model, source.find(inputs["model"], params["file"]).parent, out / "model.onnx")
    else:
        model = canon.save(model, out / "model.onnx")
    return canon.describe(model) | {"repaired": repaired}
