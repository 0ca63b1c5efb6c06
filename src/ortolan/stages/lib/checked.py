"""Asks onnx's checker about a model, also about one whose weights are not here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import external

if TYPE_CHECKING:
    from onnx import ModelProto


def check(model: ModelProto, *, full_check: bool = False) -> None:
    """Raise what ``onnx.checker.check_model`` raises.

    Of external data it only asks whether the file is there, so an empty one stands for it: whether the tensors fit their
    weights was seen when the model was taken in.
    """
    from onnx import checker

    outside = external.stored_outside(model)
    if not outside:
        checker.check_model(model, full_check=full_check)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}:
            Path(folder, name).touch()
        path = Path(folder, "model.onnx")
        path.write_bytes(model.SerializeToString())
        checker.check_model(str(path), full_check=full_check)
