"""Small ONNX models and data sets for the tests of calibration and quantisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
Shape = list[int | str]
QUANTIZE = {
    "preset": "default", "activations": "uint8", "weights": "int8", "per_channel": True, "symmetric_activations": False,
    "exclude": [], "float_operators": [],
}  # fmt: skip
IMAGE = {"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8], "range": None}


def value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name: str, *shape: int, seed: int = 0, dtype: str = "float32") -> TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)
    return numpy_helper.from_array(values.astype(dtype), name)


def graph(
    nodes: Sequence[NodeProto], inputs: Sequence[Any], outputs: Sequence[Any], weights: Sequence[TensorProto] = ()
) -> GraphProto:
    return helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(weights))


def save(content: GraphProto, path: Path, opset: int = 17) -> Path:
    """IR 8: every runtime of the tests reads it."""
    onnx.save(helper.make_model(content, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def convolutions(path: Path, opset: int = 17, bias: Sequence[int] = (1, 10), batch: int | str = "batch") -> Path:
    """Conv, Relu, depthwise Conv, Relu, Flatten, Gemm with a bias of the given shape: [batch,1,8,8] to [batch,10]."""
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c0"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "relu"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "depthwise", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Flatten", ["r1"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], "gemm"),
    ]
    weights = [weight("w0", 8, 1, 3, 3), weight("b0", 8, seed=1), weight("w1", 8, 1, 3, 3, seed=2)]
    weights += [weight("w2", 512, 10, seed=3), weight("b2", *bias, seed=4)]
    return save(graph(nodes, [value("image", [batch, 1, 8, 8])], [value("logits", [batch, 10])], weights), path, opset)


def images(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 1, 8, 8)).astype(np.float32)


def npz(folder: Path, **arrays: Any) -> dict[str, Any]:
    """Save the arrays as ``folder/data.npz``; the data set that reads them, with labels if there is an array of that name."""
    folder.mkdir(exist_ok=True)
    np.savez(folder / "data.npz", **arrays)
    return {"kind": "npz", "npz": "data.npz", "labels": "label" if "label" in arrays else None, "limit": None}


def generator(folder: Path, code: str, limit: int | None = None) -> dict[str, Any]:
    """Save ``code``, which defines ``feeds``, as a data set."""
    folder.mkdir(exist_ok=True)
    (folder / "feeds.py").write_text(code)
    return {"kind": "callable", "callable": "feeds.py:feeds", "files": [], "limit": limit}


def calibration(data: Mapping[str, Any], *inputs: Mapping[str, Any], method: str = "minmax") -> dict[str, Any]:
    """The parameters of ``calibrate``."""
    return {"data": data, "inputs": list(inputs) or [IMAGE], "method": method, "percentile": 99.9}
