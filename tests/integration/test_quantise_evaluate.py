"""Metrics, agreement and timing of models whose answers are known."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import ROOT, RunStage, StageRun
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages.lib import quant_metrics
from ortolan.stages.lib.tensors import write_samples
from quantise_models import graph, npz, save, value

OLD, NEW = "onnxruntime-1.17.3", "onnxruntime-1.31.1"
ENTRY = {"name": "x", "dtype": "float32", "shape": ["n", 4], "range": None}
SCORES = np.array([[4, 3, 2, 1], [1, 2, 3, 4], [1, 4, 3, 2], [9, 1, 8, 7]], np.float32)


def scaled(path: Path, factor: Any, kind: int = TensorProto.FLOAT) -> Path:
    """x times factor."""
    tensor = numpy_helper.from_array(np.asarray(factor, np.float32), "factor")
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"], "mul")]
    return save(graph(nodes, [value("x", ["n", 4], kind)], [value("y", ["n", 4], kind)], [tensor]), path)


def evaluate(
    run_stage: RunStage, tmp_path: Path, metric: str | None, *, factors: tuple[Any, ...] = (1,), runtime: str = OLD, **arrays: Any
) -> StageRun:
    """Evaluate models that multiply by the factors, the first as fp32, the second as int8."""
    spec = npz(tmp_path / "data", x=SCORES, **arrays)
    named = zip(("fp32", "candidate"), factors, strict=False)
    models = {name: scaled(tmp_path / f"{name}.onnx", factor) for name, factor in named}
    params = {"data": spec, "inputs": [ENTRY], "metric": metric}
    return run_stage("evaluate", runtime, {**models, "data": tmp_path / "data"}, params)


def facts(run: StageRun) -> dict[str, Any]:
    assert run.facts is not None, run
    return run.facts


@pytest.mark.parametrize("runtime", [OLD, NEW])
@pytest.mark.parametrize(("metric", "labels", "wanted"), [
    ("top1", [0, 3, 1, 0], 1.0), ("top1", [0, 3, 2, 3], 0.5), ("top5", [3, 0, 0, 1], 1.0),
])  # fmt: skip
def test_classes(run_stage: RunStage, tmp_path: Path, runtime: str, metric: str, labels: list[int], wanted: float) -> None:
    found = facts(evaluate(run_stage, tmp_path, metric, runtime=runtime, label=np.array(labels)))
    assert found == {"samples": 4, "metric": {"name": metric, "fp32": wanted, "candidate": None, "drop": None}}


def test_a_drop_is_how_much_worse_int8_is(run_stage: RunStage, tmp_path: Path) -> None:
    found = facts(evaluate(run_stage, tmp_path, "top1", factors=(1, [1, 1, 1, -1]), label=np.array([0, 3, 1, 0])))
    assert found["metric"] == {"name": "top1", "fp32": 1.0, "candidate": 0.75, "drop": 0.25}
    assert found["agreement"] == 0.75
    assert found["default_kernels"]["metric"] == found["metric"]


def test_mse_and_snr_against_reference_outputs(run_stage: RunStage, tmp_path: Path) -> None:
    found = facts(evaluate(run_stage, tmp_path, "mse", factors=(1, 1.5), label=SCORES))["metric"]
    worse = float(np.mean((SCORES / 2) ** 2))
    assert found == {"name": "mse", "fp32": 0.0, "candidate": pytest.approx(worse), "drop": pytest.approx(worse)}
    found = facts(evaluate(run_stage, tmp_path, "snr", factors=(1.1, 1.5), label=SCORES))["metric"]
    assert found == {
        "name": "snr",
        "fp32": pytest.approx(20, abs=1e-4),
        "candidate": pytest.approx(6.0206),
        "drop": pytest.approx(13.9794),
    }


def test_agreement_needs_no_labels(run_stage: RunStage, tmp_path: Path) -> None:
    found = facts(evaluate(run_stage, tmp_path, "agreement", factors=(1, [1, 1, -1, 1])))
    assert found["metric"] == {"name": "agreement", "fp32": 1.0, "candidate": 1.0, "drop": 0.0}
    assert found["outputs"]["y"]["agreement"] == 1
    assert found["snr_db"]["min"] == pytest.approx(10 * np.log10(195 / 256), abs=1e-5)
    assert facts(evaluate(run_stage, tmp_path, None))["metric"] is None


def test_samples_stand_in_for_data(run_stage: RunStage, tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.npz", [{"x": SCORES[:1]}, {"x": SCORES[1:]}])
    models = {name: scaled(tmp_path / f"{name}.onnx", factor) for name, factor in (("fp32", 1), ("candidate", 2))}
    params = {"data": None, "inputs": [ENTRY], "metric": None}
    found = facts(run_stage("evaluate", OLD, {**models, "samples": tmp_path / "samples.npz"}, params))
    assert (found["samples"], found["agreement"], found["inputs"]) == (2, 1.0, {"x": {"observed": [1, 9]}})
    run = run_stage("evaluate", OLD, models, params)
    assert run.refused, run
    assert run.refused["what"] == "there is nothing to evaluate on"


CODE = """
def spread(samples):
    return max(float(outputs["y"].max()) - label for outputs, label in samples)

