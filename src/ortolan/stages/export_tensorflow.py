"""Converts a SavedModel, a frozen graph, a Keras model or a TFLite model to ONNX by tf2onnx, under the signature's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import confine, tf_export

INPUTS = ("source",)
PARAMS = ("kind", "file", "how", "layout", "inputs", "outputs", "opset")
OUTPUTS = ("model.onnx",)
CPU = True  # TensorFlow folds constants, with the kernels that the processor has


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``; ``emitted_opset``; ``confined``: what kept the model's operators and code in.

    Where there is something to say: ``signature``, ``class`` (Keras), ``quantised`` (TFLite: tensors by type), ``defaults``
    (placeholders that became their default) and ``turned``, the inputs that are in NCHW now.
    """
    by = confine.enter(out)
    return tf_export.export(inputs["source"], params, out / "model.onnx") | {"confined": by}
