"""Makes a model of one operator: a reduced runtime that was built without it must refuse it in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

INPUTS = ()
PARAMS = ("operator", "opset")
OUTPUTS = ("model.onnx",)

UNARY = ("Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Ceil", "Erf", "Softsign")
"""Operators of one float tensor that ONNX Runtime computes on every CPU."""
_IR = 8


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """``operator`` is one of ``UNARY``, at the ``opset`` of the target. No facts."""
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, 4]) for end in ("x", "y"))
    graph = helper.make_graph([helper.make_node(params["operator"], ["x"], ["y"], name="outside")], "outside", [x], [y])
    opset = helper.make_opsetid("", params["opset"])
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=_IR), out / "model.onnx")
    return {}
