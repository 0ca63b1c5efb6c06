"""Runs the model that ships, as it is written, on the samples: what its engines and packages are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import reference, sessions, tensors

INPUTS = ("model", "samples")
PARAMS = ()
OUTPUTS = ("golden.npz",)
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """On the CPU without graph optimisation: fused INT8 kernels of some processors saturate. Facts: ``runtime``, ``samples``."""
    import onnxruntime as ort

    samples = tensors.read_samples(inputs["samples"])
    results = reference.run_all(sessions.open_session(inputs["model"], session=reference.PLAIN), samples)
    tensors.write_samples(out / "golden.npz", results)
    return {"runtime": ort.__version__, "samples": len(samples)}
