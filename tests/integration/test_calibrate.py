"""Calibration streams, repeats itself, and agrees with ONNX Runtime's own calibrators."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx import TensorProto, helper

from conftest import ROOT, RunStage
from ortolan import runtime
from ortolan.cache import user_cache
from quantise_models import IMAGE, Shape, calibration, convolutions, generator, graph, images, npz, save, value

METHODS = ["minmax", "entropy", "percentile"]
RANDOM = """
import numpy
def feeds():
    random = numpy.random.default_rng({seed})
    while True:
        yield {{"image": random.random((1, 8, 8), "f")}}
"""


@pytest.mark.parametrize("method", METHODS)
def test_ranges_cover_the_model_and_repeat_themselves(tmp_path: Path, run_stage: RunStage, method: str) -> None:
    inputs = {"model": convolutions(tmp_path / "m.onnx"), "data": tmp_path / "data"}
    params = calibration(npz(tmp_path / "data", image=images(20)), method=method)
    first, second = (run_stage("calibrate", "tools", inputs, params) for _ in range(2))
    assert first.facts is not None, first
    assert (first.facts["samples"], first.facts["method"]) == (20, method)
    assert first.facts["inputs"] == {"image": [float(images(20).min()), float(images(20).max())]}
    assert (first.out / "ranges.json").read_bytes() == (second.out / "ranges.json").read_bytes()
    tensors = json.loads((first.out / "ranges.json").read_text())["tensors"]
    assert sorted(tensors) == ["c0", "c1", "f", "image", "logits", "r0", "r1"]
    assert all(low <= 0 <= high for low, high in tensors.values())


def test_thresholds_lie_within_the_extremes(tmp_path: Path, run_stage: RunStage) -> None:
    """One outlier in 1,280 values: the extremes hold it, a percentile of 99.9 and entropy cut it off."""
    array = images(20)
    array[3, 0, 0, 0] = 50
    inputs = {"model": convolutions(tmp_path / "m.onnx"), "data": tmp_path / "data"}
    spec = npz(tmp_path / "data", image=array)
    found = {}
    for method in METHODS:
        run = run_stage("calibrate", "tools", inputs, calibration(spec, method=method))
        found[method] = json.loads((run.out / "ranges.json").read_text())["tensors"]["image"]
    assert found["minmax"] == [float(array.min()), 50]
    assert 2 < found["percentile"][1] < 49
    assert 2 < found["entropy"][1] < 49


ORACLE = """
import json, sys
import numpy
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
model, data, method, bins = sys.argv[1:5]

class Reader:
    rows = iter(numpy.load(data)["image"])
    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {"image": row[None]}

