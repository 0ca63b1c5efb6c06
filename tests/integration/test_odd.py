"""Odd real files: each is imported and opens in every runtime, or is refused with the words that this table holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import models
from conftest import RunStage, StageRun

OPSET = 17
RANDOM: dict[str, Any] = {"inputs": [], "axes": {}, "count": 2, "data": None}

FINE: dict[str, dict[str, Any]] = {
    "bad_graph_with_duplicate_node_names": {"nodes_renamed": ["identical"]},
    "bad_graph_with_no_name": {"graphs_named": 1},
    "conv": {},
    "dim_param": {"nodes_named": 1},
    "ext_weights_same_dir/ext_weights": {"external_data": ["ext_weights.data"]},
    "identity": {"nodes_named": 1},
    "loop": {},
    "nonzero": {},
    "qdq_conv": {},
    "scan": {},
    "unsorted": {"sorted": True},
}
"""Imported, with these repairs."""

REFUSED = {
    "capability": ["operator 'FAKE!'", "domain 'ai.onnx'", "'Fake1'"],
    "custom_op_node": ["operator 'NegPos'", "domain 'ai.onnx.contrib'", "without a custom operator library"],
    "empty": ["the model is empty", "no nodes"],
    "ext_weights": ["'ext_weights.data' is missing", "[source] external_data"],
    "weightless.conv": ["initializer 'b' does not hold its data", "[4, 16, 4, 4]", "stripped"],
}
"""Refused at import, saying this."""

UNRUNNABLE = {"matmul.bf16": "input 'a' of type bfloat16"}
"""Imported, and no runtime of ours can run it."""


def imported(run_stage: RunStage, source: Path, folder: Path) -> StageRun:
    folder.mkdir()
    shutil.copy(source, folder / source.name)
    for beside in source.parent.glob("*.data"):
        shutil.copy(beside, folder / beside.name)
    return run_stage("import_onnx", "tools", {"model": folder}, {"file": source.name, "inline": models.LARGE})


def test_the_table_speaks_of_every_file(shared_data: Path) -> None:
    odd = shared_data / "odd"
    found = {path.relative_to(odd).with_suffix("").as_posix() for path in odd.rglob("*.onnx")}
    assert found == FINE.keys() | REFUSED.keys() | UNRUNNABLE.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(run_stage: RunStage, shared_data: Path, tmp_path: Path, name: str) -> None:
    done = imported(run_stage, shared_data / "odd" / f"{name}.onnx", tmp_path / "model")
    assert done.refused, done.log
    message = " | ".join(done.refused.values())
    assert [words for words in REFUSED[name] if words not in message] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FINE)
def test_fine_all_the_way(run_stage: RunStage, shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / "odd" / f"{name}.onnx"
    done = imported(run_stage, source, tmp_path / "model")
    assert done.facts, done.refused
    assert done.facts["repaired"].items() >= FINE[name].items()
    normal = run_stage("normalise", "tools", {"model": done.out / "model.onnx"}, {"opset": OPSET})
    assert normal.facts, normal.refused
    assert normal.facts["found"] == OPSET
    model = {"model": normal.out / "model.onnx"}
    made = run_stage("make_samples", "tools", model, RANDOM)
    assert made.facts, made.refused
    samples = {"samples": made.out / "samples.npz"}
    reference = run_stage(
        "reference_onnx", "tools", {"model": tmp_path / "model", **samples}, {"file": source.name, "inline": models.LARGE}
    )
    assert reference.facts, reference.refused
    expected = {"expected": reference.out / "outputs.npz"}
    params = {"providers": models.CPU, "session": models.SESSION, "rtol": 1e-3, "atol": 1e-5}
    for version in models.VERSIONS:
        facts = run_stage("verify", f"onnxruntime-{version}", {**model, **samples, **expected}, params).facts
        assert facts
        assert (facts["limits"], facts["onnx"]["error"], facts["onnx"]["close"]) == ([], "", True)


@pytest.mark.parametrize("name", UNRUNNABLE)
def test_unrunnable(run_stage: RunStage, shared_data: Path, tmp_path: Path, name: str) -> None:
    done = imported(run_stage, shared_data / "odd" / f"{name}.onnx", tmp_path / "model")
    assert done.facts, done.refused
    made = run_stage("make_samples", "tools", {"model": done.out / "model.onnx"}, RANDOM)
    assert made.refused
    assert UNRUNNABLE[name] in made.refused["what"]
