"""What quantises must load, run and agree; the six upstream failures each end in a refusal, a repair or a fact to judge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import ROOT, RunStage, StageRun
from quantise_models import IMAGE, QUANTIZE, Shape, calibration, convolutions, generator, graph, images, npz, save, value, weight

OLD = "onnxruntime-1.17.3"
DIGITS = {"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8], "range": [0, 1]}
DIGITS_SETS = {
    name: {"kind": "npz", "npz": f"digits-{name}.npz", "labels": "label" if name == "evaluation" else None, "limit": None}
    for name in ("calibration", "evaluation")
}
HALF_DB = 10.0


def quantise(run_stage: RunStage, model: Path, ranges: Path, **params: Any) -> StageRun:
    return run_stage("quantise", "tools", {"model": model, "ranges": ranges}, QUANTIZE | params)


def calibrate(run_stage: RunStage, model: Path, folder: Path, params: dict[str, Any]) -> Path:
    run = run_stage("calibrate", "tools", {"model": model, "data": folder}, params)
    assert run.facts is not None, run
    return run.out / "ranges.json"


def evaluate(run_stage: RunStage, fp32: Path, int8: Path, folder: Path, *, name: str = OLD, **params: Any) -> dict[str, Any]:
    params = {"inputs": [IMAGE], "metric": None, **params}
    run = run_stage("evaluate", name, {"fp32": fp32, "candidate": int8, "data": folder}, params)
    assert run.facts is not None, run
    return run.facts


def ready(run_stage: RunStage, model: Path) -> Path:
    """The model at opset 17, as a build hands it on to calibration."""
    normal = run_stage("normalise", "tools", {"model": model}, {"opset": 17}).out / "model.onnx"
    return run_stage("preprocess", "tools", {"model": normal}, {}).out / "model.onnx"


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.fixture
def prepared(tmp_path: Path, run_stage: RunStage) -> tuple[Path, Path, dict[str, Any]]:
    """A model, its ranges, and the data set in ``tmp_path / "data"``."""
    model = convolutions(tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=images(64))
    return model, calibrate(run_stage, model, tmp_path / "data", calibration(spec)), spec


# --- what should be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("activations", "weights", "symmetric"), [
    ("uint8", "int8", False), ("int8", "int8", False), ("uint8", "uint8", False), ("int8", "int8", True),
])  # fmt: skip
def test_every_kind_runs_and_agrees(
    tmp_path: Path, run_stage: RunStage, prepared: Any, activations: str, weights: str, symmetric: bool, per_channel: bool
) -> None:
    model, ranges, spec = prepared
    options = {"activations": activations, "weights": weights, "symmetric_activations": symmetric, "per_channel": per_channel}
    run = quantise(run_stage, model, ranges, **options)
    assert run.facts is not None, run
    assert run.facts["qdq"] == run.facts["q"] + run.facts["dq"] > 0
    assert run.facts["macs"] == 8 * 64 * 9 + 8 * 64 * 9 + 512 * 10
    assert run.facts["macs_share"] == 1
    assert run.facts["nodes"]["Conv"] == {"quantised": 2, "before": 2}
    found = evaluate(run_stage, model, run.out / "model.onnx", tmp_path / "data", data=spec)
    assert found["agreement"] > 0.9
    assert found["snr_db"]["mean"] > 20


def test_the_result_repeats_itself_and_loads_in_old_runtimes(run_stage: RunStage, prepared: Any) -> None:
    model, ranges, _ = prepared
    first, second = (quantise(run_stage, model, ranges).out / "model.onnx" for _ in range(2))
    assert first.read_bytes() == second.read_bytes()
    found = onnx.load(first)
    assert [(entry.domain, entry.version) for entry in found.opset_import] == [("", 17)]
    assert found.ir_version <= 8


def test_tensor_rt_gets_zero_points_of_zero_and_a_bias_in_float(run_stage: RunStage, prepared: Any) -> None:
    model, ranges, _ = prepared
    found = onnx.load(quantise(run_stage, model, ranges, activations="int8", symmetric_activations=True).out / "model.onnx")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in found.graph.initializer}
    zeros = [constants[node.input[2]] for node in found.graph.node if node.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    assert all(not zero.any() and zero.dtype == np.int8 for zero in zeros)


def test_excluded_nodes_stay_in_float(run_stage: RunStage, prepared: Any) -> None:
    model, ranges, _ = prepared
    run = quantise(run_stage, model, ranges, exclude=["gemm", "no_such_node"])
    assert run.facts is not None, run
    assert run.facts["left_in_float"] == {"gemm": "excluded by the recipe"}
    assert run.facts["unknown_exclude"] == ["no_such_node"]
    assert "Gemm" not in run.facts["nodes"]
    assert run.facts["macs_share"] == pytest.approx(1 - 5120 / run.facts["macs"])


def test_ranges_of_a_dynamic_model_fit_its_fixed_form(tmp_path: Path, run_stage: RunStage, prepared: Any) -> None:
    _, ranges, spec = prepared
    fixed = convolutions(tmp_path / "fixed.onnx", batch=1)
    run = quantise(run_stage, fixed, ranges)
    entry = IMAGE | {"shape": [1, 1, 8, 8]}
    found = evaluate(run_stage, fixed, run.out / "model.onnx", tmp_path / "data", data=spec, inputs=[entry])
    assert found["agreement"] > 0.9


def test_nodes_without_a_range_stay_in_float(run_stage: RunStage, prepared: Any) -> None:
    model, ranges, _ = prepared
    ranges.write_text(ranges.read_text().replace('"c1"', '"unknown"'))
    run = quantise(run_stage, model, ranges)
    assert run.facts is not None, run
    assert run.facts["left_in_float"] == {"depthwise": "no range for c1", "relu1": "no range for c1"}
    assert run.facts["nodes"]["Conv"]["quantised"] == 1


def test_unknown_contents_of_ranges(tmp_path: Path, run_stage: RunStage) -> None:
    (tmp_path / "ranges.json").write_text("{}")
    run = quantise(run_stage, convolutions(tmp_path / "m.onnx"), tmp_path / "ranges.json")
    assert run.refused, run
    assert run.refused["what"] == "ranges.json holds no activation ranges"


def test_int8_activations_want_int8_weights(run_stage: RunStage, prepared: Any) -> None:
    run = quantise(run_stage, *prepared[:2], activations="int8", weights="uint8")
    assert run.refused, run
    assert "do not go together" in run.refused["what"]


# --- upstream failure 1: per-channel below opset 13 writes a model that no runtime loads ---------------------------


@pytest.mark.parametrize("opset", [11, 12])
def test_per_channel_below_opset_13(tmp_path: Path, run_stage: RunStage, opset: int) -> None:
    model = convolutions(tmp_path / "m.onnx", opset=opset)
    spec = npz(tmp_path / "data", image=images(32))
    ranges = calibrate(run_stage, model, tmp_path / "data", calibration(spec))
    run = quantise(run_stage, model, ranges)
    assert run.refused, run
    assert run.refused["what"] == "per-channel quantisation needs opset 13"
    assert "opset = 13 or higher" in run.refused["hint"]
    run = quantise(run_stage, model, ranges, per_channel=False)
    assert evaluate(run_stage, model, run.out / "model.onnx", tmp_path / "data", data=spec)["agreement"] > 0.9


def test_no_qdq_below_opset_10(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "m.onnx", opset=9)
    ranges = calibrate(run_stage, model, tmp_path / "data", calibration(npz(tmp_path / "data", image=images(4))))
    run = quantise(run_stage, model, ranges, per_channel=False)
    assert run.refused, run
    assert run.refused["why"] == "QuantizeLinear exists from opset 10 on"


@pytest.mark.parametrize("name", ["mnist_cntk", "ultraface_rfb320"])
def test_per_channel_of_old_real_models(tmp_path: Path, run_stage: RunStage, shared_data: Path, name: str) -> None:
    (tmp_path / "ranges.json").write_text('{"tensors":{}}')
    run = quantise(run_stage, shared_data / "onnx" / f"{name}.onnx", tmp_path / "ranges.json")
    assert run.refused, run
    assert "opset" in run.refused["what"]
    assert "opset = 13 or higher" in run.refused["hint"]


# --- upstream failure 2: nothing is quantised and nobody says so ---------------------------------------------------


def test_everything_inside_if(tmp_path: Path, run_stage: RunStage) -> None:
    def branch(name: str) -> Any:
        return graph([helper.make_node("Conv", ["image", "w"], [name], f"conv_{name}")], [], [value(name, ["batch", 8, 6, 6])])

    nodes = [helper.make_node("If", ["flag"], ["out"], "if", then_branch=branch("a"), else_branch=branch("b"))]
    ends = [value("image", ["batch", 1, 8, 8]), value("flag", [], TensorProto.BOOL)]
    model = save(graph(nodes, ends, [value("out", ["batch", 8, 6, 6])], [weight("w", 8, 1, 3, 3)]), tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=images(3), flag=np.array([True, False, True]))
    flag: dict[str, Any] = {"name": "flag", "dtype": "bool", "shape": [], "range": None}
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", calibration(spec, IMAGE, flag)))
    assert run.facts is not None, run
    assert (run.facts["qdq"], run.facts["macs_share"]) == (0, 0)
    assert run.facts["macs"] == 2 * 8 * 36 * 9
    assert (run.out / "model.onnx").exists()


def test_a_model_that_multiplies_nothing(tmp_path: Path, run_stage: RunStage) -> None:
    nodes = [helper.make_node("Add", ["image", "image"], ["out"], "add")]
    shape: Shape = ["batch", 1, 8, 8]
    model = save(graph(nodes, [value("image", shape)], [value("out", shape)]), tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=images(2))
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", calibration(spec)))
    assert run.facts is not None, run
    assert run.facts["qdq"] > 0
    assert (run.facts["macs"], run.facts["macs_share"]) == (0, 0)


def test_half_precision_weights_are_named(tmp_path: Path, run_stage: RunStage) -> None:
    nodes = [helper.make_node("Conv", ["image", "w"], ["out"], "conv")]
    ends = [value(name, shape, TensorProto.FLOAT16) for name, shape in (("image", [1, 1, 8, 8]), ("out", [1, 8, 6, 6]))]
    model = save(graph(nodes, ends[:1], ends[1:], [weight("w", 8, 1, 3, 3, dtype="float16")]), tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=images(3).astype(np.float16))
    params = calibration(spec, IMAGE | {"dtype": "float16", "shape": [1, 1, 8, 8]})
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", params))
    assert run.facts is not None, run
    assert (run.facts["qdq"], run.facts["macs_share"], run.facts["half_precision"]) == (0, 0, ["w"])


# --- upstream failure 3: it shrinks, runs, and answers something else ----------------------------------------------

STREAM = """
import wave
from pathlib import Path
import numpy, onnxruntime