def nothing(samples):
    return float("nan")

def wrong(samples):
    return sum(outputs["z"] for outputs, _ in samples)
"""


@pytest.mark.parametrize(("name", "outcome"), [
    ("spread", {"name": "judge.py:spread", "fp32": 5.0, "candidate": 14.0, "drop": -9.0}),
    ("nothing", "judge.py:nothing gave nan"),
    ("wrong", "judge.py:wrong raised KeyError: 'z'"),
    ("spred", "judge.py has no callable 'spred'"),
])  # fmt: skip
def test_a_metric_of_the_users(run_stage: RunStage, tmp_path: Path, name: str, outcome: Any) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "judge.py").write_text(CODE)
    models = {key: scaled(tmp_path / f"{key}.onnx", factor) for key, factor in (("fp32", 1), ("candidate", 2))}
    spec = npz(tmp_path / "data", x=SCORES, label=np.full(4, 4))
    inputs = {**models, "data": tmp_path / "data", "metric_code": tmp_path / "code"}
    run = run_stage("evaluate", OLD, inputs, {"data": spec, "inputs": [ENTRY], "metric": f"judge.py:{name}"})
    assert (run.refused["what"] if run.refused else facts(run)["metric"]) == outcome


@pytest.mark.parametrize(("metric", "label", "what"), [
    ("top1", None, "top1 needs labels"),
    ("top1", np.array([0, 1, 2, 4]), "top1 of output 'y', sample 3: the label is not a class"),
    ("top1", np.array([0.0, 1, 2, 3]), "top1 of output 'y', sample 0: the label is no class number"),
    ("top1", SCORES.astype(int), "top1 of output 'y', sample 0: labels and rows differ in number"),
    ("mse", np.array([0, 1, 2, 4]), "mse of sample 0 has no reference"),
])  # fmt: skip
def test_labels_that_do_not_fit(run_stage: RunStage, tmp_path: Path, metric: str, label: Any, what: str) -> None:
    run = evaluate(run_stage, tmp_path, metric, **({} if label is None else {"label": label}))
    assert run.refused, run
    assert run.refused["what"] == what


def test_images_need_pillow_in_the_runtime(run_stage: RunStage, tmp_path: Path) -> None:
    """The runtimes of the fleet hold it or say that they do not."""
    (tmp_path / "data" / "set").mkdir(parents=True)
    (tmp_path / "data" / "set" / "a.ppm").write_bytes(b"P5 4 1 255\n\x00\x33\x66\xff")
    entry = {"name": "x", "dtype": "float32", "shape": [1, 1, 4], "range": None}
    nodes = [helper.make_node("Identity", ["x"], ["y"], "same")]
    model = save(graph(nodes, [value("x", [1, 1, 4])], [value("y", [1, 1, 4])]), tmp_path / "m.onnx")
    spec = {"kind": "images", "images": "set", "size": [4, 1], "color": "L", "layout": "NCHW", "scale": 1 / 255}
    spec |= {"mean": [0.0], "std": [1.0], "limit": None}
    run = run_stage(
        "evaluate", OLD, {"fp32": model, "data": tmp_path / "data"}, {"data": spec, "inputs": [entry], "metric": None}
    )
    assert (run.facts or {}).get("samples") == 1 or (run.refused or {})["why"] == "this runtime has no Pillow"


def test_a_model_that_does_not_open(run_stage: RunStage, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"rubbish")
    spec = npz(tmp_path / "data", x=SCORES)
    params = {"data": spec, "inputs": [ENTRY], "metric": None}
    run = run_stage("evaluate", OLD, {"fp32": tmp_path / "m.onnx", "data": tmp_path / "data"}, params)
    assert run.refused, run
    assert run.refused["what"] == "the fp32 model does not open"


# --- agreement ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reference", "found", "wanted"), [
    ([[1.0, 2], [3, 1]], [[0.0, 9], [5, 1]], True),        # the same classes
    ([[1.0, 2], [3, 1]], [[0.0, 9], [1, 5]], False),
    ([[1.0, 2]], [[np.nan, 9]], False),
    ([1.0, 2], [1.1, 2], True),                            # 27 dB
    ([1.0, 2], [2.0, 2], False),                           # 7 dB
    ([0.0, 0], [0.0, 0], True),
    ([0.0, 0], [0.1, 0], False),
    ([1.0, 2], [1.0, 2, 3], False),
    ([1, 2], [1, 2], True),
    ([1, 2], [1, 3], False),
    ([[1.0], [2.0]], [[1.0], [2.1]], True),                # one column has no classes
])  # fmt: skip
def test_when_outputs_agree(reference: Any, found: Any, wanted: bool) -> None:
    assert quant_metrics.agree(np.array(reference), np.array(found)) is wanted


def test_snr_has_limits() -> None:
    ones = np.ones(4, np.float32)
    assert quant_metrics.snr_db(ones, ones) == quant_metrics.SNR_LIMIT
    assert quant_metrics.snr_db(ones * 0, ones) == -quant_metrics.SNR_LIMIT
    assert quant_metrics.snr_db(ones, ones * np.nan) == -quant_metrics.SNR_LIMIT
    assert quant_metrics.snr_db(ones, ones * np.float32(1.1)) == pytest.approx(20, abs=1e-4)


# --- latency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [None, {
    "intra_op_num_threads": 1, "inter_op_num_threads": 1, "execution_mode": "sequential", "graph_optimization_level": "all",
    "enable_mem_pattern": True, "enable_cpu_mem_arena": True, "config": {"session.x64quantprecision": "1"},
}])  # fmt: skip
def test_a_hundred_products_take_longer_than_one(run_stage: RunStage, tmp_path: Path, session: Any) -> None:
    models = {"fp32": products(tmp_path / "slow.onnx", 100), "candidate": products(tmp_path / "fast.onnx", 1)}
    write_samples(tmp_path / "samples.npz", [{"x": np.ones((128, 128), np.float32)}])
    for (slow, fast), faster in ((("fp32", "candidate"), True), (("candidate", "fp32"), False)):
        inputs = {"fp32": models[slow], "candidate": models[fast], "samples": tmp_path / "samples.npz"}
        found = facts(run_stage("latency", NEW, inputs, {"session": session, "min_speedup": 1.0}))
        assert (found["compared"], found["faster"]) == (True, faster)
        assert found["noise"]["speedup"] == pytest.approx(found["noise"]["fp32_ms"] / found["noise"]["candidate_ms"])
        assert found["noise"]["pairs"] >= 1


def products(path: Path, count: int) -> Path:
    tensor = numpy_helper.from_array(np.eye(128, dtype=np.float32), "w")
    names = ["x", *(f"p{index}" for index in range(1, count)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b], b) for a, b in itertools.pairwise(names)]
    return save(graph(nodes, [value("x", [128, 128])], [value("y", [128, 128])], [tensor]), path)


def test_a_sample_that_a_model_cannot_take(run_stage: RunStage, tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.npz", [{"x": np.ones((1, 5), np.float32)}])
    inputs = {name: scaled(tmp_path / f"{name}.onnx", 1) for name in ("fp32", "candidate")}
    params = {"session": None, "min_speedup": 1.0}
    run = run_stage("latency", OLD, {**inputs, "samples": tmp_path / "samples.npz"}, params)
    assert run.refused, run
    assert run.refused["what"] == "the fp32 model does not run on the first sample"


# --- large models ------------------------------------------------------------------------------------------------

ONE_BY_ONE = """
import json, sys, weakref
from pathlib import Path

