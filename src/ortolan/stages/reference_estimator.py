"""Asks a fitted scikit-learn, XGBoost or LightGBM model itself: what every runtime's outputs are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, confine, est_answers, estimators, tensors

INPUTS = ("source", "model", "samples")
PARAMS = ("framework", "file", "trust", "inputs")
OUTPUTS = ("outputs.npz",)
CPU = True  # numpy and the frameworks pick kernels by processor


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    by = confine.enter(out) if params["framework"] in estimators.OBJECTS else {}
    opened = estimators.open_model(params["framework"], inputs["source"], params["file"], params["inputs"], trust=params["trust"])
    samples = tensors.read_samples(inputs["samples"])
    tensors.write_samples(out / "outputs.npz", est_answers.answers(opened, canon.load(inputs["model"]), samples))
    return {"confined": by} if by else {}
