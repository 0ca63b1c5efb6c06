"""why: after a change, the step and the field of its key; nothing is run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from invoke.exceptions import Exit

import ortolan.stages
from conftest import ROOT, Workspace
from ortolan import digest
from ortolan.build import executor_for
from ortolan.cache import Cache, user_cache
from ortolan.contract import contract
from ortolan.errors import OrtolanError
from ortolan.stage_files import STAGES, stage_files
from ortolan.verbs import sensitivity
from ortolan.why import Change, differing, judged_by, last_build, summary, why
from program import call

TARGET, MODEL = "arm64-cpu", "digits-mlp"


def asked(workspace: Workspace, model: str = MODEL) -> list[Change]:
    """What ``why`` says of every step."""
    (job,) = workspace.jobs([TARGET], (model,))
    options = workspace.options()
    return why(job, last_build(options.output, job)["steps"], executor_for([job], options, workspace.events.append))


def changed(workspace: Workspace, model: str = MODEL) -> dict[str, Change]:
    """The steps that are not as they were, by what their labels say after the model."""
    workspace.events.clear()
    found = {change.label.partition(": ")[2]: change for change in asked(workspace, model) if change.state != "same"}
    assert workspace.ran() == []
    return found


@pytest.fixture
def finished(workspace: Workspace) -> Workspace:
    """A workspace after a build."""
    (built,) = workspace.build(TARGET, MODEL)
    assert built.ok
    return workspace


def test_after_a_build_nothing_changed(finished: Workspace) -> None:
    changes = asked(finished)
    assert {change.state for change in changes} == {"same"}
    assert {"digits-mlp: stamp", "digits-mlp: verify (shipped 1.31.1)"} <= {change.label for change in changes}
    assert summary(changes) == "nothing changed since the last build"


def test_a_parameter_is_named_with_both_values(finished: Workspace) -> None:
    finished.edit(f"targets/{TARGET}.toml", "[quantize]", '[quantize]\nmethod = "percentile"\npercentile = 98.5')
    found = changed(finished)
    assert found["calibrate"] == Change(
        "digits-mlp: calibrate", "run", ("params.method: minmax → percentile", "params.percentile: 99.99 → 98.5")
    )
    assert found["quantise"] == Change("digits-mlp: quantise", "waits", ("digits-mlp: calibrate",))
    assert set(found) == {"calibrate", "quantise", "evaluate (1.20.1)", "verify (int8 1.20.1)", "verify (int8 1.31.1)"}


def test_the_opset_of_the_recipe(finished: Workspace) -> None:
    finished.edit(f"targets/{TARGET}.toml", "opset    = 17", "opset    = 18")
    found = changed(finished)
    assert found["normalise"].fields == ("params.opset: 17 → 18",)
    assert "import onnx" not in found


@pytest.mark.parametrize(
    ("file", "step", "field"),
    [
        ("digits-mlp.onnx", "import onnx", "inputs.model: "),
        ("digits-calibration.npz", "calibrate", "inputs.data: "),
        ("digits-evaluation.npz", "make samples", "inputs.data: "),
    ],
)
def test_a_file_of_the_model(finished: Workspace, file: str, step: str, field: str) -> None:
    copy = finished.root / "recipes/models" / f"changed-{file}"
    copy.write_bytes((finished.root / "recipes/models" / file).read_bytes() + b"\0")
    finished.edit("models/digits-mlp.toml", file, copy.name)
    found = changed(finished)
    assert found[step].state == "run"
    assert [one for one in found[step].fields if one.startswith(field)]


@pytest.fixture
def another_calibrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a changed copy of the stage will be found, before the real one."""
    folder = tmp_path / "stages"
    folder.mkdir()
    (folder / "calibrate.py").write_text((STAGES / "calibrate.py").read_text() + "# a remark\n")
    contract.cache_clear()
    stage_files.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(ortolan.stages, "__path__", [str(folder), *ortolan.stages.__path__])
        patch.delitem(sys.modules, "ortolan.stages.calibrate", raising=False)
        yield folder
    sys.modules.pop("ortolan.stages.calibrate", None)
    contract.cache_clear()
    stage_files.cache_clear()


