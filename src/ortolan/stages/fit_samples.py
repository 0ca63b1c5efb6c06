"""Gives samples the types of a model's inputs or outputs: float16 where a model in half precision has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, tensors

INPUTS = ("model", "samples")
PARAMS = ("ends",)
OUTPUTS = ("samples.npz",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``ends``: ``inputs`` or ``outputs``, whose names the samples bear. Facts: ``halved``, those in float16."""
    described = canon.describe(canon.parse(inputs["model"]))[params["ends"]]
    halves = sorted(one["name"] for one in described if one["dtype"] == "float16")
    samples = [tensors.halved(sample, halves) for sample in tensors.read_samples(inputs["samples"])]
    tensors.write_samples(out / "samples.npz", samples)
    return {"halved": halves}
