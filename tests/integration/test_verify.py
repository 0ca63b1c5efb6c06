"""Real sessions, comparisons and the search for the first diverging tensor: each verdict is seen good and bad."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

import models
from conftest import ROOT, RunStage
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages.lib import tensors

PARAMS: dict[str, Any] = {"providers": models.CPU, "session": models.SESSION, "rtol": 1e-3, "atol": 1e-5}
SAMPLES = [{"image": np.full((2, 1, 8, 8), value, np.float32)} for value in (0.25, -1.0)]


def samples(folder: Path, content: list[dict[str, Any]] = SAMPLES, name: str = "samples.npz") -> Path:
    tensors.write_samples(folder / name, content)
    return folder / name


def outputs(run_stage: RunStage, folder: Path, model: ModelProto) -> Path:
    path = models.write(model, folder / "reference" / "m.onnx")
    done = run_stage(
        "reference_onnx", "tools", {"model": path.parent, "samples": samples(folder)}, {"file": "m.onnx", "inline": models.LARGE}
    )
    assert done.facts, done.refused
    return done.out / "outputs.npz"


def verify(run_stage: RunStage, version: str, inputs: dict[str, Path], **params: Any) -> dict[str, Any]:
    done = run_stage("verify", f"onnxruntime-{version}", inputs, PARAMS | params)
    assert done.facts, done.error or done.log
    return done.facts


@pytest.mark.parametrize("version", models.VERSIONS)
def test_a_good_model_opens_runs_and_agrees(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    model = models.write(models.convnet(), tmp_path / "m.onnx")
    expected = outputs(run_stage, tmp_path, models.convnet())
    facts = verify(run_stage, version, {"model": model, "samples": samples(tmp_path), "expected": expected})
    assert facts["runtime"] == version
    assert facts["arch"] == platform.machine()
    assert facts["limits"] == []
    assert facts["providers"] == {"available": ["CPUExecutionProvider"], "missing": []}
    onnx = facts["onnx"]
    assert (onnx["opens"], onnx["runs"], onnx["error"], onnx["close"]) == (True, True, "", True)
    assert onnx["outputs"]["scores"]["max_abs"] < 1e-5
    assert facts["ort"] is None
    placed = facts["placed"]
    assert placed == {"CPUExecutionProvider": 5} if version == "1.31.1" else placed is None


def test_other_weights_are_not_close(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.write(models.convnet(seed=1), tmp_path / "m.onnx")
    inputs = {"model": model, "samples": samples(tmp_path), "expected": outputs(run_stage, tmp_path, models.convnet(seed=0))}
    onnx = verify(run_stage, "1.20.1", inputs)["onnx"]
    assert onnx["opens"]
    assert not onnx["close"]
    assert onnx["outputs"]["scores"]["max_abs"] > 0.1
    assert "beyond tolerance" in onnx["outputs"]["scores"]["reason"]
    assert verify(run_stage, "1.20.1", inputs, atol=1e6)["onnx"]["close"]


def test_nothing_to_compare_with_is_no_agreement(run_stage: RunStage, tmp_path: Path) -> None:
    inputs = {"model": models.write(models.convnet(), tmp_path / "m.onnx"), "samples": samples(tmp_path)}
    onnx = verify(run_stage, "1.20.1", inputs)["onnx"]
    assert (onnx["opens"], onnx["runs"], onnx["close"], onnx["outputs"]) == (True, True, None, {})


def test_an_output_that_the_reference_lacks_is_not_close(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.convnet()
    model.graph.output[0].name = model.graph.node[-1].output[0] = "other"
    inputs = {
        "model": models.write(model, tmp_path / "m.onnx"), "samples": samples(tmp_path),
        "expected": outputs(run_stage, tmp_path, models.convnet()),
    }  # fmt: skip
    onnx = verify(run_stage, "1.20.1", inputs)["onnx"]
    assert not onnx["close"]
    assert onnx["outputs"]["scores"]["reason"] == "expected, but no output of the model"
    assert onnx["outputs"]["other"]["reason"] == "an output that nothing is expected of"


LIMITS = {
    "1.17.3": ["IR version 11; onnxruntime 1.17.3 takes at most 9", "opset 23 of ai.onnx; onnxruntime 1.17.3 takes at most 20"],
    "1.20.1": ["IR version 11; onnxruntime 1.20.1 takes at most 10", "opset 23 of ai.onnx; onnxruntime 1.20.1 takes at most 21"],
    "1.31.1": [],
}


@pytest.mark.parametrize("version", models.VERSIONS)
def test_an_opset_and_ir_that_are_too_new_are_said_before_opening(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    model = models.convnet(23)
    model.ir_version = 11
    facts = verify(run_stage, version, {"model": models.write(model, tmp_path / "m.onnx"), "samples": samples(tmp_path)})
    assert facts["limits"] == LIMITS[version]
    assert facts["onnx"]["opens"] == (not LIMITS[version])


def test_an_unused_domain_that_is_too_new_is_named(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.convnet()
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 5))
    inputs = {"model": models.write(model, tmp_path / "m.onnx"), "samples": samples(tmp_path)}
    facts = verify(run_stage, "1.17.3", inputs)
    assert facts["limits"] == ["opset 5 of ai.onnx.ml; onnxruntime 1.17.3 takes at most 4"]
    assert not facts["onnx"]["opens"]
    assert verify(run_stage, "1.20.1", inputs)["onnx"]["opens"]


@pytest.mark.parametrize("version", models.VERSIONS)
def test_a_refusal_is_a_fact_without_paths(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    model = models.graph("(bfloat16[2,2] x) => (bfloat16[2,2] y) { [mul] y = MatMul(x, x) }", 13)
    facts = verify(run_stage, version, {"model": models.write(model, tmp_path / "m.onnx"), "samples": samples(tmp_path)})
    onnx = facts["onnx"]
    assert (onnx["opens"], onnx["runs"], onnx["close"]) == (False, False, False)
    assert "Could not find an implementation for MatMul(13)" in onnx["error"]
    assert "/" not in onnx["error"]
    assert facts["placed"] is None


def test_samples_of_the_wrong_shape_open_but_do_not_run(run_stage: RunStage, tmp_path: Path) -> None:
    wrong = samples(tmp_path, [{"image": np.zeros((1, 1, 9, 9), np.float32)}])
    onnx = verify(run_stage, "1.20.1", {"model": models.write(models.convnet(), tmp_path / "m.onnx"), "samples": wrong})["onnx"]
    assert (onnx["opens"], onnx["runs"], onnx["close"]) == (True, False, False)
    assert "image" in onnx["error"]


def test_nan_in_the_outputs_is_never_close(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.write(models.graph("(float[2] image) => (float[2] y) { y = Log(image) }"), tmp_path / "r" / "m.onnx")
    given = samples(tmp_path, [{"image": np.array([-1, 1], np.float32)}])
    reference = run_stage(
        "reference_onnx", "tools", {"model": model.parent, "samples": given}, {"file": "m.onnx", "inline": models.LARGE}
    )
    inputs = {"model": model, "samples": given, "expected": reference.out / "outputs.npz"}
    output = verify(run_stage, "1.20.1", inputs)["onnx"]["outputs"]["y"]
    assert not output["close"]
    assert output["nan"] == 2


def test_providers_that_this_build_lacks_are_named_and_left_out(run_stage: RunStage, tmp_path: Path) -> None:
    wanted = [{"name": "XnnpackExecutionProvider", "options": {"intra_op_num_threads": 4}}, *models.CPU]
    inputs = {"model": models.write(models.convnet(), tmp_path / "m.onnx"), "samples": samples(tmp_path)}
    facts = verify(run_stage, "1.20.1", inputs, providers=wanted)
    assert facts["providers"] == {"available": ["CPUExecutionProvider"], "missing": ["XnnpackExecutionProvider"]}
    assert facts["onnx"]["opens"]
    assert verify(run_stage, "1.20.1", inputs, providers=wanted[:1])["onnx"]["opens"]


BROKEN_PROVIDER = """
import sys
from pathlib import Path
import onnxruntime
from stages.lib import sessions
tried = []
def broken(self, *args, **kwargs):
    tried.append(args)
    self._fallback_providers = ["CPUExecutionProvider"]
    raise RuntimeError("the provider broke")
