"""Writes metadata into a model, so that a device can tell which build it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, class_names

INPUTS = ("model",)
PARAMS = ("metadata",)
OUTPUTS = ("model.onnx",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``metadata`` (``{key: text}``) and the names of classes replace all metadata of the model.

    Facts: those of ``canon.describe``, ``metadata``.
    """
    model = canon.parse(inputs["model"])
    told = {**params["metadata"], **class_names.metadata(model)}
    return canon.describe(canon.save(model, out / "model.onnx", told)) | {"metadata": told}
