"""Runs the original .onnx file on the samples and keeps every tensor of its main graph, to find where a later form diverges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import reference, tensors

INPUTS = ("model+", "samples")
PARAMS = ("file", "inline")
OUTPUTS = ("tensors.npz",)
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: as ``reference_onnx``, and ``tensors``: how many tensors each sample has."""
    session, facts = reference.open_original(inputs["model"], params["file"], params["inline"], every_tensor=True)
    traced = reference.run_all(session, tensors.read_samples(inputs["samples"]))
    tensors.write_samples(out / "tensors.npz", traced)
    return facts | {"tensors": len(traced[0]) if traced else 0}
