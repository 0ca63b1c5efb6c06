"""OpenVINO's IR and blobs: what is built is read back, run and compared, and equal inputs give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import models
from conftest import ROOT, RunStage, StageRun
from ortolan import runtime
from ortolan.stages.lib import tensors
from quantise_models import QUANTIZE, calibration, convolutions, images, npz

RUNTIME = "openvino"
PARAMS: dict[str, Any] = {"compress_to_fp16": False, "blob": False, "rtol": 1e-3, "atol": 1e-5}
IMAGES = [{"image": np.full((2, 1, 8, 8), value, np.float32)} for value in (0.25, -1.0)]
Facts = dict[str, Any]


def engine(
    run_stage: RunStage, folder: Path, model: ModelProto | Path, feeds: list[dict[str, Any]], expected: Any = None, **params: Any
) -> StageRun:
    path = model if isinstance(model, Path) else models.write(model, folder / "m.onnx")
    tensors.write_samples(folder / "samples.npz", feeds)
    inputs = {"model": path, "samples": folder / "samples.npz"}
    if expected is not None:
        tensors.write_samples(folder / "expected.npz", expected)
        inputs["expected"] = folder / "expected.npz"
    return run_stage("engine_openvino", RUNTIME, inputs, PARAMS | params)


def built(*args: Any, **params: Any) -> Facts:
    done = engine(*args, **params)
    assert done.facts is not None, done.refused or done.log
    return done.facts


def files(done: StageRun) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(done.out.iterdir())}


def test_nobody_is_told_of_an_import() -> None:
    """The openvino package imports openvino-telemetry, where it is there, and that sends an event."""
    packages = runtime.find(RUNTIME, [ROOT / "runtimes"]).packages()
    assert "openvino" in packages
    assert "openvino-telemetry" not in packages


def test_the_ir_agrees_with_onnx_runtime(run_stage: RunStage, tmp_path: Path) -> None:
    done = engine(run_stage, tmp_path, models.convnet(), IMAGES)
    assert sorted(files(done)) == ["model.bin", "model.xml"]
    facts = done.facts
    assert facts is not None
    assert facts["openvino"].startswith("2026.4.1")
    assert facts["differences"] == []
    assert facts["ports"]["inputs"] == [{"names": ["image"], "dtype": "float32", "shape": [None, 1, 8, 8]}]
    assert facts["ports"]["outputs"] == [{"names": ["scores"], "dtype": "float32", "shape": [None, 3]}]
    assert facts["against"] == "onnxruntime 1.31.1"
    assert facts["blob"] is None
    ir = facts["ir"]
    assert (ir["opens"], ir["runs"], ir["error"], ir["close"]) == (True, True, "", True)
    assert ir["outputs"]["scores"]["max_abs"] < 1e-4
    assert ir["precisions"]["Convolution"] == {"f32": 1}
    assert ir["precision"] == "f32"


def test_other_outputs_than_expected_are_seen(run_stage: RunStage, tmp_path: Path) -> None:
    wrong = [{"scores": np.zeros((2, 3), np.float32)} for _ in IMAGES]
    facts = built(run_stage, tmp_path, models.convnet(), IMAGES, wrong)
    assert facts["against"] == "expected"
    assert facts["ir"]["runs"]
    assert not facts["ir"]["close"]
    assert facts["ir"]["outputs"]["scores"]["max_abs"] > 0.1
    facts = built(run_stage, tmp_path, models.convnet(), IMAGES, [{"other": one["scores"]} for one in wrong])
    assert facts["ir"]["outputs"]["scores"]["reason"] == "an output that nothing is expected of"


def test_samples_that_do_not_fit_do_not_run(run_stage: RunStage, tmp_path: Path) -> None:
    wrong = [{"image": np.zeros((2, 1, 9, 9), np.float32)}]
    ir = built(run_stage, tmp_path, models.convnet(), wrong, [{"scores": np.zeros((2, 3), np.float32)}])["ir"]
    assert (ir["opens"], ir["runs"], ir["close"]) == (True, False, False)
    assert "9" in ir["error"]
    assert "/" not in ir["error"]


def test_without_samples_nothing_ran(run_stage: RunStage, tmp_path: Path) -> None:
    ir = built(run_stage, tmp_path, models.convnet(), [])["ir"]
    assert (ir["opens"], ir["runs"], ir["close"]) == (True, False, None)


def test_equal_inputs_give_equal_bytes(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    """In other folders and processes: the stage runs each time in a new one of both."""
    draw = np.random.default_rng(0)
    real = onnx.load(shared_data / "onnx" / "ultraface_rfb320.onnx")
    for model, feeds in ((models.convnet(), IMAGES), (real, [{"input": draw.random((1, 3, 240, 320), np.float32)}])):
        one, two = (engine(run_stage, tmp_path, model, feeds, blob=True) for _ in "ab")
        assert one.out != two.out
        assert sorted(files(one)) == ["model.bin", "model.blob", "model.xml"]
        assert files(one) == files(two)
        assert one.facts == two.facts
        assert not any(str(tmp_path).encode() in data for data in files(one).values())


def test_a_blob_runs_and_says_what_takes_it(run_stage: RunStage, tmp_path: Path) -> None:
    facts = built(run_stage, tmp_path, models.convnet(), IMAGES, blob=True)
    blob = facts["blob"]
    assert (blob["opens"], blob["runs"], blob["close"], blob["differences"]) == (True, True, True, [])
    assert blob["made_for"]["openvino"] == facts["openvino"].partition("-")[0]
    assert blob["made_for"]["isa"].strip()


def test_half_precision_weights_are_half_the_size_and_less_exact(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    real = onnx.load(shared_data / "onnx" / "ultraface_rfb320.onnx")
    feeds = [{"input": np.random.default_rng(0).random((1, 3, 240, 320), np.float32)}]
    whole = engine(run_stage, tmp_path, real, feeds)
    half = engine(run_stage, tmp_path, real, feeds, compress_to_fp16=True)
    assert whole.facts is not None
    assert half.facts is not None
    assert len(files(half)["model.bin"]) < 0.6 * len(files(whole)["model.bin"])
    assert half.facts["constants"]["float16"] * 2 == pytest.approx(whole.facts["constants"]["float32"], rel=0.01)
    snr = [facts["ir"]["outputs"]["scores"]["snr_db"] for facts in (whole.facts, half.facts)]
    assert snr[0] > 120 > snr[1] > 50


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_a_quantised_model_stays_so(run_stage: RunStage, tmp_path: Path, activations: str) -> None:
    fp32 = convolutions(tmp_path / "m.onnx")
    params = calibration(npz(tmp_path / "data", image=images(64)))
    ranges = run_stage("calibrate", "tools", {"model": fp32, "data": tmp_path / "data"}, params).out / "ranges.json"
    options = QUANTIZE | {"activations": activations, "symmetric_activations": activations == "int8"}
    int8 = run_stage("quantise", "tools", {"model": fp32, "ranges": ranges}, options).out / "model.onnx"
    feeds = [{"image": image[None]} for image in images(8, seed=1)]
    facts = built(run_stage, tmp_path, int8, feeds)
    assert facts["fake_quantize"] > 0
    assert facts["constants"]["int8"] > facts["constants"]["float32"]
    assert {"u8", "i8"} & facts["ir"]["precisions"]["Convolution"].keys(), facts["ir"]["precisions"]
    logits = facts["ir"]["outputs"]["logits"]
    assert logits["max_abs"] == 0 or logits["snr_db"] > 20, logits  # equal outputs have no signal-to-noise ratio
    plain = built(run_stage, tmp_path, fp32, feeds)
    assert plain["fake_quantize"] == 0
    assert plain["ir"]["precisions"]["Convolution"] == {"f32": 2}


REAL: dict[str, dict[str, tuple[int, ...]]] = {
    "gtcrn_simple": {
        "mix": (1, 257, 1, 2), "conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16),
    },
    "mnist_cntk": {"Input3": (1, 1, 28, 28)},
    "ultraface_rfb320": {"input": (1, 3, 240, 320)},
}  # fmt: skip


@pytest.mark.parametrize("real", REAL)
def test_real_models(run_stage: RunStage, tmp_path: Path, shared_data: Path, real: str) -> None:
    draw = np.random.default_rng(0)
    feeds = [{key: draw.random(shape, np.float32) for key, shape in REAL[real].items()} for _ in range(2)]
    facts = built(run_stage, tmp_path, onnx.load(shared_data / "onnx" / f"{real}.onnx"), feeds, blob=True)
    assert facts["differences"] == []
    assert facts["ir"]["close"], facts["ir"]
    assert facts["blob"]["close"], facts["blob"]


F2 = {"x": np.array([1, -2], np.float32)}
FUNCTION = '<domain: "own", opset_import: ["": 17]> f (x) => (y) { t = Sin(x)  y = Abs(t) }'
ODD: dict[str, tuple[ModelProto, list[dict[str, Any]]]] = {
    "if": (
        models.graph("(bool c, float[2] x) => (float[2] y) { z = Relu(x)\n" + models.branches("t = Sin(z)", "e = Cos(z)") + "}"),
        [F2 | {"c": np.array(value)} for value in (True, False)],
    ),
    "local function": (models.graph("(float[2] x) => (float[2] y) { y = own.f(x) }", functions=FUNCTION, own=1), [F2]),
    "data-dependent": (models.graph("(float[2] x) => (int64[1,n] y) { a = Relu(x)\n y = NonZero(a) }"), [F2]),
    "double": (models.graph("(double[2] x) => (double[2] y) { y = Abs(x) }"), [{"x": np.array([1.5, -2.5])}]),
    "scalar": (models.graph("(float[2,2] x) => (int64 y) { y = Size(x) }"), [{"x": np.eye(2, dtype=np.float32)}]),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_models_agree(run_stage: RunStage, tmp_path: Path, odd: str) -> None:
    facts = built(run_stage, tmp_path, *ODD[odd])
    assert facts["differences"] == []
    assert facts["ir"]["close"], facts["ir"]


def test_a_real_loop_agrees(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    """OpenVINO 2026.4.1 refuses it as a file, and takes its bytes."""
    loop = onnx.load(shared_data / "odd" / "loop.onnx")
    assert built(run_stage, tmp_path, loop, [{"input_0": np.array([1], np.int32)}])["ir"]["close"]


def test_what_onnx_runtime_cannot_run_is_compared_with_nothing(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    facts = built(run_stage, tmp_path, onnx.load(shared_data / "odd" / "matmul.bf16.onnx"), [])
    assert (facts["against"], facts["ir"]["opens"], facts["ir"]["close"]) == ("", True, None)
    assert facts["ports"]["inputs"][0]["dtype"] == "bfloat16"


REFUSED = {
    "my.thing.Foo": models.graph("(float[2] x) => (float[2] y) { y = my.thing.Foo(x) }", my_thing=1),
    "tensor of strings": models.graph("(string[2] x) => (string[2] y) { y = Identity(x) }"),
    "SequenceMark": models.graph("(float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }"),
}


@pytest.mark.parametrize("named", REFUSED)
def test_what_openvino_cannot_convert_is_refused_by_name(run_stage: RunStage, tmp_path: Path, named: str) -> None:
    done = engine(run_stage, tmp_path, REFUSED[named], [F2])
    assert done.refused, done.log
    assert named in done.refused["what"] + done.refused["why"]
    assert "/" not in done.refused["why"]


def test_a_signature_that_differs_is_told(run_stage: RunStage, tmp_path: Path) -> None:
    """ONNX Runtime would refuse to open this one; OpenVINO gives the output another type and shape than the file says."""
    model = models.graph("(float[2,3] x) => (float[2,3] y) { y = Shape(x) }")
    facts = built(run_stage, tmp_path, model, [{"x": np.zeros((2, 3), np.float32)}])
    assert facts["differences"] == ["output 'y': int64, the model's is float32", "output 'y': shape [2], the model's is [2, 3]"]
