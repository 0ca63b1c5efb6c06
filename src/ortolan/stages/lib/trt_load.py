"""Opens TensorRT-RTX's libraries and its Python module, which find nothing by themselves."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from pathlib import Path
from typing import Any

_LIBRARIES = ("libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")  # in this order: the second needs the first
_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool", "FP8": "float8_e4m3fn", "INT4": "int4", "FP4": "float4_e2m1fn",
}  # fmt: skip


def load() -> Any:
    """The module ``tensorrt_rtx_bindings``.

    The libraries lie in ONNX Runtime's plug-in. It is found and not imported: importing it would write links into the runtime.
    """
    found = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if found is None or found.origin is None:
        raise ImportError("this runtime lacks onnxruntime_ep_nv_tensorrt_rtx")
    for pattern in _LIBRARIES:
        for path in sorted(Path(found.origin).parent.glob(pattern)):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    return importlib.import_module("tensorrt_rtx_bindings")


def capabilities(trt: Any) -> list[str]:
    """The compute capabilities that this TensorRT-RTX builds for: ``SM75`` … in ascending order."""
    names = (name for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
    return sorted(names, key=lambda name: int(name[2:]))


def dtype(kind: Any) -> str:
    """The numpy name of a TensorRT data type."""
    return _DTYPES.get(kind.name, str(kind.name).lower())
