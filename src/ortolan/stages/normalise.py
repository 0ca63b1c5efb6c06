"""Brings a model to the recipe's opset and its canonical form: the bytes whose digest is the model hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, convert, down_convert, qdq_scheme, repair

INPUTS = ("model",)
PARAMS = ("opset",)
OUTPUTS = ("model.onnx",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``; ``given``, ``asked`` and ``found``: the opset before, wanted and after.

    ``quantised``: ``qdq_scheme.describe``, of a model that comes quantised.
    """
    model = canon.parse(inputs["model"])
    given = down_convert.opset(model)
    repair.mend(model)
    model = canon.save(convert.to_opset(canon.canonical(model), params["opset"]), out / "model.onnx")
    opsets = {"given": given, "asked": params["opset"], "found": down_convert.opset(model)}
    quantised = qdq_scheme.describe(model)
    return canon.describe(model) | opsets | ({"quantised": quantised} if quantised else {})
