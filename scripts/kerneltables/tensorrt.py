"""What TensorRT's ONNX parser takes, by the table in its own repository: onnx-tensorrt, docs/operators.md."""

from __future__ import annotations

import re

from .table import LISTED, Form, Table

_KINDS = {
    "FP32": "float", "FP16": "float16", "BF16": "bfloat16", "INT32": "int32", "INT64": "int64", "INF64": "int64", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool", "FP8": "float8e4m3fn", "INT4": "int4",
}  # fmt: skip
_OPSETS = re.compile(r"inclusive range of opset (\d+) to opset (\d+)")
_BY_OUTPUT = {"Constant", "ConstantOfShape", "EyeLike", "If", "Loop", "RandomNormal", "RandomUniform", "Scan"}
_SPATIAL = ("rank 0 4 5",)
_AXES = ("constant 1",)
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_MODES = "half_pixel pytorch_half_pixel tf_half_pixel_for_nn asymmetric align_corners"
_RULES: dict[str, tuple[tuple[str, ...], str]] = {
    "AveragePool": (_SPATIAL, "dilations of 1"),
    "Constant": ((), "no sparse or text values"),
    "CumSum": (_AXES, ""),
    "DeformConv": (("rank 0 3 4",), "equal pads at both ends of an axis"),
    "DequantizeLinear": (("zero 2",), ""),
    "Dropout": (("constant 2",), "not in training mode"),
    "EyeLike": (("fixed 0",), ""),
    "GRU": ((), "the same activations in both directions"),
    "GridSample": (("rank 0 4",), ""),
    "Hardmax": ((), "the size along its axis known when the engine is built"),
    "If": ((), "both branches giving outputs of equal rank and other names"),
    "LSTM": (("attribute input_forget 0", "attribute layout 0"), "the same activations in both directions"),
    "LayerNormalization": (("without 1 2",), ""),
    "Loop": ((), "fixed lengths of scan outputs, and carried shapes that stay"),
    "LpPool": ((), "dilations of 1"),
    "MaxPool": ((*_SPATIAL, "without 1"), "dilations of 1"),
    "OneHot": (_AXES, ""),
    "Pad": (("constant 3",), ""),
    "QuantizeLinear": (("zero 2", "type_out 0 int8 float8e4m3fn int4"), ""),
    "RNN": ((), "the same activations in both directions"),
    "RandomNormal": ((), "no use of its seed"),
    "RandomNormalLike": ((), "no use of its seed"),
    "RandomUniform": ((), "no use of its seed"),
    "RandomUniformLike": ((), "no use of its seed"),
    **{f"Reduce{kind}": (_AXES, "") for kind in _REDUCTIONS},
    "Resize": (
        (
            f"attribute coordinate_transformation_mode {_MODES}",
            "attribute mode nearest linear",
            "attribute nearest_mode floor ceil round_prefer_floor round_prefer_ceil",
            "attribute keep_aspect_ratio_policy stretch",
            "attribute antialias 0",
        ),
        "scales for all axes in their order",
    ),
    "ScatterND": (("attribute reduction none",), ""),
    "Slice": (("constant 3",), ""),
    "Squeeze": (_AXES, ""),
    "TopK": (("attribute sorted 1",), "a K below 3840"),
    "Unsqueeze": (_AXES, ""),
}  # fmt: skip


def from_document(text: str, release: str, version: str) -> Table:
    """The table of the TensorRT provider from ``version`` of ONNX Runtime on, out of the document of an onnx-tensorrt release.

    Raises ``ValueError`` for a restriction or a type that this script does not know: it must be put into rules first.
    """
    opsets = _OPSETS.search(text)
    if not opsets:
        raise ValueError("the document does not say which opsets it is about")
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in text.splitlines() if line.startswith("| ")]
    taken = [row for row in rows if len(row) > 2 and row[1].startswith("Y")]
    return Table(
        provider="TensorrtExecutionProvider",
        version=version,
        software=f"the operators of onnx-tensorrt {release}",
        level=LISTED,
        made=f"scripts/kernels.py tensorrt DOCUMENT {release} {version}",
        sources=[f"github.com/onnx/onnx-tensorrt, release/{release}, docs/operators.md"],
        operators={"": {f"ai.onnx:{row[0]}": [_form(row)] for row in taken}},
        opsets={"ai.onnx": int(opsets[2])},
    )


def _form(row: list[str]) -> Form:
    op, _, types, *rest = row
    restriction = rest[0].strip() if rest else ""
    if restriction and op not in _RULES:
        raise ValueError(f"{op} has a restriction that has no rule yet: {restriction}")
    rules, note = _RULES.get(op, ((), "")) if restriction else ((), "")
    kinds = frozenset(_KINDS[name] for name in re.split(r"[,\s]+", types) if name)
    return Form(1, None, {"out 0" if op in _BY_OUTPUT else "in 0": kinds}, rules, note)
