"""Importing finished .onnx files: what is mended, what is refused, and that the meaning stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import models
from conftest import RunStage, StageRun
from ortolan.stages.lib import tensors

UNARY = "(float[2] x) => (float[2] y)"


def bring_in(run_stage: RunStage, model: ModelProto | bytes, folder: Path) -> StageRun:
    folder.mkdir(exist_ok=True)
    (folder / "m.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return run_stage("import_onnx", "tools", {"model": folder}, {"file": "m.onnx", "inline": models.LARGE})


def mended(run_stage: RunStage, model: ModelProto, folder: Path) -> tuple[dict[str, Any], ModelProto]:
    done = bring_in(run_stage, model, folder)
    assert done.facts, done.log
    return done.facts, onnx.load(done.out / "model.onnx")


def refused(run_stage: RunStage, model: ModelProto | bytes, folder: Path) -> str:
    done = bring_in(run_stage, model, folder)
    assert done.refused, done.log
    assert str(folder) not in str(done.refused)
    return " | ".join(done.refused.values())


def test_a_plain_model_needs_no_repair(run_stage: RunStage, tmp_path: Path) -> None:
    facts, found = mended(run_stage, models.convnet(), tmp_path / "m")
    assert facts["repaired"] == {}
    assert facts["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert facts["opsets"] == {"ai.onnx": 17}
    assert [node.op_type for node in found.graph.node] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]


def test_initializers_leave_the_inputs(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.convnet(8)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    facts, found = mended(run_stage, model, tmp_path / "m")
    assert facts["repaired"] == {"initializers_in_inputs": ["b1", "b2", "w1", "w2"]}
    assert [value.name for value in found.graph.input] == ["image"]


def test_names_that_are_missing_or_taken_are_made(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph(f"{UNARY} {{ [same] a = Relu(x) [same] b = Relu(a) [Relu_0] c = Relu(b) y = Relu(c) }}")
    model.graph.name = ""
    facts, found = mended(run_stage, model, tmp_path / "m")
    assert facts["repaired"] == {"graphs_named": 1, "nodes_renamed": ["same"], "nodes_named": 1}
    assert [node.name for node in found.graph.node] == ["same", "same_0", "Relu_0", "Relu_1"]


def test_unsorted_nodes_are_sorted(run_stage: RunStage, tmp_path: Path) -> None:
    facts, found = mended(run_stage, models.graph(f"{UNARY} {{ [b] y = Relu(a) [a] a = Neg(x) }}"), tmp_path / "m")
    assert facts["repaired"] == {"sorted": True}
    assert [node.name for node in found.graph.node] == ["a", "b"]


def test_local_functions_are_inlined_and_mean_the_same(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph(
        f"{UNARY} {{ [call] y = local.Twice(x) }}", local=1,
        functions='<domain: "local", opset_import: ["": 17]> Twice (a) => (b) { b = Add(a, a) }',
    )  # fmt: skip
    facts, found = mended(run_stage, model, tmp_path / "m")
    assert facts["repaired"]["functions_inlined"] == ["local:Twice"]
    assert not found.functions
    assert facts["operators"] == {"Add": 1}
    assert facts["opsets"] == {"ai.onnx": 17}


def test_external_data_are_taken_in(run_stage: RunStage, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    onnx.save(models.convnet(), folder / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    done = run_stage("import_onnx", "tools", {"model": folder}, {"file": "big.onnx", "inline": models.LARGE})
    assert done.facts
    assert done.facts["repaired"] == {"external_data": ["big.data"]}
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(done.out / "model.onnx").graph.initializer}
    for tensor in models.convnet().graph.initializer:
        assert np.array_equal(found[tensor.name], numpy_helper.to_array(tensor))


def test_missing_external_data_name_the_file_and_the_recipes_key(run_stage: RunStage, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    onnx.save(models.convnet(), folder / "m.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    (folder / "big.data").unlink()
    done = run_stage("import_onnx", "tools", {"model": folder}, {"file": "m.onnx", "inline": models.LARGE})
    assert done.refused
    assert "'big.data' is missing" in done.refused["what"]
    assert "[source] external_data" in done.refused["hint"]


@pytest.mark.parametrize("file", ["other.onnx", "../m/m.onnx/../../secret", "."])
def test_a_file_that_is_not_there(run_stage: RunStage, tmp_path: Path, file: str) -> None:
    models.write(models.convnet(), tmp_path / "m" / "m.onnx")
    done = run_stage("import_onnx", "tools", {"model": tmp_path / "m"}, {"file": file, "inline": models.LARGE})
    assert done.refused
    assert "[source] file" in done.refused["hint"]


@pytest.mark.parametrize(
    "data", [b"", b"not a model", models.convnet().SerializeToString()[:500]], ids=["empty", "random", "truncated"]
)
def test_bytes_that_are_no_model(run_stage: RunStage, tmp_path: Path, data: bytes) -> None:
    assert "m.onnx is not a" in refused(run_stage, data, tmp_path / "m")


def with_weight(data: bytes) -> ModelProto:
    model = models.graph(f"{UNARY} {{ y = Add(x, w) }}")
    model.graph.initializer.append(TensorProto(name="w", dims=[2], data_type=TensorProto.FLOAT, raw_data=data))
    return model


SEQUENCE = "(float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }"
UNSOUND = {
    "unknown operator": (models.graph(f"{UNARY} {{ [n1] y = Fake(x) }}"), ["'Fake'", "'ai.onnx'", "'n1'"]),
    "unknown domain": (models.graph(f"{UNARY} {{ [n1] y = acme.Spin(x) }}", acme=1), ["'Spin'", "'acme'", "'n1'"]),
    "operator in a branch": (
        models.graph(f"(float[2] x, bool c) => (float[2] y) {{ {models.branches('t = Fake(x)', 'e = Abs(x)')} }}"), ["'Fake'"],
    ),
    "domain not imported": (models.graph(f"{UNARY} {{ y = com.microsoft.Gelu(x) }}"), ["imports no opset", "com.microsoft"]),
    "operator too new": (models.graph(f"{UNARY} {{ y = Gelu(x) }}", 17), ["'Gelu'", "opset 20", "opset 17"]),
    "opset too new": (models.graph(f"{UNARY} {{ y = Relu(x) }}", 99), ["opset 99"]),
    "ir too new": (models.graph(f"{UNARY} {{ y = Relu(x) }}", ir=99), ["IR version 99"]),
    "no nodes": (models.graph("(float[2] x) => (float[2] x) { }"), ["empty", "no nodes"]),
    "no outputs": (models.graph("(float[2] x) => () { y = Relu(x) }"), ["no outputs"]),
    "sequence output": (models.graph(SEQUENCE), ["'y'", "sequence(float32)", "zipmap"]),
    "reads nothing": (models.graph(f"{UNARY} {{ [n1] y = Add(x, ghost) }}"), ["'ghost'", "'n1'"]),
    "output from nowhere": (models.graph("(float[2] x) => (float[2] ghost) { y = Relu(x) }"), ["'ghost'"]),
    "made twice": (models.graph(f"{UNARY} {{ [n1] y = Relu(x) [n2] y = Abs(x) }}"), ["'y'", "twice", "'n2'"]),
    "cycle": (models.graph(f"{UNARY} {{ [n1] a = Add(x, y) [n2] y = Relu(a) }}"), ["cycle", "'n1'", "'n2'"]),
    "outputs of size zero": (
        models.graph("(float[2,0] x) => (float[2,0] y) { y = Relu(x) }"), ["hold no values", "'y'", "[2, 0]", "empty example"],
    ),
    "weights cut off": (with_weight(b"1234"), ["'w'", "[2]", "float32"]),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
def test_unsound_models_are_refused_by_name(run_stage: RunStage, tmp_path: Path, name: str) -> None:
    model, words = UNSOUND[name]
    message = refused(run_stage, model, tmp_path / "m")
    assert [word for word in words if word not in message] == []


def test_contrib_operators_that_stock_runtimes_have_are_fine(run_stage: RunStage, tmp_path: Path) -> None:
    facts, _ = mended(run_stage, models.graph(f"{UNARY} {{ y = com.microsoft.Gelu(x) }}", com_microsoft=1), tmp_path / "m")
    assert facts["operators"] == {"com.microsoft:Gelu": 1}


def test_two_folders_give_equal_bytes(run_stage: RunStage, tmp_path: Path) -> None:
    one = bring_in(run_stage, models.with_metadata(models.convnet(), at="/a"), tmp_path / "a")
    other = bring_in(run_stage, models.with_metadata(models.convnet(), at="/b", x="y"), tmp_path / "b")
    assert (one.out / "model.onnx").read_bytes() == (other.out / "model.onnx").read_bytes()


def test_metadata_that_pretend_to_be_ours_do_not_pass(run_stage: RunStage, tmp_path: Path) -> None:
    _, found = mended(run_stage, models.with_metadata(models.convnet(), **{"ortolan.tag": "forged"}), tmp_path / "m")
    assert not found.metadata_props


# --- the reference and the trace ---------------------------------------------------------------------------------


def sampled(run_stage: RunStage, model: Path) -> Path:
    params = {"inputs": [], "axes": {}, "count": 2, "data": None}
    done = run_stage("make_samples", "tools", {"model": model}, params)
    assert done.facts, done.refused
    return done.out / "samples.npz"


def test_the_reference_runs_the_original_with_its_initializers_as_inputs(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.convnet(8)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    path = models.write(model, tmp_path / "m" / "m.onnx")
    samples = sampled(run_stage, path)
    done = run_stage(
        "reference_onnx", "tools", {"model": path.parent, "samples": samples}, {"file": "m.onnx", "inline": models.LARGE}
    )
    assert done.facts == {"ran": "original"}
    outputs = tensors.read_samples(done.out / "outputs.npz")
    assert [sample["scores"].shape for sample in outputs] == [(2, 3), (2, 3)]
    assert not np.array_equal(outputs[0]["scores"], outputs[1]["scores"])


def test_the_reference_falls_back_to_the_mended_model_and_says_so(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph(f"{UNARY} {{ [same] a = Relu(x) [same] y = Neg(a) }}")
    path = models.write(model, tmp_path / "m" / "m.onnx")
    inputs = {"model": path.parent, "samples": sampled(run_stage, path)}
    done = run_stage("reference_onnx", "tools", inputs, {"file": "m.onnx", "inline": models.LARGE})
    assert done.facts
    assert done.facts["ran"] == "mended"
    assert "two nodes with same node name" in done.facts["why"]


def test_the_trace_holds_every_tensor(run_stage: RunStage, tmp_path: Path) -> None:
    path = models.write(models.convnet(), tmp_path / "m" / "m.onnx")
    inputs = {"model": path.parent, "samples": sampled(run_stage, path)}
    done = run_stage("trace_onnx", "tools", inputs, {"file": "m.onnx", "inline": models.LARGE})
    assert done.facts == {"ran": "original", "tensors": 5}
    assert sorted(tensors.read_samples(done.out / "tensors.npz")[1]) == ["c", "f", "p", "r", "scores"]


def test_a_model_that_fails_on_its_samples_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float[N] x) => (float[3] y) { y = Reshape(x, s) }", weights={"s": np.array([3])})
    path = models.write(model, tmp_path / "m" / "m.onnx")
    inputs = {"model": path.parent, "samples": sampled(run_stage, path)}
    done = run_stage("reference_onnx", "tools", inputs, {"file": "m.onnx", "inline": models.LARGE})
    assert done.refused
    assert done.refused["what"] == "the model does not run on its samples"
    assert "Reshape" in done.refused["why"]
