"""Runs the original .onnx file on the samples: what every later form of the model is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import reference, tensors

INPUTS = ("model+", "samples")
PARAMS = ("file", "inline")
OUTPUTS = ("outputs.npz",)
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: ``ran`` is ``original`` or ``mended``; with ``mended``, ``why`` is what ONNX Runtime said to the original."""
    session, facts = reference.open_original(inputs["model"], params["file"], params["inline"], every_tensor=False)
    tensors.write_samples(out / "outputs.npz", reference.run_all(session, tensors.read_samples(inputs["samples"])))
    return facts
