"""TensorRT-RTX engines, really built, and what its own parser says of odd models; no GPU is needed, and none is pretended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, load, numpy_helper

import models
from conftest import ROOT, RunStage, StageRun
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.place import Local
from ortolan.sandbox import copy_from, prepare
from ortolan.stages.lib import trt_header
from quantise_models import IMAGE, QUANTIZE, calibration, convolutions, images, npz

RTX = "tensorrt-rtx"
PROVIDER = {"name": "NvTensorRTRTXExecutionProvider", "options": {}}
PARAMS = {"provider": PROVIDER, "compute_capability": "SM86", "profiles": {}, "workspace": None, "tf32": True}
BATCH = {"batch": {"min": 1, "opt": 2, "max": 8}}
SIGNED = {"activations": "int8", "weights": "int8", "symmetric_activations": True}


def engine(run_stage: RunStage, model: Path, **params: Any) -> StageRun:
    return run_stage("engine_rtx", RTX, {"model": model}, PARAMS | params)


def built(run_stage: RunStage, model: Path, **params: Any) -> tuple[dict[str, Any], bytes]:
    done = engine(run_stage, model, **params)
    assert done.facts, done.refused or done.log
    return done.facts, (done.out / "model.engine").read_bytes()


def refused(run_stage: RunStage, model: Path, **params: Any) -> dict[str, str]:
    done = engine(run_stage, model, **params)
    assert done.refused, done.facts or done.log
    return done.refused


def evidence(run_stage: RunStage, model: Path, provider: Mapping[str, Any] = PROVIDER) -> list[dict[str, str]]:
    done = run_stage("evidence_rtx", RTX, {"model": model}, {"provider": provider})
    assert done.facts, done.refused or done.log
    nodes: list[dict[str, str]] = json.loads((done.out / "evidence.json").read_text())["nodes"]
    return nodes


def levels(found: list[dict[str, str]]) -> list[str]:
    return [verdict["level"] for verdict in found]


def written(model: ModelProto, folder: Path, name: str = "m.onnx") -> Path:
    return models.write(model, folder / name)


def quantised(run_stage: RunStage, model: Path, folder: Path, given: dict[str, Any], array: Any, **params: Any) -> Path:
    """The model through calibration and quantisation, as a build does it."""
    spec = npz(folder / "data", **{given["name"]: array})
    ranges = run_stage("calibrate", "tools", {"model": model, "data": folder / "data"}, calibration(spec, given)).out
    inputs = {"model": model, "ranges": ranges / "ranges.json"}
    done = run_stage("quantise", "tools", inputs, QUANTIZE | params)
    assert done.facts, done.refused or done.log
    return done.out / "model.onnx"


# --- engines -----------------------------------------------------------------------------------------------------


def test_the_real_models_become_engines_that_say_what_they_are_for(run_stage: RunStage, shared_data: Path) -> None:
    for name, nodes, output in (("mnist_cntk", 12, "Plus214_Output_0"), ("ultraface_rfb320", 126, "boxes")):
        facts, made = built(run_stage, shared_data / "onnx" / f"{name}.onnx")
        assert facts["size"] == len(made) > 10**5
        assert (facts["nodes"], facts["outputs"][-1]["name"]) == (nodes, output)
        assert facts["read_back"]["problems"] == []
        assert facts["read_back"]["header"] == {"version": facts["tensorrt"], "size": len(made), "capabilities": ["SM86"]}
        assert facts["loads"]["outcome"] == "not-run"
        assert facts["narrowed"] == facts["warnings"] == []


@pytest.mark.slow
def test_a_model_with_four_outputs_has_the_same_bytes_wherever_it_is_built(shared_data: Path, tmp_path: Path) -> None:
    """TensorRT-RTX orders them by their addresses, which the length of a folder's name is enough to change."""
    made = runtime.ensure(runtime.find(RTX, [ROOT / "runtimes"]), user_cache().runtimes)
    found = set()
    for length in (1, 37, 150):
        folder = tmp_path / ("x" * length)
        model = f"in/{'m' * length}.onnx"
        fetch = {model: copy_from(shared_data / "onnx" / "gtcrn_simple.onnx")}
        prepare(folder, "engine_rtx", {"model": model}, fetch, PARAMS)
        reply = Local().run(folder, made.interpreter, 300)
        assert reply.facts, reply
        assert reply.facts["operators"]["GRU"] == 14
        found.add((folder / "out" / "model.engine").read_bytes())
    assert len(found) == 1


