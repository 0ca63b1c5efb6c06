"""Asks onnx's checker and shape inference about a model and reports what they say; it judges nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .lib import canon, checked
from .lib.transient import reraise_if_transient

INPUTS = ("model",)
PARAMS = ()
OUTPUTS = ()


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Facts: those of ``canon.describe``; ``checker``, ``full_check``, ``shape_inference``: what each says, empty when content.

    The checker alone is too strict for a gate: many models without an output shape fail it and run well.
    """
    from onnx import shape_inference

    model = canon.parse(inputs["model"])
    return canon.describe(model) | {
        "checker": _verdict(lambda: checked.check(model)),
        "full_check": _verdict(lambda: checked.check(model, full_check=True)),
        "shape_inference": _verdict(lambda: shape_inference.infer_shapes(model, check_type=True, strict_mode=True)),
    }


def _verdict(ask: Callable[[], object]) -> str:
    try:
        ask()
    except Exception as error:  # noqa: BLE001  whatever they raise is their verdict
        reraise_if_transient(error)
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return ""