def feeds():
    here = Path(__file__).parent
    session = onnxruntime.InferenceSession(here / "gtcrn.onnx", providers=["CPUExecutionProvider"])
    with wave.open(str(here / "mix.wav")) as sound:
        samples = numpy.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype("f") / 32768
    window = numpy.sqrt(numpy.hanning(513)[:-1]).astype("f")
    state = {each.name: numpy.zeros(each.shape, "f") for each in session.get_inputs()}
    for start in range(0, len(samples) - 512, 256):
        bins = numpy.fft.rfft(samples[start:start + 512] * window)
        state["mix"] = numpy.stack([bins.real, bins.imag], -1).astype("f")[None, :, None]
        yield dict(state)
        outputs = dict(zip((each.name for each in session.get_outputs()), session.run(None, state)))
        state = {name: outputs.get(name + "_out") for name in state}
"""


@pytest.mark.slow
def test_collapse_of_a_recurrent_model_shows(tmp_path: Path, run_stage: RunStage, shared_data: Path) -> None:
    model = ready(run_stage, shared_data / "onnx" / "gtcrn_simple.onnx")
    spec = generator(tmp_path / "data", STREAM, limit=80)
    (tmp_path / "data" / "gtcrn.onnx").write_bytes(model.read_bytes())
    (tmp_path / "data" / "mix.wav").write_bytes((shared_data / "audio" / "gtcrn_mix.wav").read_bytes())
    inputs = [
        {"name": info.name, "dtype": "float32", "shape": [d.dim_value for d in info.type.tensor_type.shape.dim], "range": None}
        for info in onnx.load(model).graph.input
    ]
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", calibration(spec, *inputs)))
    assert run.facts is not None, run
    assert run.facts["macs_share"] > 0.5  # it looks quantised
    assert any("grouped" in repair for repair in run.facts["repairs"])
    found = evaluate(run_stage, model, run.out / "model.onnx", tmp_path / "data", data=spec, inputs=inputs)
    assert found["samples"] == 80
    assert found["agreement"] < 0.5
    assert found["outputs"]["enh"]["snr_db"]["mean"] < HALF_DB


# --- upstream failure 4: calibration data in another scale ---------------------------------------------------------


@pytest.fixture
def digits(run_stage: RunStage) -> Path:
    """The trained perceptron of the recipes, ready to be quantised."""
    return ready(run_stage, ROOT / "recipes" / "models" / "digits-mlp.onnx")


def test_calibration_in_the_wrong_scale_shows(tmp_path: Path, run_stage: RunStage, digits: Path) -> None:
    with np.load(ROOT / "recipes" / "models" / "digits-calibration.npz") as archive:
        right = archive["image"]
    found = {}
    for name, factor in (("right", 1), ("wrong", 255)):
        spec = npz(tmp_path / name, image=right * np.float32(factor))
        ranges = calibrate(run_stage, digits, tmp_path / name, calibration(spec, DIGITS | {"range": None}))
        int8 = quantise(run_stage, digits, ranges).out / "model.onnx"
        folder, data = ROOT / "recipes" / "models", DIGITS_SETS["evaluation"]
        found[name] = evaluate(run_stage, digits, int8, folder, data=data, inputs=[DIGITS], metric="top1")
    assert found["right"]["agreement"] > 0.97
    assert abs(found["right"]["metric"]["drop"]) < 0.01
    assert found["wrong"]["agreement"] < 0.5
    assert found["wrong"]["metric"]["drop"] > 0.4
    assert found["wrong"]["inputs"]["image"]["observed"] == [0, 1]


def test_inputs_quantised_at_once_show_the_scale(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "m.onnx")
    used, clipped = {}, {}
    for name, factor in (("right", 1), ("large", 255), ("small", 1 / 255)):
        spec = npz(tmp_path / name, image=images(32) * np.float32(factor))
        ranges = calibrate(run_stage, model, tmp_path / name, calibration(spec))
        int8 = quantise(run_stage, model, ranges).out / "model.onnx"
        fit = evaluate(run_stage, model, int8, tmp_path / "right", data=npz(tmp_path / "right", image=images(32)))["inputs"][
            "image"
        ]
        used[name], clipped[name] = fit["used"], fit["clipped"]
    assert used["right"] > 0.98
    assert clipped["right"] == 0
    assert used["large"] < 0.01
    assert clipped["small"] > 0.9


def test_the_recipes_range_refuses_the_wrong_scale(tmp_path: Path, run_stage: RunStage, digits: Path) -> None:
    spec = npz(tmp_path / "data", image=np.full((2, 1, 8, 8), 255, np.float32))
    run = run_stage("calibrate", "tools", {"model": digits, "data": tmp_path / "data"}, calibration(spec, DIGITS))
    assert run.refused, run
    assert run.refused["what"] == "data.npz, sample 0: 'image' is out of range"


# --- upstream failure 5: a Gemm's bias of [1,N] raises "ambiguous" -------------------------------------------------


@pytest.mark.parametrize("bias", [(1, 10), (1,), (1, 1), ()])
def test_biases_that_broadcast_are_reshaped(tmp_path: Path, run_stage: RunStage, bias: tuple[int, ...]) -> None:
    model = convolutions(tmp_path / "m.onnx", bias=bias)
    spec = npz(tmp_path / "data", image=images(32))
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", calibration(spec)))
    assert run.facts is not None, run
    assert run.facts["repairs"] == [f"Gemm 'gemm': bias {list(bias)} reshaped to [10]"]
    assert run.facts["nodes"]["Gemm"]["quantised"] == 1
    assert evaluate(run_stage, model, run.out / "model.onnx", tmp_path / "data", data=spec)["agreement"] > 0.9


def test_a_bias_per_row_leaves_the_node_in_float(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "m.onnx", bias=(2, 10), batch=2)
    spec = npz(tmp_path / "data", image=images(32))
    params = calibration(spec, IMAGE | {"shape": [2, 1, 8, 8]})
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", params))
    assert run.facts is not None, run
    assert run.facts["left_in_float"] == {"gemm": "the shape of its bias"}
    assert run.facts["nodes"]["Conv"]["quantised"] == 2


def test_the_real_model_with_that_bias(tmp_path: Path, run_stage: RunStage, shared_data: Path) -> None:
    model = ready(run_stage, shared_data / "onnx" / "mnist_cntk.onnx")
    entry = {"name": "Input3", "dtype": "float32", "shape": [1, 1, 28, 28], "range": None}
    spec = npz(tmp_path / "data", Input3=strokes(60))
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", calibration(spec, entry)))
    assert run.facts is not None, run
    assert [repair for repair in run.facts["repairs"] if "bias [1, 10] reshaped to [10]" in repair]
    assert run.facts["macs_share"] == 1
    assert evaluate(run_stage, model, run.out / "model.onnx", tmp_path / "data", data=spec, inputs=[entry])["agreement"] > 0.9


def strokes(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Bars and crosses, 28x28 from 0 to 255, that a digit classifier has opinions about."""
    random, found = np.random.default_rng(0), np.zeros((count, 1, 28, 28), np.float32)
    for picture in found:
        for _ in range(2):
            start, end = random.uniform(4, 24, 2), random.uniform(4, 24, 2)
            for step in np.linspace(0, 1, 60):
                row, column = (start + step * (end - start)).astype(int)
                picture[0, row - 1 : row + 2, column - 1 : column + 2] = 255
    return found


