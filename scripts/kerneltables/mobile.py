"""What NNAPI and CoreML take, by the operator tables that the ONNX Runtime wheel carries for its usability checker.

The tables name operators and put restrictions in words; the restrictions that can be checked on a graph stand here as rules.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from . import wheel
from .table import LISTED, Form, Table

NEURAL_NETWORK, ML_PROGRAM = "NeuralNetwork", "MLProgram"
_FOLDER = "onnxruntime/tools/mobile_helpers"
_FILES = {NEURAL_NETWORK: "coreml_supported_neuralnetwork_ops.md", ML_PROGRAM: "coreml_supported_mlprogram_ops.md"}
_NAMES = {"ai.onnx:Argmax": "ai.onnx:ArgMax", "ai.onnx.ReduceSum": "ai.onnx:ReduceSum"}  # as the tables misspell them

Rules = tuple[tuple[str, ...], str]
_POOL: Rules = (("rank 0 4",), "")
_QUANTISED: Rules = (("constant 1 2",), "")
_NNAPI: dict[str, Rules] = {
    "AveragePool": _POOL,
    "Conv": (("rank 0 4", "constant 1 2"), ""),
    "DepthToSpace": (("attribute mode DCR",), ""),
    "DequantizeLinear": _QUANTISED,
    "Gather": (("constant 1",), ""),
    "Gemm": (("constant 1 | attribute transB 1",), ""),
    "GlobalAveragePool": _POOL,
    "GlobalMaxPool": _POOL,
    "MaxPool": _POOL,
    "Pad": (("constant 1 2", "attribute mode constant"), "no negative pads"),
    "QLinearAdd": (("constant 1 2 4 5 6 7",), ""),
    "QLinearAveragePool": (("rank 0 4", "constant 1 2 3 4"), ""),
    "QLinearConv": (("rank 0 4", "constant 1 2 3 4 5 6 7 8"), ""),
    "QLinearMatMul": (("constant 1 2 4 5 6 7",), ""),
    "QLinearSigmoid": (("constant 1 2 3 4",), ""),
    "QuantizeLinear": _QUANTISED,
    "Resize": (("rank 0 4",), ""),
    "Split": (("constant 1",), "parts of equal size"),
    "Squeeze": (("constant 1",), ""),
    "Unsqueeze": (("constant 1",), ""),
}
_NN: dict[str, Rules] = {
    "AveragePool": _POOL,
    "Conv": (("rank 0 3 4", "constant 1 2"), ""),
    "DepthToSpace": (("attribute mode DCR",), ""),
    "Gather": (("min_rank 1 1",), ""),
    "Gemm": (("constant 1",), ""),
    "GlobalAveragePool": _POOL,
    "GlobalMaxPool": _POOL,
    "MatMul": (("constant 1",), ""),
    "MaxPool": _POOL,
    "PRelu": (("constant 1",), "a slope of shape [C, 1, 1] or of one element"),
    "Pad": (("attribute mode constant", "constant 1 2 3"), "pads of the last two axes only"),
    "Pow": (("type 1 float",), ""),
    "Resize": (
        (
            "rank 0 4", "attribute coordinate_transformation_mode asymmetric", "attribute mode linear nearest",
            "attribute nearest_mode floor", "attribute exclude_outside 0", "constant 2 3",
        ),
        "",
    ),
    "Shape": (("attribute start 0", "no_attribute end"), ""),
    "Slice": (("constant 1 2 3 4",), "no empty slice"),
    "Split": (("constant 1",), ""),
}  # fmt: skip
_ML: dict[str, Rules] = {
    "And": (("type 0 bool", "type 1 bool"), ""),
    "AveragePool": _POOL,
    "Conv": (("rank 0 3 4", "constant 2"), ""),
    "ConvTranspose": (
        ("constant 1 2", "attribute auto_pad NOTSET VALID", "no_attribute output_shape"),
        "default kernel shape and output padding",
    ),
    "DepthToSpace": (("attribute mode DCR | fixed 0",), ""),
    "FusedConv": ((), "one of the activations that it knows"),
    "GatherND": (("attribute batch_dims 0",), ""),
    "Gemm": (("constant 1",), ""),
    "GlobalAveragePool": _POOL,
    "GlobalMaxPool": _POOL,
    "GridSample": (("rank 0 4",), "linear or nearest interpolation, and no reflection without aligned corners"),
    "MatMul": ((), ""),
    "MaxPool": _POOL,
    "Pow": (("type 1 float",), ""),
    "QuickGelu": ((), ""),
    "Reciprocal": ((), ""),
    "Resize": ((), "a combination of attributes that its converter knows"),
    "Slice": (("constant 1 2 3 4",), ""),
    "Split": (("constant 1",), ""),
    "Tile": (("max_rank 0 5",), ""),
    "Where": (("type 1 float float16",), ""),
}
_NNAPI_TYPES = frozenset({"float", "int32", "uint8", "int8"})  # its operands; int8 as weights only
_COREML_TYPES = frozenset({"float", "int32", "int64", "bool"})
_U8 = ("uint8,uint8", "uint8,int8")
_NNAPI_UNITS = {
    **{f"ai.onnx:{op}": _U8 for op in ("Conv", "Gemm", "MatMul")},
    **{f"ai.onnx:{op}": _U8[:1] for op in ("Add", "AveragePool", "Concat", "Mul", "Reshape", "Resize", "Softmax", "Transpose")},
}


def nnapi(folder: Path, release: str, version: str) -> Table:
    """NNAPI's table, out of the tables of ``onnxruntime`` ``release``, for fleets from ``version`` on."""
    name = "nnapi_supported_ops.md"
    return Table(
        provider="NnapiExecutionProvider",
        version=version,
        software=f"the NNAPI table of onnxruntime {release}",
        level=LISTED,
        made=f"scripts/kernels.py nnapi {release} {version}",
        sources=[
            f"{_FOLDER}/{name} of the wheel onnxruntime {release}; the wheels 1.17.3 to 1.31.1 carry the same",
            "fixed shapes: nnapi_builtin/builders/impl/base_op_builder.cc; units: nnapi_builtin/builders/helper.cc",
        ],
        operators={"": _forms((folder / name).read_text(), _NNAPI, _NNAPI_TYPES)},
        qdq="units",
        units=_NNAPI_UNITS,
        fixed=True,
    )