options = {} if method == "MinMax" else {"num_bins": int(bins), "num_quantized_bins": 128, "percentile": 99.9}
method = CalibrationMethod[method]
calibrator = create_calibrator(model, augmented_model_path=sys.argv[5], calibrate_method=method, extra_options=options)
calibrator.collect_data(Reader())
found = calibrator.compute_data().items()
print("\\n" + json.dumps({name: [float(numpy.ravel(v)[0]) for v in data.range_value] for name, data in found}))
"""


@pytest.mark.parametrize(("method", "bins"), [("MinMax", 0), ("Percentile", 2048), ("Entropy", 512)])
def test_the_same_as_onnx_runtime_holding_everything(tmp_path: Path, run_stage: RunStage, method: str, bins: int) -> None:
    model = convolutions(tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=images(16))
    tools = runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes).interpreter
    files = str(model), str(tmp_path / "data" / "data.npz"), str(tmp_path / "augmented.onnx")
    command = [str(tools), "-s", "-c", ORACLE, *files[:2], method, str(bins), files[2]]
    wanted = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    params = calibration(spec, method=method.lower())
    run = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, params)
    found = json.loads((run.out / "ranges.json").read_text())["tensors"]
    assert found.keys() == wanted.keys()
    for name, pair in wanted.items():
        width = pair[1] - pair[0]
        # a value on a bin's edge may fall to either side: ONNX Runtime optimises nothing, we let it choose kernels
        assert found[name] == pytest.approx(pair, abs=max(1e-5, 3 * width / bins) if bins else 1e-5), name


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_a_generator_must_repeat_itself(tmp_path: Path, run_stage: RunStage, method: str) -> None:
    inputs = {"model": convolutions(tmp_path / "m.onnx"), "data": tmp_path / "data"}
    for seed, fine in (("0", True), ("", False)):
        params = calibration(generator(tmp_path / "data", RANDOM.format(seed=seed), limit=4), method=method)
        run = run_stage("calibrate", "tools", inputs, params)
        assert bool(run.facts) == fine
        assert fine or "gives other samples on its second pass" in (run.refused or {})["what"]


def test_activations_that_are_not_finite_have_no_range(tmp_path: Path, run_stage: RunStage) -> None:
    nodes = [helper.make_node("Log", ["image"], ["log"], "log"), helper.make_node("Relu", ["log"], ["out"], "relu")]
    shape: Shape = ["batch", 1, 8, 8]
    model = save(graph(nodes, [value("image", shape)], [value("out", shape)]), tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=np.abs(images(3)) * (np.arange(3) != 1).astype(np.float32).reshape(3, 1, 1, 1))
    run = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec))
    assert run.facts is not None, run
    assert run.facts["not_finite"] == ["log"]
    assert sorted(json.loads((run.out / "ranges.json").read_text())["tensors"]) == ["image", "out"]


def test_a_sample_that_the_model_cannot_take(tmp_path: Path, run_stage: RunStage) -> None:
    """The recipe leaves an axis open that the model does not."""
    inputs = {"model": convolutions(tmp_path / "m.onnx"), "data": tmp_path / "data"}
    spec = npz(tmp_path / "data", image=np.zeros((2, 1, 8, 9), np.float32))
    run = run_stage("calibrate", "tools", inputs, calibration(spec, IMAGE | {"shape": ["batch", 1, 8, "width"]}))
    assert run.refused, run
    assert run.refused["what"] == "the model does not run on calibration sample 0"
    assert "Expected: 8" in run.refused["why"]


def test_a_model_that_does_not_open(tmp_path: Path, run_stage: RunStage) -> None:
    model = save(
        graph([helper.make_node("NoSuch", ["image"], ["out"])], [value("image", [1])], [value("out", [1])]), tmp_path / "m.onnx"
    )
    spec = npz(tmp_path / "data", image=np.zeros((2, 1), np.float32))
    run = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec, IMAGE | {"shape": [1]}))
    assert run.refused, run
    assert run.refused["what"] == "the model cannot be calibrated"


def test_integer_inputs_have_extremes_but_no_range(tmp_path: Path, run_stage: RunStage) -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["x"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Relu", ["x"], ["out"], "relu"),
    ]
    model = save(graph(nodes, [value("ids", [1, 3], TensorProto.INT64)], [value("out", [1, 3])]), tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", ids=np.array([[1, 2, 3], [4, 5, -6]]))
    entry = {"name": "ids", "dtype": "int64", "shape": [1, 3], "range": None}
    run = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec, entry))
    assert run.facts is not None, run
    assert run.facts["inputs"] == {"ids": [-6, 5]}
    assert json.loads((run.out / "ranges.json").read_text())["tensors"] == {"x": [-6, 5], "out": [0, 5]}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_data(tmp_path: Path, method: str) -> None:
    """Upstream keeps every activation: 2.7 MB per image here, so 540 MB for 200 of them."""
    script = benchmark()
    tools = runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes).interpreter
    inputs = script.make_inputs(tmp_path, tools)
    few, many = (script.peak(tmp_path / str(count), tools, inputs, script.params(method, count)) for count in (20, 200))
    assert many < 1.2 * few


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration_memory", ROOT / "benchmarks" / "calibration_memory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