onnxruntime.InferenceSession._create_inference_session = broken
for way in (lambda: onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"]),
            lambda: sessions.open_session(Path(sys.argv[1]))):
    tried.clear()
    try:
        way()
    except RuntimeError:
        print(len(tried))
"""


@pytest.mark.parametrize("version", models.VERSIONS)
def test_a_provider_that_breaks_is_not_replaced_in_silence(tmp_path: Path, version: str) -> None:
    """ONNX Runtime itself tries a second time, on the CPU. No provider of a plain wheel breaks, so this one is made to."""
    made = runtime.ensure(runtime.find(f"onnxruntime-{version}", [ROOT / "runtimes"]), user_cache().runtimes)
    model = models.write(models.convnet(), tmp_path / "m.onnx")
    command = [str(made.interpreter), "-s", "-B", "-c", BROKEN_PROVIDER, str(model)]
    environment = {"PYTHONPATH": str(ROOT / "src" / "ortolan"), "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["2", "1"]


def test_session_settings_reach_the_session(run_stage: RunStage, tmp_path: Path) -> None:
    settings = models.SESSION | {
        "execution_mode": "parallel", "graph_optimization_level": "disable", "enable_mem_pattern": False,
        "intra_op_num_threads": 2, "config": {"session.disable_prepacking": "1"},
    }  # fmt: skip
    inputs = {
        "model": models.write(models.convnet(), tmp_path / "m.onnx"), "samples": samples(tmp_path),
        "expected": outputs(run_stage, tmp_path, models.convnet()),
    }  # fmt: skip
    assert verify(run_stage, "1.31.1", inputs, session=settings)["onnx"]["close"]
    bad = settings | {"config": {"k" * 2000: "1"}}
    assert "Config key" in verify(run_stage, "1.31.1", inputs, session=bad)["onnx"]["error"]


# --- locate ------------------------------------------------------------------------------------------------------


def trace(run_stage: RunStage, folder: Path, model: ModelProto) -> Path:
    path = models.write(model, folder / "traced" / "m.onnx")
    done = run_stage(
        "trace_onnx", "tools", {"model": path.parent, "samples": samples(folder)}, {"file": "m.onnx", "inline": models.LARGE}
    )
    assert done.facts, done.refused
    return done.out / "tensors.npz"


def locate(run_stage: RunStage, folder: Path, model: ModelProto, reference: Path, runtime: str = "tools") -> dict[str, Any]:
    inputs = {"model": models.write(model, folder / "under-test.onnx"), "samples": samples(folder), "tensors": reference}
    done = run_stage("locate", runtime, inputs, {"rtol": 1e-3, "atol": 1e-5})
    assert done.facts, done.refused or done.log
    return done.facts


@pytest.mark.parametrize("runtime", ["tools", "onnxruntime-1.17.3", "onnxruntime-1.31.1"])
def test_the_first_diverging_tensor_is_named_with_its_node(run_stage: RunStage, tmp_path: Path, runtime: str) -> None:
    wrong = models.convnet()
    wrong.graph.node[1].op_type = "Abs"  # where Relu was
    facts = locate(run_stage, tmp_path, wrong, trace(run_stage, tmp_path, models.convnet()), runtime)
    assert facts["compared"] == 5
    assert facts["diverging"] == 4
    first = facts["first"]
    assert (first["tensor"], first["node"], first["op"]) == ("r", "relu", "Abs")
    assert first["inputs"] == {"c": "agrees"}
    assert first["max_abs"] > 0.1


def test_a_changed_weight_is_found_at_the_node_that_reads_it(run_stage: RunStage, tmp_path: Path) -> None:
    wrong = models.convnet()
    next(t for t in wrong.graph.initializer if t.name == "b2").raw_data = np.zeros(3, np.float32).tobytes()
    first = locate(run_stage, tmp_path, wrong, trace(run_stage, tmp_path, models.convnet()))["first"]
    assert (first["tensor"], first["node"]) == ("scores", "dense")
    assert first["inputs"] == {"f": "agrees", "w2": "constant", "b2": "constant"}


def test_tensors_with_other_names_are_passed_over(run_stage: RunStage, tmp_path: Path) -> None:
    wrong = models.convnet()
    wrong.graph.node[0].output[0] = wrong.graph.node[1].input[0] = "renamed"
    wrong.graph.node[1].op_type = "Abs"
    facts = locate(run_stage, tmp_path, wrong, trace(run_stage, tmp_path, models.convnet()))
    assert facts["compared"] == 4
    assert facts["first"]["tensor"] == "r"
    assert facts["first"]["inputs"] == {"renamed": "unknown"}


def test_equal_models_do_not_diverge(run_stage: RunStage, tmp_path: Path) -> None:
    facts = locate(run_stage, tmp_path, models.convnet(), trace(run_stage, tmp_path, models.convnet()))
    assert facts == {"compared": 5, "diverging": 0, "first": None}


def test_a_model_that_does_not_run_cannot_be_searched(run_stage: RunStage, tmp_path: Path) -> None:
    reference = trace(run_stage, tmp_path, models.convnet())
    broken = models.graph("(bfloat16[2,2] x) => (bfloat16[2,2] c) { c = MatMul(x, x) }")
    inputs = {"model": models.write(broken, tmp_path / "b.onnx"), "samples": samples(tmp_path), "tensors": reference}
    done = run_stage("locate", "tools", inputs, {"rtol": 1e-3, "atol": 1e-5})
    assert done.refused
    assert "MatMul" in done.refused["why"]


# --- check_model -------------------------------------------------------------------------------------------------


def check(run_stage: RunStage, model: ModelProto, folder: Path) -> dict[str, Any]:
    done = run_stage("check_model", "tools", {"model": models.write(model, folder / "m.onnx")}, {})
    assert done.facts, done.refused or done.log
    return done.facts


def test_the_checkers_are_content_with_a_good_model(run_stage: RunStage, tmp_path: Path) -> None:
    facts = check(run_stage, models.convnet(), tmp_path)
    assert (facts["checker"], facts["full_check"], facts["shape_inference"]) == ("", "", "")
    assert facts["operators"]["Conv"] == 1


def test_an_output_without_a_shape_is_the_checkers_complaint_alone(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.convnet()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    facts = check(run_stage, model, tmp_path)
    assert "shape" in facts["checker"]
    assert facts["shape_inference"] == ""


def test_a_wrong_shape_is_seen_by_the_full_check_and_inference(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.convnet()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 99
    facts = check(run_stage, model, tmp_path)
    assert facts["checker"] == ""
    assert "99" in facts["full_check"]
    assert "99" in facts["shape_inference"]


def test_an_unknown_operator_does_not_stop_the_other_verdicts(run_stage: RunStage, tmp_path: Path) -> None:
    facts = check(run_stage, models.graph("(float[2] x) => (float[2] y) { y = Fake(x) }"), tmp_path)
    assert "Fake" in facts["checker"]
    assert facts["operators"] == {"Fake": 1}
