"""Takes in a finished .onnx file: external data inlined, oddities mended, what cannot run refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, source

INPUTS = ("model",)
PARAMS = ("file",)
OUTPUTS = ("model.onnx",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``, and ``repaired``: ``{repair: names or how many}``, those that changed something."""
    model, repaired = source.mended(inputs["model"], params["file"])
    model = canon.save(model, out / "model.onnx")
    return canon.describe(model) | {"repaired": repaired}