def test_int8_in_the_tensorrt_scheme_is_built(run_stage: RunStage, shared_data: Path, tmp_path: Path) -> None:
    normal = (
        run_stage("normalise", "tools", {"model": shared_data / "onnx" / "mnist_cntk.onnx"}, {"opset": 17}).out / "model.onnx"
    )
    given = {"name": "Input3", "dtype": "float32", "shape": [1, 1, 28, 28], "range": None}
    array = np.random.default_rng(0).random((8, 1, 28, 28), np.float32)
    facts, _ = built(run_stage, quantised(run_stage, normal, tmp_path, given, array, **SIGNED))
    assert facts["quantised"] > 10
    assert facts["inputs"][0]["dtype"] == "float32"
    assert facts["warnings"] == []


def quantised_scalar(more: str) -> ModelProto:
    weights: dict[str, Any] = {"c": np.array(64, np.int8), "s": np.array(0.01, np.float32), "z": np.array(0, np.int8)}
    weights["axis"] = np.array([0], np.int64)
    nodes = "q = QuantizeLinear(x, s, z)\n d = DequantizeLinear(q, s, z)\n e = DequantizeLinear(c, s, z)\n"
    return models.graph(f"(float[2,3] x) => (float[2,3] y) {{ {nodes} {more} }}", weights=weights)


def test_a_quantised_scalar_is_given_an_axis_where_that_changes_nothing(run_stage: RunStage, tmp_path: Path) -> None:
    """TensorRT-RTX's parser takes it, and its builder only with an axis."""
    facts, _ = built(run_stage, written(quantised_scalar("y = Mul(d, e)"), tmp_path))
    assert facts["repairs"] == ["c"]
    assert facts["outputs"][0]["shape"] == [2, 3]
    other = written(quantised_scalar("u = Unsqueeze(e, axis)\n y = Mul(d, u)"), tmp_path, "other.onnx")
    assert levels(evidence(run_stage, other)) == ["accepted"] * 5
    assert "Quantized constant (c)" in refused(run_stage, other)["why"]


@pytest.mark.slow
def test_a_real_detector_in_int8_is_built_for_every_capability(run_stage: RunStage, shared_data: Path, tmp_path: Path) -> None:
    given = {"name": "input", "dtype": "float32", "shape": [1, 3, 240, 320], "range": None}
    source = shared_data / "onnx" / "ultraface_rfb320.onnx"
    normal = run_stage("normalise", "tools", {"model": source}, {"opset": 17}).out / "model.onnx"
    ready = run_stage("preprocess", "tools", {"model": normal}, {}).out / "model.onnx"
    array = np.random.default_rng(0).random((2, 3, 240, 320), np.float32)
    model = quantised(run_stage, ready, tmp_path, given, array, **SIGNED)
    for name in ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121"):
        facts, _ = built(run_stage, model, compute_capability=name)
        assert facts["quantised"] > 100


def test_half_precision_stays_half(run_stage: RunStage, tmp_path: Path) -> None:
    weights = {"w": np.ones((3, 4), np.float16)}
    model = models.graph("(float16[2,3] x) => (float16[2,4] y) { y = MatMul(x, w) }", weights=weights)
    facts, _ = built(run_stage, written(model, tmp_path), compute_capability="SM75")
    assert [facts[side][0]["dtype"] for side in ("inputs", "outputs")] == ["float16", "float16"]