def coreml(folder: Path, release: str, version: str) -> Table:
    """CoreML's table with both forms of its models, out of the tables of ``onnxruntime`` ``release``."""
    files = {kind: folder / name for kind, name in _FILES.items()}
    operators = {
        NEURAL_NETWORK: _forms(files[NEURAL_NETWORK].read_text(), _NN, _COREML_TYPES),
        ML_PROGRAM: _forms(files[ML_PROGRAM].read_text(), _ML, _COREML_TYPES | {"float16"}),
    }
    return Table(
        provider="CoreMLExecutionProvider",
        version=version,
        software=f"the CoreML tables of onnxruntime {release}",
        level=LISTED,
        made=f"scripts/kernels.py coreml {release} {version}",
        sources=[
            *(f"{_FOLDER}/{name} of the wheel onnxruntime {release}" for name in _FILES.values()),
            f"{_FOLDER}/usability_checker.py: at most five axes; coreml/builders/impl/base_op_builder.cc: no Q/DQ groups",
            "docs/execution-providers/CoreML-ExecutionProvider.md: ModelFormat is NeuralNetwork unless MLProgram is asked for",
        ],
        operators=operators,
        qdq="none",
        fixed="RequireStaticInputShapes",
        max_rank=5,
        option={"name": "ModelFormat", "default": NEURAL_NETWORK},
    )


def from_package(kind: str, release: str, version: str) -> Table:
    """One of the two, out of the wheel of the package index."""
    with tempfile.TemporaryDirectory() as folder:
        interpreter = wheel.install(Path(folder) / "venv", "onnxruntime", release)
        return {"nnapi": nnapi, "coreml": coreml}[kind](tables(interpreter), release, version)


def tables(interpreter: Path) -> Path:
    """The folder of the tables in an environment."""
    return next(Path(os.path.abspath(interpreter)).parents[1].glob(f"lib/python*/site-packages/{_FOLDER}"))  # noqa: PTH100  no links


def _forms(text: str, rules: Mapping[str, Rules], kinds: frozenset[str]) -> dict[str, list[Form]]:
    found = {}
    for line in text.splitlines():
        cells = line.strip().split("|")
        name = _NAMES.get(cells[1], cells[1]) if len(cells) == 4 else ""
        if ":" in name and not name.startswith(":"):
            op = name.partition(":")[2]
            if cells[2] and op not in rules:
                raise ValueError(f"{op} has a restriction that has no rule yet: {cells[2]}")
            found[name] = [Form(1, None, {"in 0": kinds}, *(rules[op] if cells[2] else ((), "")))]
    return found
