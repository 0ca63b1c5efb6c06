"""Completion in bash: real names from a real project."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, Workspace

TARGETS = sorted(path.stem for path in (ROOT / "recipes" / "targets").glob("*.toml"))


def complete(folder: Path, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _ortolan; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    script = f"source '{ROOT}/completions/ortolan.bash'; {ask}"
    said = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return said.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ortolan", "build", "--target", "rasp"), ["raspberry-pi-5"]),
        (("ortolan", "build", "--target", "x86-cpu", "--model", "digits-"), ["digits-mlp"]),
        (("ortolan", "why", "--target", ""), TARGETS),
        (("ortolan", "coverage", "net.onnx", "--target", "android-"), ["android-arm64", "android-qnn"]),
        (("ortolan", "coverage", "net.onnx", "--target", ""), TARGETS),
    ],
)
def test_names_of_targets_and_models(workspace: Workspace, words: tuple[str, ...], expected: list[str]) -> None:
    assert complete(workspace.root, *words) == expected


FLEET = """\
[device.kitchen]
host = "pi@pi5"
labels = ["lab", 'arm'] # "not-a-label"

[ device."line.3" ]
labels = [
    "lab",
    "line", # "nor-this"
]
target = "jetson-orin"
"""


def test_devices_and_labels_for_host(workspace: Workspace) -> None:
    assert complete(workspace.root, "ortolan", "doctor", "--host", "") == ["emulated"]
    (workspace.root / "recipes" / "fleet.toml").write_text(FLEET)
    found = complete(workspace.root, "ortolan", "bench", "--host", "")
    assert found == ["emulated", "all", "kitchen", "line.3", "arm", "lab", "line"]
    assert complete(workspace.root / "recipes", "ortolan", "tune", "--host", "l") == ["line.3", "lab", "line"]


@pytest.mark.parametrize("written", ["", "./", "sub/"])
def test_a_model_file_to_cover(workspace: Workspace, written: str) -> None:
    (workspace.root / "sub" / "deeper").mkdir(parents=True)
    for folder in (workspace.root, workspace.root / "sub"):
        for name in ("net.onnx", "notes.txt"):
            (folder / name).touch()
    found = complete(workspace.root, "ortolan", "coverage", written)
    assert f"{written}net.onnx" in found
    assert f"{written}notes.txt" not in found
    assert ("digits-mlp" in found) == (not written), "a recipe of the project has a name, and no path"
    assert (f"{written}sub" if written != "sub/" else "sub/deeper") in found, "folders lead to files"


def test_tags_for_show(workspace: Workspace) -> None:
    (built,) = workspace.build("raspberry-pi-5", "digits-mlp")
    assert complete(workspace.root, "ortolan", "show", "") == [built.tag]


def test_verbs_and_options_come_from_the_program_itself() -> None:
    verbs = complete(ROOT, str(ROOT / "inv"), "")
    assert {"build", "coverage", "test", "why", "reproduce"} <= set(verbs)
    assert "--target" in complete(ROOT, str(ROOT / "inv"), "build", "--")
    assert "--target" in complete(ROOT, str(ROOT / "inv"), "coverage", "--")