def test_dynamic_axes_become_profiles_which_change_the_name(run_stage: RunStage, tmp_path: Path) -> None:
    model = written(models.convnet(), tmp_path)
    facts, _ = built(run_stage, model, profiles=BATCH | {"time": BATCH["batch"]})
    assert facts["profiles"] == {"image": {"min": [1, 1, 8, 8], "opt": [2, 1, 8, 8], "max": [8, 1, 8, 8]}}
    assert facts["inputs"] == [{"name": "image", "dtype": "float32", "shape": [None, 1, 8, 8]}]
    assert facts["unknown_profiles"] == ["time"]
    wider, _ = built(run_stage, model, profiles={"image.0": {"min": 1, "opt": 2, "max": 9}})
    assert wider["suffix"] != facts["suffix"]


def test_equal_inputs_give_equal_bytes(run_stage: RunStage, tmp_path: Path) -> None:
    """Each run is a process of its own in a folder of its own."""
    first, second = (built(run_stage, written(models.convnet(), tmp_path / name), profiles=BATCH) for name in ("a", "b/c"))
    assert first == second


def test_each_capability_gives_another_engine(run_stage: RunStage, tmp_path: Path) -> None:
    model = written(models.convnet(batch=1), tmp_path)
    made = {name: built(run_stage, model, compute_capability=name) for name in ("SM86", "SM89", "SM120")}
    assert len({data for _, data in made.values()}) == len({facts["suffix"] for facts, _ in made.values()}) == 3
    for name, (facts, data) in made.items():
        header = trt_header.read(data)
        assert header is not None
        assert header.capabilities == (name,)
        assert facts["read_back"]["problems"] == []


def test_the_whole_engine_is_evidence_for_every_node(run_stage: RunStage, tmp_path: Path) -> None:
    done = engine(run_stage, written(models.convnet(batch=1), tmp_path))
    found = json.loads((done.out / "evidence.json").read_text())
    assert levels(found["nodes"]) == ["built"] * 5
    assert found["source"].endswith("for SM86")


def test_a_header_in_another_layout_is_not_guessed_at() -> None:
    assert trt_header.read(b"vtrt") is None
    assert trt_header.read(b"ftrt" + bytes(60)) is None
    assert trt_header.read(b"vtrt" + bytes(24) + b"vtrt" + b"\xff\xff\xff\xff" + bytes(32)) is None


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "hint"), [("SM87", "engine kit"), ("SM90", "SM86"), ("8.6", "SM86")])
def test_an_unknown_capability_is_refused_with_the_known(run_stage: RunStage, tmp_path: Path, name: str, hint: str) -> None:
    said = refused(run_stage, written(models.convnet(batch=1), tmp_path), compute_capability=name)
    assert said["what"] == f"unknown compute capability {name}"
    assert "SM75, SM80, SM86, SM89, SM120, SM121" in said["why"]
    assert hint in said["hint"]


def test_supported_is_not_buildable(run_stage: RunStage, tmp_path: Path) -> None:
    """The parser takes every node, and the builder refuses float32 matrix products for Turing."""
    model = written(models.convnet(batch=1), tmp_path)
    assert levels(evidence(run_stage, model)) == ["accepted"] * 5
    said = refused(run_stage, model, compute_capability="SM75")
    assert said["what"] == "no engine for SM75"
    assert "FP32 GEMM is not supported" in said["why"]


def test_an_axis_without_a_profile_is_named(run_stage: RunStage, tmp_path: Path) -> None:
    said = refused(run_stage, written(models.graph("(float[N,3,M] x) => (float[N,3,M] y) { y = Relu(x) }"), tmp_path), profiles={
        "N": {"min": 1, "opt": 1, "max": 1}
    })  # fmt: skip
    assert said["what"] == "no optimisation profile for axis M of input x"


