"""Small ONNX models for tests, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper, parser

SESSION: dict[str, Any] = {
    "intra_op_num_threads": 1, "inter_op_num_threads": 1, "execution_mode": "sequential", "graph_optimization_level": "all",
    "enable_mem_pattern": True, "enable_cpu_mem_arena": True, "config": {},
}  # fmt: skip
"""``[session]`` of a recipe as a stage gets it."""

CPU: list[dict[str, Any]] = [{"name": "CPUExecutionProvider", "options": {}}]
"""``[[provider]]`` of a recipe as a stage gets it."""

LARGE = 10**9
"""``inline`` of a recipe: bytes above which a model's weights stand in a file of their own."""

VERSIONS = ("1.17.3", "1.20.1", "1.31.1")
"""The versions of ONNX Runtime that the repository pins."""


def graph(
    text: str,
    opset: int = 17,
    *,
    ir: int = 8,
    weights: Mapping[str, NDArray[Any]] | None = None,
    functions: str = "",
    **domains: int,
) -> ModelProto:
    """A model from ONNX's text form: ``(float[N,3] x) => (float[N,3] y) { y = Relu(x) }``, with weights by name."""
    imports = ", ".join(f'"{name.replace("_", ".")}": {version}' for name, version in {"": opset, **domains}.items())
    model = parser.parse_model(f"<ir_version: {ir}, opset_import: [{imports}]>\nmain {text}\n{functions}")
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items())
    return model


def write(model: ModelProto, path: Path) -> Path:
    """Write a model as it is, and no canonical form of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def convnet(opset: int = 17, batch: int | str = "batch", seed: int = 0) -> ModelProto:
    """A small image classifier: ``image`` float32 [batch, 1, 8, 8] to ``scores`` [batch, 3]."""
    draw = np.random.Generator(np.random.PCG64(seed))
    shapes = {"w1": (4, 1, 3, 3), "b1": (4,), "w2": (4, 3), "b2": (3,)}
    weights = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return graph(
        f"""(float[{batch},1,8,8] image) => (float[{batch},3] scores) {{
            [conv] c = Conv<pads=[1,1,1,1]>(image, w1, b1)
            [relu] r = Relu(c)
            [pool] p = GlobalAveragePool(r)
            [flat] f = Flatten(p)
            [dense] scores = Gemm(f, w2, b2)
        }}""",
        opset, ir=8, weights=weights,
    )  # fmt: skip


def branches(then: str, otherwise: str) -> str:
    """The text of ``y = If(c)`` over float[2] tensors: ``then`` makes ``t``, ``otherwise`` makes ``e``."""
    return f"y = If(c)<then_branch = a() => (float[2] t) {{ {then} }}, else_branch = b() => (float[2] e) {{ {otherwise} }}>"


def stripped_of_names(model: ModelProto) -> ModelProto:
    """The same model, whose nodes have no names."""
    for node in model.graph.node:
        node.name = ""
    return model


def with_metadata(model: ModelProto, **metadata: str) -> ModelProto:
    """The same model with metadata and other prose that depends on who exported it."""
    helper.set_model_props(model, metadata)
    model.producer_name, model.doc_string = "exporter", "/home/somebody/export.py"
    model.graph.doc_string = "/home/somebody"
    for node in model.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=f'File "/home/somebody/{len(metadata)}/net.py", line 3')
        node.doc_string = "/home/somebody/net.py(3)"
    return model
