"""Builds from recipe to folder: what ships, what is shared, what is recalled, what stops a build."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest

from conftest import Workspace
from ortolan import digest, manifest
from ortolan.artifact import Outcome
from ortolan.build import Built
from ortolan.errors import RecipeError


def outcome(built: Built, gate: str, subject: str | None = None) -> Outcome:
    """The outcome of a gate."""
    return next(g.outcome for g in built.gates if g.name == gate and subject in {None, g.subject})


def why(built: Built, gate: str) -> str:
    """The reason of a gate that has one."""
    return next(g.why for g in built.gates if g.name == gate and g.why)


def test_a_build_leaves_a_folder_that_its_manifest_describes(workspace: Workspace) -> None:
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert built.folder
    assert built.folder == workspace.root / "build" / "raspberry-pi-5" / built.tag
    made = manifest.read(built.folder / manifest.NAME)
    jsonschema.validate(json.loads((built.folder / manifest.NAME).read_text()), manifest.Manifest.model_json_schema())
    assert {a.name for a in made.artifacts} | {manifest.NAME} == {p.name for p in built.folder.iterdir() if p.is_file()}
    assert all(a.digest == digest.of_file(built.folder / a.name) for a in made.artifacts)
    assert {a.name for a in made.artifacts} == {
        "model.onnx", "model.ort", "required_operators.config", "required_operators_and_types.config", "session.json",
        "coverage.json", "golden.bin", "golden.json", "golden-inputs.npz", "golden-outputs.npz",
    }  # fmt: skip
    assert made.tag == built.tag == f"digits-mlp-{digest.short(made.model.hash)}-opset17-ort1.20.1"


def test_the_tag_stands_in_the_model_and_in_the_session_settings(workspace: Workspace) -> None:
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert built.folder
    model = onnx.load(built.folder / "model.onnx")
    assert {p.key: p.value for p in model.metadata_props}["ortolan.tag"] == built.tag
    session = json.loads((built.folder / "session.json").read_text())
    assert session["tag"] == built.tag
    assert [p["name"] for p in session["providers"]] == ["XnnpackExecutionProvider", "CPUExecutionProvider"]


def test_a_manifest_holds_no_paths_and_no_times(workspace: Workspace) -> None:
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert built.folder
    text = (built.folder / manifest.NAME).read_text()
    assert str(workspace.root) not in text
    assert str(workspace.cache.root) not in text
    assert str(Path.home()) not in text
    timed = next(g for g in manifest.read(built.folder / manifest.NAME).gates if g.name == "int8-faster")
    assert timed.measured == ""
    assert json.loads((built.folder / "measurements.json").read_text())["int8-faster"]["measured"]


def test_a_second_build_runs_nothing_and_touches_nothing(workspace: Workspace) -> None:
    (first,) = workspace.build("x86-cpu", "digits-mlp")
    assert first.folder
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    (second,) = workspace.build("x86-cpu", "digits-mlp")
    assert workspace.ran() == []
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before
    assert second.gates == first.gates


def test_targets_share_what_is_the_same(own_cache: Workspace) -> None:
    built = own_cache.build(["raspberry-pi-5", "arm64-cpu", "jetson-orin"], "digits-mlp")
    assert [one.ok for one in built] == [True] * 3
    ran = own_cache.ran()
    for shared in ("import onnx", "normalise", "preprocess", "calibrate", "reference onnx"):
        assert ran.count(f"digits-mlp: {shared}") == 1


def test_what_arm_ships_was_not_seen_on_arm_and_says_so(workspace: Workspace) -> None:
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert built.precision == "int8"
    assert outcome(built, "on-device") is Outcome.NOT_RUN
    assert outcome(built, "int8-faster") is Outcome.NOT_RUN
    assert outcome(built, "providers@1.20.1") is Outcome.NOT_RUN
    assert "XnnpackExecutionProvider" in why(built, "providers@1.20.1")


def test_a_jetson_build_goes_up_to_the_engine(workspace: Workspace) -> None:
    (built,) = workspace.build("jetson-orin", "digits-mlp")
    assert built.ok
    assert outcome(built, "engine") is Outcome.NOT_RUN
    assert "TensorrtExecutionProvider" in why(built, "providers@1.20.1")


def test_a_model_too_large_fails_and_nothing_is_put_in_place(workspace: Workspace) -> None:
    workspace.edit("targets/raspberry-pi-5.toml", 'max_size = "', 'max_size = "1 B" # "')
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert not built.ok
    assert outcome(built, "size") is Outcome.FAIL
    assert not list((workspace.root / "build").glob("*/*/manifest.json"))


def test_parity_fails_on_an_impossible_tolerance_and_names_the_tensor(workspace: Workspace) -> None:
    recipe = workspace.root / "recipes/models/digits.toml"
    lines = [line for line in recipe.read_text().splitlines() if not line.startswith(("rtol", "atol"))]
    recipe.write_text("\n".join(lines).replace("[parity]", "[parity]\nrtol = 0.0\natol = 0.0"))
    (built,) = workspace.build("x86-cpu", "digits")
    assert not built.ok
    assert outcome(built, "parity@1.17.3") is Outcome.FAIL
    assert "first diverging tensor: " in why(built, "parity@1.17.3")


def test_policy_require_fails_where_prefer_ships_float(workspace: Workspace) -> None:
    workspace.edit("targets/x86-cpu.toml", "[gates]", "[gates]\nmin_speedup = 1000.0")
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert (built.ok, built.precision) == (True, "fp32")
    assert outcome(built, "int8-faster") is Outcome.FAIL
    workspace.edit("targets/x86-cpu.toml", "[quantize]", '[quantize]\npolicy = "require"')
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert not built.ok


def test_a_target_with_a_batch_of_three_is_judged_with_batches_of_three(workspace: Workspace) -> None:
    workspace.edit("targets/raspberry-pi-5.toml", "batch = 1", "batch = 3")
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert built.ok, [str(error) for error in built.errors]
    assert outcome(built, "agreement") is Outcome.PASS


def test_policy_never_makes_no_int8(workspace: Workspace) -> None:
    workspace.edit("targets/x86-cpu.toml", "[quantize]", '[quantize]\npolicy = "never"')
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert (built.ok, built.precision) == (True, "fp32")
    assert not [gate for gate in built.gates if gate.subject == "int8"]


def test_require_without_calibration_data_fails(workspace: Workspace) -> None:
    workspace.edit("targets/x86-cpu.toml", "[quantize]", '[quantize]\npolicy = "require"')
    model = workspace.root / "lone.onnx"
    model.write_bytes((workspace.root / "recipes/models/digits-mlp.onnx").read_bytes())
    (built,) = workspace.build("x86-cpu", str(model))
    assert not built.ok
    assert "no [data] calibration" in why(built, "quantised")


def test_leaving_everything_in_float_is_no_quantisation(workspace: Workspace) -> None:
    workspace.edit("targets/raspberry-pi-5.toml", 'policy      = "prefer"', 'policy = "never"')
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert built.folder
    names = [node.name for node in onnx.load(built.folder / "model.onnx").graph.node]
    excluded = f'policy = "prefer"\nexclude = {json.dumps([*names, "no-such-node"])}'
    workspace.edit("targets/raspberry-pi-5.toml", 'policy = "never"', excluded)
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert outcome(built, "quantised") is Outcome.FAIL
    assert "nothing was quantised" in why(built, "quantised")
    assert "no-such-node" in why(built, "quantised")
    assert built.precision == "fp32"


def test_an_opset_that_a_runtime_does_not_know_fails_there_and_says_which(workspace: Workspace) -> None:
    workspace.edit("targets/x86-cpu.toml", "opset    = 17", "opset    = 22")
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert not built.ok
    assert outcome(built, "load@1.17.3", "fp32") is Outcome.FAIL
    assert outcome(built, "load@1.31.1", "fp32") is Outcome.PASS
    assert "22" in why(built, "load@1.17.3")


def test_wrongly_scaled_calibration_data_fails_a_gate(workspace: Workspace) -> None:
    path = workspace.root / "recipes/models/digits-calibration.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{name: (array * 16 if array.dtype.kind == "f" else array) for name, array in arrays.items()})
    recipe = workspace.root / "recipes/models/digits-mlp.toml"
    recipe.write_text("\n".join(line for line in recipe.read_text().splitlines() if not line.startswith("range")))
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    gate = next(gate for gate in built.gates if gate.name.startswith("input-range"))
    assert gate.outcome is Outcome.FAIL
    assert "scaled alike" in gate.why
    assert built.precision == "fp32"


def test_a_file_without_a_byte_is_refused_before_anything_is_built(workspace: Workspace) -> None:
    (workspace.root / "empty.onnx").touch()
    with pytest.raises(RecipeError, match=r"(?s)empty\.onnx: this is no model that Ortolan knows.*it is empty.*copy it again"):
        workspace.build("x86-cpu", str(workspace.root / "empty.onnx"))
    assert workspace.ran() == []


@pytest.mark.parametrize(("name", "essence"), [("truncated", "onnx"), ("random", "onnx")])
def test_a_file_that_is_no_model_is_one_clear_error(workspace: Workspace, name: str, essence: str) -> None:
    good = (workspace.root / "recipes/models/digits-mlp.onnx").read_bytes()
    data = {"truncated": good[: len(good) // 2], "random": bytes(range(256)) * 40}[name]
    path = workspace.root / f"{name}.onnx"
    path.write_bytes(data)
    (built,) = workspace.build("x86-cpu", str(path))
    assert not built.ok
    assert len(built.errors) == 1
    assert essence in str(built.errors[0]).lower()
    assert built.errors[0].hint or built.errors[0].why


def test_git_sees_nothing_new_after_a_build(workspace: Workspace) -> None:
    subprocess.run(["git", "init", "-q", str(workspace.root)], check=True)
    (workspace.root / ".gitignore").write_text("/build/\n")
    subprocess.run(["git", "-C", str(workspace.root), "add", "-A"], check=True)
    workspace.build("x86-cpu", "digits-mlp")
    said = subprocess.run(
        ["git", "-C", str(workspace.root), "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True
    )
    assert {line[:2] for line in said.stdout.splitlines()} <= {"A "}
