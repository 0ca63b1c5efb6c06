"""``./inv device``, and what it copies out: ortolan-device, its settings and how to begin."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from conftest import ROOT, Workspace
from devices import PROGRAM, load
from program import call

FILES = ["README.md", "config.example.json", "ortolan-device"]


def test_the_program_is_copied_out_with_its_settings(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "device"
    done = call(workspace, "device", "--out", str(out))
    assert (done.returncode, done.stdout.split()) == (0, [str(out / name) for name in FILES])
    assert (out / "ortolan-device").read_bytes() == PROGRAM.read_bytes()
    assert os.access(out / "ortolan-device", os.X_OK)
    said = subprocess.run([out / "ortolan-device", "status", "--root", tmp_path], capture_output=True, text=True, check=True)
    assert said.stdout == "nothing is installed\n"
    told = json.loads(call(workspace, "device", "--out", str(out), "--json").stdout)
    assert told == {name: str(out / name) for name in FILES}


def test_without_a_folder_nothing_is_copied(workspace: Workspace) -> None:
    done = call(workspace, "device")
    assert done.returncode == 1
    assert "which folder?" in done.stderr


def test_the_example_of_settings_has_all_of_them_with_their_defaults(tmp_path: Path) -> None:
    module = load()
    example = json.loads((ROOT / "device" / "config.example.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(example))
    read, default = module.load_config(tmp_path, {}), module.Config(tmp_path)
    assert set(example) == set(vars(default)) - {"root"}
    differing = {key for key in example if getattr(read, key) != getattr(default, key)}
    assert differing == {"target", "source", "python"}


def test_the_manual_tells_every_setting_and_verb() -> None:
    manual = (ROOT / "docs" / "device.md").read_text()
    settings = set(json.loads((ROOT / "device" / "config.example.json").read_text()))
    assert not {key for key in settings if f"| `{key}` |" not in manual}
    verbs = set(re.findall(r"^    ([a-z]+) +\S", load().parser().format_help(), re.MULTILINE))
    assert {"fetch", "verify", "install", "status", "rollback"} <= verbs
    assert not {verb for verb in verbs if f"`{verb}" not in manual}
