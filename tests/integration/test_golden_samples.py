"""Golden samples: what ships, run by the pinned runtime, as npz and as raw bytes that say where each tensor lies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import models
from conftest import RunStage
from ortolan.stages.lib import tensors

RUNTIME = "onnxruntime-1.20.1"
Arrays = dict[str, np.ndarray]


def cast(names: list[str], kind: int) -> onnx.ModelProto:
    """A model whose inputs come out as they went in."""
    ends = [[helper.make_tensor_value_info(f"{end}{name}", kind, ["batch", 3]) for name in names] for end in ("", "same_")]
    nodes = [helper.make_node("Identity", [name], [f"same_{name}"]) for name in names]
    graph = helper.make_graph(nodes, "g", ends[0], ends[1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def read(folder: Path) -> list[dict[str, Arrays]]:
    """The raw samples, by the header alone."""
    header = json.loads((folder / "golden.json").read_text())
    data = (folder / header["file"]).read_bytes()
    assert len(data) == header["size"]

    def one(about: dict[str, object]) -> np.ndarray:
        start, size = int(str(about["offset"])), int(str(about["size"]))
        assert start % 64 == 0
        kind = np.dtype(str(about["dtype"])).newbyteorder("<")
        return np.frombuffer(data[start : start + size], kind).reshape(about["shape"])  # type: ignore[call-overload, no-any-return]

    return [{end: {name: one(about) for name, about in given.items()} for end, given in s.items()} for s in header["samples"]]


def test_raw_bytes_are_what_went_in_and_came_out(run_stage: RunStage, tmp_path: Path) -> None:
    for kind, dtype in ((TensorProto.FLOAT, "float32"), (TensorProto.FLOAT16, "float16"), (TensorProto.INT64, "int64"),
                        (TensorProto.UINT8, "uint8"), (TensorProto.BOOL, "bool"), (TensorProto.DOUBLE, "float64")):  # fmt: skip
        folder = tmp_path / dtype
        folder.mkdir()
        given = [
            {"b": np.array([[0, 1, 0]]).astype(dtype), "a": np.ones((2, 3), dtype)},
            {"b": np.zeros((0, 3), dtype), "a": np.zeros((1, 3), dtype)},
        ]
        model = models.write(cast(["b", "a"], kind), folder / "m.onnx")
        tensors.write_samples(folder / "s.npz", given)
        done = run_stage("golden", RUNTIME, {"model": model, "samples": folder / "s.npz"}, {"session": models.SESSION})
        assert done.facts, done.error
        assert done.facts["runtime"] == "1.20.1"
        for sample, wanted in zip(read(done.out), given, strict=True):
            for name, array in wanted.items():
                np.testing.assert_array_equal(sample["inputs"][name], array)
                np.testing.assert_array_equal(sample["outputs"][f"same_{name}"], array)
        assert [set(one) for one in tensors.read_samples(done.out / "golden.npz")] == [{"same_a", "same_b"}] * 2


def test_as_written_means_without_optimisation_and_both_give_equal_bytes_again(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.write(models.convnet(), tmp_path / "m.onnx")
    tensors.write_samples(tmp_path / "s.npz", [{"image": np.full((2, 1, 8, 8), 0.5, np.float32)}])
    inputs = {"model": model, "samples": tmp_path / "s.npz"}
    for session in (None, models.SESSION):
        once, again = (run_stage("golden", RUNTIME, inputs, {"session": session}) for _ in range(2))
        assert once.facts == again.facts
        for name in ("golden.npz", "golden.bin", "golden.json"):
            assert (once.out / name).read_bytes() == (again.out / name).read_bytes()


def test_strings_stand_in_the_header(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.write(cast(["a"], TensorProto.STRING), tmp_path / "m.onnx")
    tensors.write_samples(tmp_path / "s.npz", [{"a": np.array([["x", "ü", ""]])}])
    done = run_stage("golden", RUNTIME, {"model": model, "samples": tmp_path / "s.npz"}, {"session": None})
    assert done.facts, done.error
    assert done.facts["samples"][0]["outputs"]["same_a"] == {
        "dtype": "str", "shape": [1, 3], "offset": 0, "size": 0, "values": ["x", "ü", ""],
    }  # fmt: skip