def test_a_profile_that_does_not_rise_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    said = refused(run_stage, written(models.convnet(), tmp_path), profiles={"batch": {"min": 4, "opt": 2, "max": 8}})
    assert "min 4, opt 2, max 8" in said["why"]


def test_uint8_is_not_silently_taken_for_int8(run_stage: RunStage, tmp_path: Path) -> None:
    """The parser itself takes this model, with a warning."""
    model = convolutions(tmp_path / "m.onnx", batch=1)
    made = quantised(run_stage, model, tmp_path, IMAGE, images(8), **SIGNED | {"activations": "uint8"})
    with_zero = load(made)
    for tensor in with_zero.graph.initializer:
        if tensor.data_type == TensorProto.UINT8:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.uint8), tensor.name))
    said = refused(run_stage, models.write(with_zero, tmp_path / "zero.onnx"))
    assert "QuantizeLinear" in said["why"]
    assert "uint8, which TensorRT silently reads as int8" in said["why"]
    found = evidence(run_stage, tmp_path / "zero.onnx")
    assert any(verdict["level"] == "unsupported" and "silently" in verdict["why"] and verdict["fix"] for verdict in found)


def test_the_default_scheme_is_refused_node_by_node(run_stage: RunStage, tmp_path: Path) -> None:
    model = convolutions(tmp_path / "m.onnx", batch=1)
    said = refused(run_stage, quantised(run_stage, model, tmp_path, IMAGE, images(8), activations="int8"))
    assert "a quantised bias (int32)" in said["why"] or "asymmetric zero point" in said["why"]
    assert "symmetric_activations = true" in said["hint"]


@pytest.mark.parametrize(("nodes", "why"), [
    ("y = DequantizeLinear(x, s, z)", "an asymmetric zero point (3)"),
    ("q = DynamicQuantizeLinear(f)\n y = Relu(f)", "DynamicQuantizeLinear"),
    ("z1 = Cast<to=3>(f)\n y = DequantizeLinear(x, s, z1)", "its zero point z1 is computed"),
])  # fmt: skip
def test_what_tensorrt_misreads_is_named(run_stage: RunStage, tmp_path: Path, nodes: str, why: str) -> None:
    weights: dict[str, Any] = {"s": np.array(0.5, np.float32), "z": np.array(3, np.int8)}
    model = models.graph(f"(int8[2] x, float f) => (float[2] y) {{ {nodes} }}", weights=weights)
    assert why in refused(run_stage, written(model, tmp_path))["why"]


def test_float64_is_not_silently_narrowed(run_stage: RunStage, tmp_path: Path) -> None:
    """The parser takes it, reads it as float32 and does not say so."""
    outside = written(models.graph("(double[2] x) => (double[2] y) { y = Relu(x) }"), tmp_path)
    assert "input x is float64 in the model and float32 in the engine" in refused(run_stage, outside)["why"]
    assert "float64" in evidence(run_stage, outside)[0]["why"]
    inside = "(float[2] x) => (float[2] y) { d = Cast<to=11>(x)\n e = Mul(d, w)\n y = Cast<to=1>(e) }"
    facts, _ = built(run_stage, written(models.graph(inside, weights={"w": np.array([1.0, 2.0])}), tmp_path, "i.onnx"))
    assert facts["narrowed"] == ["w"]


def test_unsupported_nodes_are_named_before_the_build(run_stage: RunStage, shared_data: Path) -> None:
    said = refused(run_stage, shared_data / "odd" / "capability.onnx")
    assert said["what"] == "TensorRT-RTX does not take 3 of 5 nodes"
    assert all(f"'Fake{index}'" in said["why"] for index in (1, 2, 3))


def test_an_empty_graph_is_refused(run_stage: RunStage, shared_data: Path) -> None:
    assert refused(run_stage, shared_data / "odd" / "empty.onnx")["what"] == "the model has no output"
    assert evidence(run_stage, shared_data / "odd" / "empty.onnx") == []


