"""Models with their weights in files of their own, written piece by piece in any layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

SMALL = 100_000
"""``inline`` for these tests: a model with one weight of ``WIDTH`` has more bytes."""
WIDTH = 160


def weight(index: int, width: int = WIDTH) -> NDArray[np.float32]:
    """The weights of one layer, scaled so that values stay near 1."""
    draw = np.random.Generator(np.random.PCG64(index))
    return np.asarray(draw.standard_normal((width, width), dtype=np.float32) / np.float32(width**0.5))


def layers(weights: Sequence[str], width: int = WIDTH, dtype: int = TensorProto.FLOAT, *, name: str = "x") -> ModelProto:
    """``x`` [batch, width] through one MatMul and Relu for each weight; their data are still to be placed."""
    nodes, now = [], name
    for index, each in enumerate(weights):
        nodes.append(helper.make_node("MatMul", [now, each], [f"m{index}"], f"mul{index}"))
        nodes.append(helper.make_node("Relu", [f"m{index}"], [f"r{index}"], f"relu{index}"))
        now = f"r{index}"
    ends = [helper.make_tensor_value_info(end, dtype, ["batch", width]) for end in (name, now)]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:])
    for each in dict.fromkeys(weights):
        graph.initializer.add(name=each, dims=[width, width], data_type=dtype)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def place(model: ModelProto, name: str, **entries: Any) -> ModelProto:
    """Say of an initializer where its data are: ``location``, ``offset``, ``length``."""
    _point(next(tensor for tensor in model.graph.initializer if tensor.name == name), **entries)
    return model


def _point(tensor: TensorProto, **entries: Any) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))


def write(folder: Path, weights: Mapping[str, NDArray[Any]], *, model: ModelProto | None = None, file: str = "net.data",
          name: str = "net.onnx", start: int = 0) -> Path:  # fmt: skip
    """A model and its weights, one after the other from ``start`` on, in the order of ``weights``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = model or layers(list(weights))
    with (folder / file).open("wb") as stream:
        stream.write(bytes(start))
        for each, array in weights.items():
            place(made, each, location=file, offset=stream.tell(), length=array.nbytes)
            stream.write(array.tobytes())
    (folder / name).write_bytes(made.SerializeToString())
    return folder / name


def usual(folder: Path, count: int = 3, **more: Any) -> Path:
    """A model of a few layers."""
    return write(folder, {f"w{index}": weight(index) for index in range(count)}, **more)


def blocks(path: Path, size: int, width: int = 2048, *, tokens: str | int = "batch") -> Path:
    """A stack of a transformer's feed-forward blocks with about ``size`` bytes of weights, written one after the other."""
    wide = 4 * width
    count = max(1, round(size / (2 * 4 * width * wide)))
    draw = np.random.Generator(np.random.SFC64(0))
    nodes, weights, now = [], list[TensorProto](), "x"
    data = path.with_name(path.name + ".data")
    with data.open("wb") as stream:
        for index in range(count):
            for name, shape in ((f"up{index}", (width, wide)), (f"down{index}", (wide, width))):
                array = draw.random(shape, dtype=np.float32)
                array -= np.float32(0.5)
                array *= np.float32(3 / shape[0] ** 0.5)
                weights.append(TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT))
                _point(weights[-1], location=data.name, offset=stream.tell(), length=array.nbytes)
                stream.write(array.data)
            nodes += _block(index, now)
            now = f"x{index}"
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [tokens, width]) for end in ("x", now)]
    scale = helper.make_tensor("one", TensorProto.FLOAT, [width], np.ones(width, np.float32).tobytes(), raw=True)
    graph = helper.make_graph(nodes, "blocks", ends[:1], ends[1:], [scale, *weights])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def _block(index: int, now: str) -> list[NodeProto]:
    made = {name: f"{name}{index}" for name in ("norm", "wide", "relu", "narrow", "x")}
    return [
        helper.make_node("LayerNormalization", [now, "one"], [made["norm"]], made["norm"]),
        helper.make_node("MatMul", [made["norm"], f"up{index}"], [made["wide"]], made["wide"]),
        helper.make_node("Relu", [made["wide"]], [made["relu"]], made["relu"]),
        helper.make_node("MatMul", [made["relu"], f"down{index}"], [made["narrow"]], made["narrow"]),
        helper.make_node("Add", [now, made["narrow"]], [made["x"]], f"add{index}"),
    ]
