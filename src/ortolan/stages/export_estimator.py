"""Converts a fitted scikit-learn, XGBoost or LightGBM model to ONNX: tensors in, tensors out, classes as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, confine, down_convert, est_finish, estimators

INPUTS = ("source",)
PARAMS = ("framework", "file", "trust", "inputs", "outputs", "opset")
OUTPUTS = ("model.onnx",)
CPU = True  # a trusted pickle may compute


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``; ``estimator``: its class; ``classes``: labels that are texts, by number.

    ``confined`` says, of a file that holds objects, what kept their code in. ``emitted_opset`` is the converter's.
    """
    by = confine.enter(out) if params["framework"] in estimators.OBJECTS else {}
    opened = estimators.open_model(params["framework"], inputs["source"], params["file"], params["inputs"], trust=params["trust"])
    model = est_finish.finish(opened.convert(params["opset"]), opened.columns, opened.classes, params["outputs"], params["opset"])
    emitted = down_convert.opset(model)
    model = canon.save(model, out / "model.onnx")
    told: dict[str, Any] = {"estimator": type(opened.model).__name__, "emitted_opset": emitted}
    told |= {"classes": opened.classes} if opened.classes else {}
    return canon.describe(model) | told | ({"confined": by} if by else {})
