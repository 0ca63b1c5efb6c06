"""Writes metadata into a model, so that a device can tell which build it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon

INPUTS = ("model",)
PARAMS = ("metadata",)
OUTPUTS = ("model.onnx",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``metadata`` (``{key: text}``) replaces all metadata of the model. Facts: those of ``canon.describe``, ``metadata``."""
    model = canon.save(canon.parse(inputs["model"]), out / "model.onnx", params["metadata"])
    return canon.describe(model) | {"metadata": dict(params["metadata"])}