import numpy as np
from stages import evaluate
from stages.lib import quant_models

opened, most = weakref.WeakSet(), 0
really = quant_models.open_session


def counted(path, **given):
    global most
    session = really(path, **given)
    opened.add(session)
    most = max(most, len(opened))
    return session


quant_models.open_session = counted
quant_models._HELD = 3
root = Path(sys.argv[1])
inputs = {"fp32": root / "fp32.onnx", "candidate": root / "candidate.onnx", "data": root / "data", "metric_code": root / "data"}
found = []
for quant_models.TOGETHER in (10**9, 0):
    opened.clear()
    most = 0
    found.append((evaluate.run(inputs, json.loads(sys.argv[2]), root), most))
(together, three), (apart, one) = found
samples = [evaluate.Sample({"x": np.ones((1, 4), np.float32)}, None)] * 2
answers = list(evaluate.answers({"fp32": evaluate.Model("fp32", inputs["fp32"], None)}, samples))
freed = all(answer.outputs["y"].flags.owndata for answer in answers)  # else ONNX Runtime's memory lives as long as they do
print(json.dumps({"same": together == apart, "together": three, "apart": one, "freed": freed}))
"""
SAME_ARRAY = """
import numpy as np

def rows():
    array = np.zeros((1, 4), np.float32)
    for number in range(4):
        array[:] = [number, 1, 2, 3]
        yield {"x": array}, min(number, 3)

def first(samples):
    return sum(float(outputs["y"][0, 0]) for outputs, _ in samples)
"""


@pytest.mark.parametrize("metric", ["top1", "data.py:first"])
def test_of_large_models_one_is_open_at_a_time_and_the_facts_are_the_same(tmp_path: Path, metric: str) -> None:
    """Four samples, three of them held at once, of a callable that fills the same array again and again."""
    for name, factor in (("fp32", 1), ("candidate", [1, 2, 1, 1])):
        scaled(tmp_path / f"{name}.onnx", factor)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.py").write_text(SAME_ARRAY)
    spec = {"kind": "callable", "callable": "data.py:rows", "limit": None}
    params = json.dumps({"data": spec, "inputs": [ENTRY], "metric": metric})
    made = runtime.ensure(runtime.find(NEW, [ROOT / "runtimes"]), user_cache().runtimes)
    command = [str(made.interpreter), "-c", ONE_BY_ONE, str(tmp_path), params]
    environment = {"PYTHONPATH": str(ROOT / "src" / "ortolan")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"same": True, "together": 3, "apart": 1, "freed": True}
