"""What ships beside the .onnx: .ort files with equal bytes everywhere, their operator lists, metadata and session settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import models
from conftest import RunStage, StageRun
from ortolan.stages.lib import tensors

FULL: dict[str, Any] = {"style": "fixed", "type_reduction": True, "platform": "linux/amd64"}
PARAMS: dict[str, Any] = {"providers": models.CPU, "session": models.SESSION, "rtol": 1e-4, "atol": 1e-6}


def qdq() -> ModelProto:
    """A quantised convolution: the runtime style keeps something to do for the device."""
    text = """(float[1,1,8,8] image) => (float[1,2,6,6] scores) {
        q = QuantizeLinear(image, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(wq, s, z)
        c = Conv(d, w) r = Relu(c) qr = QuantizeLinear(r, s, z) scores = DequantizeLinear(qr, s, z)
    }"""
    weights = np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3)
    return models.graph(text, 13, weights={"s": np.float32(0.1), "z": np.int8(0), "wq": weights})  # type: ignore[dict-item]


def convert(run_stage: RunStage, model: ModelProto, folder: Path, version: str = "1.20.1", **params: Any) -> StageRun:
    path = models.write(model, folder / "m.onnx")
    done = run_stage("ort_convert", f"onnxruntime-{version}", {"model": path}, FULL | params)
    assert done.facts, done.refused or done.log
    return done


def contents(done: StageRun) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(done.out.iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize("version", models.VERSIONS)
@pytest.mark.parametrize("style", ["fixed", "runtime"])
def test_equal_bytes_in_every_folder_and_process(run_stage: RunStage, tmp_path: Path, version: str, style: str) -> None:
    runs = [contents(convert(run_stage, models.convnet(), tmp_path / name, version, style=style)) for name in ("a", "b/c", "d")]
    assert runs[0] == runs[1] == runs[2]
    assert sorted(runs[0]) == ["model.ort", "required_operators.config", "required_operators_and_types.config"]


@pytest.mark.slow
def test_equal_bytes_of_a_large_graph(run_stage: RunStage, shared_data: Path, tmp_path: Path) -> None:
    model = onnx.load(shared_data / "onnx" / "gtcrn_simple.onnx")
    runs = [contents(convert(run_stage, model, tmp_path / name)) for name in "abc"]
    assert runs[0] == runs[1] == runs[2]


def test_different_models_have_different_bytes(run_stage: RunStage, tmp_path: Path) -> None:
    runs = [contents(convert(run_stage, models.convnet(seed=seed), tmp_path))["model.ort"] for seed in (0, 1)]
    assert runs[0] != runs[1]


@pytest.mark.slow
@pytest.mark.parametrize("style", ["fixed", "runtime"])
@pytest.mark.parametrize("build", [models.convnet, qdq])
def test_the_result_opens_in_every_runtime_and_agrees(run_stage: RunStage, tmp_path: Path, build: Any, style: str) -> None:
    model = models.write(build(), tmp_path / "m.onnx")
    ort = convert(run_stage, build(), tmp_path, style=style).out / "model.ort"
    tensors.write_samples(tmp_path / "s.npz", [{"image": np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)}])
    for version in models.VERSIONS:
        inputs = {"model": model, "samples": tmp_path / "s.npz", "ort": ort}
        facts = run_stage("verify", f"onnxruntime-{version}", inputs, PARAMS).facts
        assert facts
        assert (facts["ort"]["opens"], facts["ort"]["error"], facts["ort"]["close"]) == (True, "", True)


def product() -> ModelProto:
    """A quantised matrix product, of which ONNX Runtime records for the device that it is one, and not what becomes of it."""
    text = """(float[1,1,8,8] image) => (float[1,1,8,4] scores) {
        q = QuantizeLinear(image, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(wq, s, z)
        m = MatMul(d, w) qm = QuantizeLinear(m, s, z) scores = DequantizeLinear(qm, s, z)
    }"""
    weights = np.arange(-16, 16, dtype=np.int8).reshape(8, 4)
    return models.graph(text, 13, weights={"s": np.float32(0.1), "z": np.int8(0), "wq": weights})  # type: ignore[dict-item]


@pytest.mark.parametrize(("version", "unfused"), [("1.17.3", 1), ("1.20.1", 1), ("1.31.1", 0)])
def test_quantised_products_of_the_runtime_style_open_where_they_were_written(
    run_stage: RunStage, tmp_path: Path, version: str, unfused: int
) -> None:
    done = convert(run_stage, product(), tmp_path, version, style="runtime", platform="linux/arm64")
    assert done.facts
    assert done.facts["unfused"] == unfused
    tensors.write_samples(tmp_path / "s.npz", [{"image": np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)}])
    inputs = {"model": tmp_path / "m.onnx", "samples": tmp_path / "s.npz", "ort": done.out / "model.ort"}
    facts = run_stage("verify", f"onnxruntime-{version}", inputs, PARAMS).facts
    assert facts
    assert (facts["ort"]["opens"], facts["ort"]["error"], facts["ort"]["close"]) == (True, "", True)


def test_an_ort_file_of_another_model_is_not_close(run_stage: RunStage, tmp_path: Path) -> None:
    ort = convert(run_stage, models.convnet(seed=1), tmp_path).out / "model.ort"
    tensors.write_samples(tmp_path / "s.npz", [{"image": np.ones((1, 1, 8, 8), np.float32)}])
    inputs = {"model": models.write(models.convnet(seed=0), tmp_path / "m.onnx"), "samples": tmp_path / "s.npz", "ort": ort}
    facts = run_stage("verify", "onnxruntime-1.31.1", inputs, PARAMS).facts
    assert facts
    assert (facts["ort"]["opens"], facts["ort"]["close"]) == (True, False)


def test_a_truncated_ort_file_does_not_open(run_stage: RunStage, tmp_path: Path) -> None:
    ort = convert(run_stage, models.convnet(), tmp_path).out / "model.ort"
    ort.write_bytes(ort.read_bytes()[:-100])
    tensors.write_samples(tmp_path / "s.npz", [{"image": np.ones((1, 1, 8, 8), np.float32)}])
    inputs = {"model": tmp_path / "m.onnx", "samples": tmp_path / "s.npz", "ort": ort}
    facts = run_stage("verify", "onnxruntime-1.20.1", inputs, PARAMS).facts
    assert facts
    assert (facts["onnx"]["opens"], facts["ort"]["opens"], facts["ort"]["close"]) == (True, False, False)
    assert "verification failed" in facts["ort"]["error"]


def test_operator_lists_name_operators_and_types_and_no_paths(run_stage: RunStage, tmp_path: Path) -> None:
    done = convert(run_stage, models.convnet(), tmp_path)
    found = contents(done)
    assert found["required_operators.config"].decode().splitlines()[1:] == [
        "ai.onnx;1;GlobalAveragePool", "ai.onnx;13;Flatten,Gemm", "com.microsoft;1;FusedConv",
    ]  # fmt: skip
    assert b'"float"' in found["required_operators_and_types.config"]
    assert not [name for name in found if name.endswith(".config") and str(tmp_path).encode() in found[name]]
    assert done.facts
    assert done.facts["onnxruntime"] == "1.20.1"
    assert done.facts["operators"]["com.microsoft"] == {"1": ["FusedConv"]}


def test_without_type_reduction_there_is_one_list(run_stage: RunStage, tmp_path: Path) -> None:
    assert sorted(contents(convert(run_stage, models.convnet(), tmp_path, type_reduction=False))) == [
        "model.ort",
        "required_operators.config",
    ]


def test_a_model_that_does_not_load_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    path = models.write(models.graph("(bfloat16[2,2] x) => (bfloat16[2,2] y) { y = MatMul(x, x) }"), tmp_path / "m.onnx")
    done = run_stage("ort_convert", "onnxruntime-1.20.1", {"model": path}, FULL)
    assert done.refused
    assert "Could not find an implementation for MatMul" in done.refused["why"]
    assert not list(done.out.iterdir())


# --- metadata and session settings -------------------------------------------------------------------------------


def stamp(run_stage: RunStage, model: ModelProto, folder: Path, metadata: dict[str, str]) -> StageRun:
    done = run_stage("stamp", "tools", {"model": models.write(model, folder / "m.onnx")}, {"metadata": metadata})
    assert done.facts, done.log
    return done


def test_metadata_are_written_sorted_and_nothing_else_changes(run_stage: RunStage, tmp_path: Path) -> None:
    one = stamp(run_stage, models.with_metadata(models.convnet(), old="x"), tmp_path, {"ortolan.tag": "t", "ortolan.a": "b"})
    other = stamp(run_stage, models.convnet(), tmp_path, {"ortolan.a": "b", "ortolan.tag": "t"})
    assert (one.out / "model.onnx").read_bytes() == (other.out / "model.onnx").read_bytes()
    found = onnx.load(one.out / "model.onnx")
    assert [(entry.key, entry.value) for entry in found.metadata_props] == [("ortolan.a", "b"), ("ortolan.tag", "t")]
    del found.metadata_props[:]
    assert found == onnx.load(stamp(run_stage, models.convnet(), tmp_path, {}).out / "model.onnx")


@pytest.mark.parametrize("version", models.VERSIONS)
def test_metadata_survive_the_conversion_to_ort(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    stamped = onnx.load(stamp(run_stage, models.convnet(), tmp_path, {"ortolan.tag": "the-tag-itself"}).out / "model.onnx")
    data = contents(convert(run_stage, stamped, tmp_path, version))["model.ort"]
    assert b"ortolan.tag" in data
    assert b"the-tag-itself" in data


SESSION = models.SESSION | {"intra_op_num_threads": 4, "graph_optimization_level": "extended", "config": {"b": "2", "a": "1"}}
PROVIDERS = [{"name": "XnnpackExecutionProvider", "options": {"threads": 4, "fast": True}}, *models.CPU]


def test_session_json_speaks_onnx_runtimes_language(run_stage: RunStage, tmp_path: Path) -> None:
    params = {
        "tag": "net-0123-opset17-ort1.20.1",
        "providers": PROVIDERS,
        "session": SESSION,
        "concurrent_run": False,
        "profiles": {},
    }
    done = run_stage("session_json", "tools", {"model": models.write(models.convnet(), tmp_path / "m.onnx")}, params)
    document = json.loads((done.out / "session.json").read_text())
    assert document == done.facts
    assert document["tag"] == "net-0123-opset17-ort1.20.1"
    assert document["providers"] == [
        {"name": "XnnpackExecutionProvider", "options": {"fast": "1", "threads": "4"}},
        {"name": "CPUExecutionProvider", "options": {}},
    ]
    assert document["session_options"] == {
        "intra_op_num_threads": 4, "inter_op_num_threads": 1, "execution_mode": "ORT_SEQUENTIAL",
        "graph_optimization_level": "ORT_ENABLE_EXTENDED", "enable_mem_pattern": True, "enable_cpu_mem_arena": True,
    }  # fmt: skip
    assert document["sharing"] == {"sessions": 1, "concurrent_run": False}
    assert list(document["config_entries"].items()) == [("a", "1"), ("b", "2")]
    assert document["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]


def test_equal_settings_give_equal_session_json(run_stage: RunStage, tmp_path: Path) -> None:
    path = models.write(models.convnet(), tmp_path / "m.onnx")
    shutil.copy(path, tmp_path / "n.onnx")
    turned, common = dict(reversed(SESSION.items())), {"tag": "t", "providers": PROVIDERS, "concurrent_run": True, "profiles": {}}
    found = [
        run_stage("session_json", "tools", {"model": model}, common | {"session": session}).out / "session.json"
        for model, session in ((path, SESSION), (tmp_path / "n.onnx", turned))
    ]
    assert found[0].read_bytes() == found[1].read_bytes()


def test_for_arm_int8_activations_stay_int8(run_stage: RunStage, tmp_path: Path) -> None:
    typed = {
        platform: contents(convert(run_stage, qdq(), tmp_path, platform=platform))["required_operators_and_types.config"].decode()
        for platform in ("linux/arm64", "linux/amd64")
    }
    quantize = {platform: next(part for part in text.split(",") if "QuantizeLinear" in part) for platform, text in typed.items()}
    assert '"int8_t"' in typed["linux/arm64"], typed
    assert typed["linux/arm64"] != typed["linux/amd64"], quantize
