"""What XNNPACK, Arm Compute Library and Arm NN take: facts read in ONNX Runtime's sources and documents, written down here.

None of them is in a wheel, so no program can be asked. Ranges are those of the registered kernels.
"""

from __future__ import annotations

from .table import LISTED, Form, Table

_F, _F16 = frozenset({"float"}), frozenset({"float", "float16"})
_FQ = frozenset({"float", "int8", "uint8"})
_Q = frozenset({"int8", "uint8"})
_IMAGE = ("rank 0 4", "known 0 1 2 3")  # an xnnpack kernel is made before the first run: channels, height and width stand fixed
_PADS = ("attribute auto_pad NOTSET VALID SAME_UPPER",)
_POOL = (*_IMAGE, *_PADS, "attribute ceil_mode 0", "not_attribute kernel_shape 1,1")
_CONV = (*_IMAGE, "rank 1 4", "constant 1 2", *_PADS)
_RESIZE = (
    "rank 0 4", "known 0 1", "attribute mode linear", "constant 2 3", "attribute antialias 0", "no_attribute axes",
    "attribute keep_aspect_ratio_policy stretch", "attribute exclude_outside 0",
    "attribute coordinate_transformation_mode asymmetric half_pixel align_corners pytorch_half_pixel",
)  # fmt: skip
_MATRIX = ("max_rank 0 2", "max_rank 1 2", "constant 1 2")
_SAME, _CHANNELS = "activations and weights of one type", "scales that leave channels alone"
_ACTIVATION = ("after Conv MaxPool AveragePool", "constant 1 2")


def _one(since: int, until: int | None, kinds: frozenset[str], rules: tuple[str, ...] = (), note: str = "") -> list[Form]:
    return [Form(since, until, {"in 0": kinds}, rules, note)]


def xnnpack() -> Table:
    """XNNPACK: about a dozen operators; Relu and Clip only where they fuse with what stands before them."""
    operators = {
        "ai.onnx:AveragePool": _one(7, 19, frozenset({"float", "uint8"}), (*_POOL, "attribute count_include_pad 0")),
        "ai.onnx:Clip": _one(6, 13, _F, _ACTIVATION),
        "ai.onnx:Conv": _one(1, 11, _FQ, _CONV),
        "ai.onnx:ConvTranspose": _one(1, 11, _FQ, _CONV),
        "ai.onnx:Gemm": _one(7, 13, _F, (*_MATRIX, "attribute alpha 1", "attribute beta 1")),
        "ai.onnx:MatMul": _one(1, 13, _F, _MATRIX),
        "ai.onnx:MaxPool": _one(8, 12, _FQ, (*_POOL, "without 1")),
        "ai.onnx:QLinearConv": _one(10, 10, _Q, (*_IMAGE, "constant 1 2 3 4 5 6 7 8", *_PADS), _SAME),
        "ai.onnx:Relu": _one(6, 14, _F, _ACTIVATION),
        "ai.onnx:Resize": [
            Form(10, 10, {"in 0": _FQ}, ("rank 0 4", "known 0 1", "attribute mode linear", "constant 1"), _CHANNELS),
            Form(11, 19, {"in 0": _FQ}, _RESIZE, _CHANNELS),
        ],
        "ai.onnx:Softmax": [
            Form(1, 12, {"in 0": frozenset({"float", "uint8"})}, (), "known sizes from its axis on"),
            Form(13, 13, {"in 0": frozenset({"float", "uint8"})}, ("last_axis", "known 0 -1")),
        ],
    }  # fmt: skip
    return Table(
        provider="XnnpackExecutionProvider",
        version="1.17.0",
        software="XNNPACK's list of operators",
        level=LISTED,
        made="scripts/kernels.py xnnpack",
        sources=[
            "docs/execution-providers/Xnnpack-ExecutionProvider.md, Supported ops",
            "onnxruntime/core/providers/xnnpack: kernel registrations, IsOnnxNodeSupported of each operator, detail/utils.cc",
        ],
        operators={"": operators},
        qdq="units",
        units={
            "ai.onnx:AveragePool": ("uint8,uint8",),
            "ai.onnx:Conv": ("int8,int8", "uint8,uint8"),
            "ai.onnx:ConvTranspose": ("int8,int8", "uint8,uint8"),
            "ai.onnx:MaxPool": ("int8,int8", "uint8,uint8"),
            "ai.onnx:Resize": ("int8,int8", "uint8,uint8"),
            "ai.onnx:Softmax": ("uint8,uint8",),
        },
    )  # fmt: skip


def acl() -> Table:
    """Arm Compute Library, as Arm left it in 2024."""
    conv = ("rank 0 4", "fixed 0")
    operators = {
        "ai.onnx:AveragePool": _one(7, 11, _F),
        "ai.onnx:BatchNormalization": _one(7, 9, _F),
        "ai.onnx:Concat": _one(4, 11, _F),
        "ai.onnx:Conv": _one(11, 11, _F16, conv),
        "ai.onnx:Gemm": _one(7, 11, _F),
        "ai.onnx:GlobalAveragePool": _one(1, 8, _F),
        "ai.onnx:GlobalMaxPool": _one(1, 8, _F),
        "ai.onnx:MatMul": _one(13, 13, _F16, ("fixed 0", "fixed 1"), "no broadcasting"),
        "ai.onnx:MaxPool": _one(1, 12, _F),
        "ai.onnx:QLinearConv": _one(10, 10, _Q, conv),
        "ai.onnx:Relu": _one(6, 6, _F),
        "com.microsoft:FusedConv": _one(1, 1, _F),
        "com.microsoft:FusedMatMul": _one(1, 1, _F16, ("fixed 0", "fixed 1")),
        "com.microsoft:MatMulIntegerToFloat": _one(1, 1, _Q, ("fixed 0", "fixed 1", "without_input 6")),
    }
    return Table(
        provider="ACLExecutionProvider",
        version="1.20.0",
        software="ACL's list of kernels",
        level=LISTED,
        made="scripts/kernels.py acl",
        sources=[
            "onnxruntime/core/providers/acl: acl_execution_provider.cc, math/matmul.cc; its kernels are made for fixed shapes",
        ],
        operators={"": operators},
        qdq="none",
    )


def armnn() -> Table:
    """Arm NN, whose provider has not changed since 2020 and is gone from ONNX Runtime 1.31."""
    operators = {
        "ai.onnx:AveragePool": _one(7, 11, _F),
        "ai.onnx:Conv": _one(1, 11, _F, ("max_rank 0 4",)),
        "ai.onnx:Gemm": _one(7, 11, _F),
        "ai.onnx:GlobalAveragePool": _one(1, 1, _F),
        "ai.onnx:GlobalMaxPool": _one(1, 1, _F),
        "ai.onnx:MaxPool": _one(1, 11, _F),
    }
    return Table(
        provider="ArmNNExecutionProvider",
        version="1.17.0",
        software="Arm NN's list of kernels",
        level=LISTED,
        made="scripts/kernels.py armnn",
        sources=[
            "onnxruntime/core/providers/armnn/armnn_execution_provider.cc: registrations; Relu only in builds with RELU_ARMNN"
        ],
        operators={"": operators},
        qdq="none",
    )