# --- upstream failure 6, memory, is in test_calibrate.py -----------------------------------------------------------


def test_grouped_transposed_convolutions(tmp_path: Path, run_stage: RunStage) -> None:
    """Upstream raises "operands could not be broadcast together" at their bias."""
    nodes = [helper.make_node("ConvTranspose", ["image", "w", "b"], ["out"], "up", group=2, strides=[2, 2])]
    shape: Shape = [1, 4, 8, 8]
    weights = [weight("w", 4, 3, 2, 2), weight("b", 6, seed=1)]
    model = save(graph(nodes, [value("image", shape)], [value("out", [1, 6, 16, 16])], weights), tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=np.random.default_rng(0).standard_normal((16, 4, 8, 8)).astype(np.float32))
    entry = IMAGE | {"shape": shape}
    run = quantise(run_stage, model, calibrate(run_stage, model, tmp_path / "data", calibration(spec, entry)))
    assert run.facts is not None, run
    assert run.facts["repairs"] == ["ConvTranspose 'up': grouped, so its weights are quantised per tensor"]
    assert run.facts["macs"] == 4 * 8 * 8 * 3 * 2 * 2
    assert evaluate(run_stage, model, run.out / "model.onnx", tmp_path / "data", data=spec, inputs=[entry])["agreement"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_a_real_face_detector_agrees(run_stage: RunStage, shared_data: Path, activations: str) -> None:
    normal = (
        run_stage("normalise", "tools", {"model": shared_data / "onnx" / "ultraface_rfb320.onnx"}, {"opset": 17}).out
        / "model.onnx"
    )
    model = run_stage("preprocess", "tools", {"model": normal}, {}).out / "model.onnx"
    spec = {"kind": "images", "images": "images", "size": [320, 240], "color": "RGB", "layout": "NCHW", "scale": 1 / 128}
    spec |= {"mean": [127 / 128], "std": [1.0], "limit": None}
    entry = {"name": "input", "dtype": "float32", "shape": [1, 3, 240, 320], "range": [-1, 1]}
    run = quantise(run_stage, model, calibrate(run_stage, model, shared_data, calibration(spec, entry)), activations=activations)
    assert run.facts is not None, run
    assert run.facts["macs_share"] == 1
    assert kinds(run.out / "model.onnx")["QuantizeLinear"] == run.facts["q"] > 50
    # images need Pillow, which the runtime `tools` has
    found = evaluate(run_stage, model, run.out / "model.onnx", shared_data, name="tools", data=spec, inputs=[entry])
    assert found["agreement"] == 1
    assert found["snr_db"]["min"] > 30
