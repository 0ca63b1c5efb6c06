"""What changed between real builds, as the program tells it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import Workspace
from program import call

TARGET, MODEL = "x86-cpu", "digits-mlp"
RECIPE = f"targets/{TARGET}.toml"


def built(workspace: Workspace, name: str) -> Path:
    """Build what the recipes say now; a copy of the build."""
    (made,) = workspace.build(TARGET, MODEL)
    assert made.folder
    shutil.copytree(made.folder, workspace.root / name)
    return workspace.root / name


def told(workspace: Workspace, old: Path, new: Path) -> dict[str, Any]:
    done = call(workspace, "diff", str(old), str(new), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def changes(found: dict[str, Any], name: str) -> dict[str, tuple[str, str]]:
    (group,) = [group for group in found["groups"] if group["name"] == name]
    return {change["what"]: (change["old"], change["new"]) for change in group["changes"]}


def test_nothing_changed_when_the_recipe_has_not(workspace: Workspace) -> None:
    old, new = built(workspace, "old"), built(workspace, "new")
    assert call(workspace, "diff", str(old), str(new)).stdout.splitlines()[1] == "nothing changed"
    found = told(workspace, old, new)
    assert (found["verdict"], found["bytes"]["files"]) == ("same", 0)


def test_another_opset_and_fleet_and_no_int8(workspace: Workspace) -> None:
    workspace.edit(RECIPE, "[gates]", "[gates]\nmin_speedup = 0.001")
    old = built(workspace, "old")
    workspace.edit(RECIPE, 'versions = ["1.17.3", "1.31.1"]\nopset    = 17', 'versions = ["1.20.1", "1.31.1"]\nopset    = 18')
    workspace.edit(RECIPE, "[quantize]", '[quantize]\npolicy = "never"')
    new = built(workspace, "new")
    found = told(workspace, old, new)
    assert found["text"] == "BREAKING: oldest onnxruntime 1.17.3 → 1.20.1"
    operators = changes(found, "operators and opset")
    assert operators["opset"] == ("17", "18")
    assert operators["QuantizeLinear"][1] == operators["DequantizeLinear"][1] == ""
    assert changes(found, "precision")["ships"] == ("int8", "fp32")
    assert changes(found, "accuracy")["accuracy"][1] == ""
    assert {"gates of version 1.17.3", "gates of version 1.20.1", "gates of the int8 candidate"} < changes(found, "gates").keys()
    assert {"onnxruntime-1.17.3", "onnxruntime-1.20.1"} <= changes(found, "runtimes and packages").keys()
    assert {"model.onnx", "model.ort", "session.json"} <= changes(found, "files").keys()
    assert not changes(found, "inputs and outputs")
    assert not [what for what in changes(found, "identity") if what.startswith(("calibration", "evaluation"))]


def test_another_input_size_breaks_callers(workspace: Workspace) -> None:
    old = built(workspace, "old")
    workspace.edit(RECIPE, "batch = 1", "batch = 2")
    new = built(workspace, "new")
    done = call(workspace, "diff", str(old), str(new), "--fail-on", "regression")
    assert done.returncode == 3
    assert done.stdout.splitlines()[1] == "BREAKING: input image float32[1, 1, 8, 8] → float32[2, 1, 8, 8] (and 1 more)"
    assert re.search(r"^  BREAKING +output probabilities +float32\[1, 10\] +float32\[2, 10\]", done.stdout, re.MULTILINE)
    said = call(workspace, "diff", str(old), str(new), "--markdown").stdout
    assert "**BREAKING: `input image float32[1, 1, 8, 8] → float32[2, 1, 8, 8] (and 1 more)`**" in said


def test_a_waiver_stands_in_the_comparison(workspace: Workspace) -> None:
    old = built(workspace, "old")
    workspace.edit(RECIPE, "128 MB", "1 kB")
    (failed,) = workspace.build(TARGET, MODEL)
    assert not failed.ok
    words = ("--target", TARGET, "--model", MODEL, "--reason", "EDGE-17", "--who", "ana", "--expires", "2999-12-31")
    assert call(workspace, "waive", "size", *words).returncode == 0
    new = built(workspace, "new")
    found = told(workspace, old, new)
    assert found["verdict"] == "regression"
    assert changes(found, "waivers") == {"size of shipped": ("", "until 2999-12-31, ana: EDGE-17")}
    assert changes(found, "gates")["size of shipped"][1].startswith("waived: ")
    codes = [call(workspace, "diff", str(old), str(new), *words).returncode for words in ((), ("--fail-on", "breaking"))]
    assert codes == [0, 0]
    assert call(workspace, "diff", str(old), str(new), "--fail-on", "regression").returncode == 3


@pytest.mark.slow
def test_releases_by_tag_with_a_delta(workspace: Workspace) -> None:
    built(workspace, "build-1")
    words = ("--target", TARGET, "--model", MODEL)
    assert call(workspace, "bundle", *words, "--sequence", "1").returncode == 0
    (first,) = [path.parent for path in (workspace.root / "dist").glob("*/*/release.json")]
    workspace.edit(RECIPE, "opset    = 17", "opset    = 18")
    workspace.edit(RECIPE, '"1.17.3"', '"1.20.1"')
    built(workspace, "build-2")
    assert call(workspace, "bundle", *words, "--sequence", "2").returncode == 0
    (second,) = {path.parent for path in (workspace.root / "dist").glob("*/*/release.json")} - {first}
    call(workspace, "delta", first.name, second.name)
    found = json.loads(call(workspace, "diff", first.name, second.name, "--json").stdout)
    assert changes(found, "identity")["sequence"] == ("1", "2")
    assert found["bytes"]["full"] == (second / "bundle.tar.zst").stat().st_size
    assert 0 < found["bytes"]["delta"] < found["bytes"]["full"]
    assert found["old"]["tar"] == json.loads((first / "release.json").read_text())["tar"]["digest"]
    said = call(workspace, "diff", first.name, second.name).stdout
    assert re.search(r"^  delta from OLD: +[\d.]+ k?B, [\d.]+% of it$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("digits", "digits-2"), "no build and no release 'digits'\n  why: nothing is built yet"),
        (("a", "b", "--fail-on", "better"), "--fail-on does not know 'better'"),
    ],
)
def test_mistakes(workspace: Workspace, words: tuple[str, ...], said: str) -> None:
    done = call(workspace, "diff", *words)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False)
