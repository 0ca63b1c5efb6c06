"""Opens TensorRT-RTX's libraries and its Python module, which find nothing by themselves."""

from __future__ import annotations

from typing import Any

from .kit import build_engine

_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool", "FP8": "float8_e4m3fn", "INT4": "int4", "FP4": "float4_e2m1fn",
}  # fmt: skip


def load() -> Any:
    """The module ``tensorrt_rtx_bindings``, as a kit's ``build_engine.py`` opens it."""
    try:
        return build_engine.load_library(build_engine.RTX)
    except build_engine.BuildError as error:
        raise ImportError(str(error)) from error


def capabilities(trt: Any) -> list[str]:
    """The compute capabilities that this TensorRT-RTX builds for: ``SM75`` … in ascending order."""
    names = (name for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
    return sorted(names, key=lambda name: int(name[2:]))


def dtype(kind: Any) -> str:
    """The numpy name of a TensorRT data type."""
    return _DTYPES.get(kind.name, str(kind.name).lower())