# --- evidence ----------------------------------------------------------------------------------------------------


def test_what_stands_beside_a_refused_node_is_asked_about_again(run_stage: RunStage, shared_data: Path) -> None:
    """After its first refusal the parser calls every other node unsupported, too."""
    found = evidence(run_stage, shared_data / "odd" / "capability.onnx")
    assert levels(found) == ["unsupported", "accepted", "unsupported", "accepted", "unsupported"]
    assert "no such operator in TensorRT-RTX: FAKE!" in found[0]["why"]
    assert levels(evidence(run_stage, shared_data / "odd" / "loop.onnx")) == [*["accepted"] * 3, "unsupported", *["accepted"] * 2]


def test_every_nonzero_is_found_and_nothing_else(run_stage: RunStage, tmp_path: Path) -> None:
    """The parser stops at the first."""
    nodes = "a = NonZero(x)\n b = Cast<to=1>(a)\n c = Relu(b)\n d = NonZero(c)\n y = Cast<to=1>(d)"
    found = evidence(run_stage, written(models.graph(f"(int64[4] x) => (float[N,M] y) {{ {nodes} }}"), tmp_path))
    assert levels(found) == ["unsupported", "accepted", "accepted", "unsupported", "accepted"]
    assert found[0]["fix"]


FUNCTION = '<domain: "mine", opset_import: ["": 17]> f (a) => (b) { b = Relu(a) }'


@pytest.mark.parametrize(("text", "more", "expected"), [
    ("(float[2] x) => (float[2] y) { y = mine.f(x) }", {"functions": FUNCTION, "mine": 1}, ["accepted"]),
    ("(float[2] x) => (float[2] y) { y = other.Op(x) }", {"other": 1}, ["unsupported"]),
    ("(float[2] x, bool c) => (float[2] y) { " + models.branches("t = Relu(x)", "e = Neg(x)") + " }", {}, ["accepted"]),
    ("(float[2] x, bool c) => (float[2] y) { " + models.branches("t = Relu(x)", "e = Fake(x)") + " }", {}, ["unsupported"]),
    ("(bfloat16[2,2] x) => (bfloat16[2,2] y) { y = MatMul(x, x) }", {}, ["accepted"]),
    ("(string[2] x) => (string[2] y) { y = Identity(x) }", {}, ["unsupported"]),
])  # fmt: skip
def test_odd_models(run_stage: RunStage, tmp_path: Path, text: str, more: dict[str, Any], expected: list[str]) -> None:
    assert levels(evidence(run_stage, written(models.graph(text, **more), tmp_path))) == expected


def test_a_constant_is_no_computation(run_stage: RunStage, tmp_path: Path) -> None:
    text = '(float[2] x) => (float[2] y) { s = Constant<value_string = "a">()\n y = other.Op(x, s) }'
    assert levels(evidence(run_stage, written(models.graph(text, other=1), tmp_path))) == ["accepted", "unsupported"]


def test_a_thousand_nodes_of_which_many_are_refused(run_stage: RunStage, tmp_path: Path) -> None:
    """Each refusal is another question to the parser."""
    nodes = "\n".join(f"t{i + 1} = {'Relu' if i % 5 else 'NonZero'}(t{i})" for i in range(1000))
    found = evidence(run_stage, written(models.graph(f"(int64[2,3] t0) => (int64[N,M] t1000) {{ {nodes} }}"), tmp_path))
    assert levels(found) == [("accepted" if i % 5 else "unsupported") for i in range(1000)]


def test_a_sparse_weight(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float[3] x) => (float[3] y) { r = Relu(x)\n y = Add(r, s) }")
    values, indices = helper.make_tensor("s", TensorProto.FLOAT, [1], [2.0]), helper.make_tensor("i", TensorProto.INT64, [1], [1])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    found = evidence(run_stage, written(model, tmp_path))
    assert levels(found) == ["accepted", "unsupported"]
    assert "dense" in found[1]["fix"]
