"""Converts a SavedModel, a frozen graph, a Keras model or a TFLite model to ONNX by tf2onnx, under the signature's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, confine, down_convert, tf_finish, tf_open, tf_port

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
    opened, told = tf_open.open_model(inputs["source"], params)
    turned = tf_port.turned(opened.inputs, params["layout"])
    model = opened.convert(params["opset"], turned)
    emitted = down_convert.opset(model)
    model = tf_finish.finish(model, (opened.inputs, opened.outputs), turned, params["inputs"], params["outputs"])
    model = canon.save(model, out / "model.onnx")
    told |= {"turned": [port.name for port in turned]} if turned else {}
    return canon.describe(model) | told | {"emitted_opset": emitted, "confined": by}