def test_the_source_of_a_stage(finished: Workspace, another_calibrate: Path) -> None:
    found = changed(finished)
    assert [name for name, change in found.items() if change.state == "run"] == ["calibrate"]
    (field,) = found["calibrate"].fields
    assert field.startswith("source: tree:")
    assert str(sys.modules["ortolan.stages.calibrate"].__file__) == str(another_calibrate / "calibrate.py")


@pytest.mark.slow
def test_the_lock_of_a_runtime(finished: Workspace, tmp_path: Path) -> None:
    """The runtime is made, for what it is decides; no step is run in it."""
    own = finished.root / "runtimes" / "onnxruntime-1.31.1"
    shutil.copytree(ROOT / "runtimes" / "onnxruntime-1.31.1", own)
    (own / "requirements.txt").write_text((own / "requirements.txt").read_text() + "# a remark\n")
    (tmp_path / "runtimes").mkdir()
    for made in user_cache().runtimes.iterdir():
        (tmp_path / "runtimes" / made.name).symlink_to(made)
    finished.cache = Cache(finished.cache.root, tmp_path / "runtimes")
    found = changed(finished)
    assert set(found) == {"verify (fp32 1.31.1)", "verify (int8 1.31.1)"}
    (field,) = found["verify (int8 1.31.1)"].fields
    assert field.startswith("runtime.lock: sha256:")


def test_what_was_built_before_is_known(finished: Workspace) -> None:
    finished.edit(f"targets/{TARGET}.toml", "[quantize]", "[quantize]\nper_channel = false")
    finished.build(TARGET, MODEL)
    finished.edit(f"targets/{TARGET}.toml", "per_channel = false", "per_channel = true")
    found = changed(finished)
    assert found["quantise"].state == "known"
    assert found["quantise"].fields == ("params.per_channel: false → true",)
    assert {change.state for change in found.values()} == {"known"}
    assert [name for name in found if name.startswith("stamp")] == ["stamp"]


@pytest.mark.slow
def test_a_result_that_is_gone_from_the_store_is_run_again(own_cache: Workspace) -> None:
    own_cache.build(TARGET, MODEL)
    (job,) = own_cache.jobs([TARGET], (MODEL,))
    key = last_build(own_cache.options().output, job)["steps"]["digits-mlp: quantise"]
    (own_cache.cache.store / "actions" / f"{digest.short(key, 64)}.json").unlink()
    assert changed(own_cache)["quantise"] == Change("digits-mlp: quantise", "run", ("its result is no longer in the store",))


# --- builds that ended otherwise -----------------------------------------------------------------------------------


