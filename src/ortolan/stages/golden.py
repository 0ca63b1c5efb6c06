"""Runs the model that ships on the samples: what its engines, packages and snippets are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import raw, reference, sessions, tensors

INPUTS = ("model+", "samples")
PARAMS = ("session",)
OUTPUTS = ("golden.npz", "golden.bin", "golden.json")
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``session``: the recipe's settings; None runs the model as it is written.

    That is without graph optimisation, as fused INT8 kernels of some processors saturate. ``golden.npz`` has the outputs, keyed
    ``<sample>/<output>``; ``golden.bin`` inputs and outputs as raw bytes, ``golden.json`` where in it each lies. Facts: that
    header, and ``runtime``, the version of ONNX Runtime.
    """
    import onnxruntime as ort

    samples = tensors.read_samples(inputs["samples"])
    session = sessions.open_session(inputs["model"], session=params["session"] or reference.PLAIN)
    results = reference.run_all(session, samples)
    tensors.write_samples(out / "golden.npz", results)
    return raw.write(out / "golden.bin", out / "golden.json", samples, results) | {"runtime": ort.__version__}
