"""Keeps what happens inside a converted estimator: its steps' own values, and ONNX's reference implementation's elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, confine, est_answers, est_trace, estimators, tensors

INPUTS = ("source", "model", "samples")
PARAMS = ("framework", "file", "trust", "inputs")
OUTPUTS = ("tensors.npz",)
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: ``tensors``: how many of the main graph's have a value; ``matched``: how many of these the estimator itself gave."""
    by = confine.enter(out) if params["framework"] in estimators.OBJECTS else {}
    opened = estimators.open_model(params["framework"], inputs["source"], params["file"], params["inputs"], trust=params["trust"])
    model, samples = canon.load(inputs["model"]), tensors.read_samples(inputs["samples"])
    own = [
        est_trace.steps(opened, model, sample) | answer
        for sample, answer in zip(samples, est_answers.answers(opened, model, samples), strict=True)
    ]
    traced = [est_trace.reference(model, sample) | values for sample, values in zip(samples, own, strict=True)]
    tensors.write_samples(out / "tensors.npz", traced)
    return {"tensors": len(traced[0]), "matched": len(own[0])} | ({"confined": by} if by else {})