def test_before_any_build_it_says_so_and_makes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    done = call(workspace, "why", "--target", TARGET, "--model", MODEL, XDG_CACHE_HOME=str(tmp_path / "empty"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {workspace.root}/build/{TARGET}/{MODEL}.json: there is no build to compare with\n")
    assert "try: ./inv build first" in done.stderr
    assert not (tmp_path / "empty").exists()


def test_after_a_refusal_nothing_changed(workspace: Workspace) -> None:
    path = workspace.root / "bad.onnx"
    path.write_bytes(bytes(range(256)))
    (built,) = workspace.build(TARGET, str(path))
    assert not built.ok
    assert changed(workspace, str(path)) == {}


def test_after_a_gate_that_failed_nothing_changed(workspace: Workspace) -> None:
    """Nothing was shipped, so nothing that ships is missed."""
    workspace.edit(f"targets/{TARGET}.toml", '"1.20.1", "1.31.1"', '"1.17.3"')
    workspace.edit(f"targets/{TARGET}.toml", "opset    = 17", "opset    = 22")
    (built,) = workspace.build(TARGET, MODEL)
    assert not built.ok
    assert built.gates
    assert changed(workspace) == {}


def test_a_record_that_is_no_record_is_no_build(workspace: Workspace) -> None:
    (job,) = workspace.jobs([TARGET], (MODEL,))
    path = workspace.root / "build" / TARGET / f"{MODEL}.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(OrtolanError, match="no build to compare with"):
        last_build(workspace.root / "build", job)


@pytest.mark.slow
def test_a_model_that_comes_quantised_is_not_said_to_be_quantised(workspace: Workspace) -> None:
    quantised_given(workspace)
    (built,) = workspace.build(TARGET, "given")
    assert built.ok, [str(error) for error in built.errors]
    changes = asked(workspace, "given")
    assert changed(workspace, "given") == {}
    assert "given: stamp" in {change.label for change in changes}
    assert not [change.label for change in changes if "quantise" in change.label or "calibrate" in change.label]


@pytest.mark.slow
def test_layers_of_a_model_that_comes_quantised_are_not_ranked(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    quantised_given(workspace)
    with pytest.raises(Exit) as caught:
        sensitivity.run(workspace.root, [TARGET], ["given"], workspace.cache, jobs=0, as_json=True)
    assert caught.value.code == 1
    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"sensitivity"' in line]
    assert "there is nothing to rank" in told["errors"][0]
    assert "the model comes quantised" in told["errors"][0]


def quantised_given(workspace: Workspace) -> None:
    """The model that a build made, as a model that is given: Q/DQ, with data that another would be calibrated on."""
    (built,) = workspace.build(TARGET, MODEL)
    assert built.folder
    assert built.precision == "int8"
    folder = workspace.root / "recipes" / "models"
    shutil.copyfile(built.folder / "model.onnx", folder / "given.onnx")
    text = (folder / f"{MODEL}.toml").read_text()
    assert f"{MODEL}.onnx" in text
    (folder / "given.toml").write_text(text.replace(f"{MODEL}.onnx", "given.onnx"))


# --- what is printed -----------------------------------------------------------------------------------------------


def test_what_is_printed(finished: Workspace) -> None:
    words = ("why", "--target", TARGET, "--model", MODEL, "--no-emulation")
    done = call(finished, *words)
    assert (done.returncode, done.stdout) == (0, "digits-mlp for arm64-cpu: nothing changed since the last build\n")
    finished.edit(f"targets/{TARGET}.toml", "[quantize]", "[quantize]\nper_channel = false\nsymmetric_activations = true")
    said = call(finished, *words).stdout
    assert "  run    digits-mlp: quantise\n           params.per_channel: true → false\n" in said
    assert "  waits  digits-mlp: evaluate (1.20.1) (for digits-mlp: quantise)\n" in said
    (told,) = json.loads(call(finished, *words, "--json").stdout)
    assert told["job"] == "digits-mlp for arm64-cpu"
    assert {step["label"]: step["state"] for step in told["steps"]}["digits-mlp: quantise"] == "run"


# --- the comparison of keys ----------------------------------------------------------------------------------------

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(old=JSON, new=JSON)
@example(old={"a": None}, new={})
@example(old={"a": 1}, new={"a": True})
@example(old={"a": {}}, new={"a": None})
def test_two_keys_differ_exactly_when_a_field_is_named(old: Any, new: Any) -> None:
    assert bool(list(differing(old, new))) == (digest.canonical(old) != digest.canonical(new))


@given(value=st.text(min_size=41))
def test_a_long_value_is_shortened(value: str) -> None:
    (line,) = differing({"a": {"b": "x"}}, {"a": {"b": value}})
    assert line == f"a.b: x → {value[:28]}…{value[-8:]}"


def test_a_changed_limit_is_in_no_key_and_is_told_all_the_same(workspace: Workspace) -> None:
    workspace.build("raspberry-pi-5", "digits-mlp")
    (before,) = workspace.jobs(["raspberry-pi-5"], ("digits-mlp",))
    limits = last_build(workspace.root / "build", before)["limits"]
    assert judged_by(before, limits) == []
    workspace.edit("targets/raspberry-pi-5.toml", 'max_size = "32 MB"', 'max_size = "31 MB"')
    (after,) = workspace.jobs(["raspberry-pi-5"], ("digits-mlp",))
    (change,) = judged_by(after, limits)
    assert change.state == "judge"
    assert change.fields == ("gates.max_size: 32000000 → 31000000",)
