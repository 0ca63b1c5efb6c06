"""reproduce: two builds in two empty stores from two folders; what is equal, and what is not and must be said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Workspace
from ortolan.build import Built
from ortolan.reproduce import Grade, _grades, _verdict
from program import call

TARGETS = ("x86-cpu", "raspberry-pi-5", "arm64-cpu")
CONFIGS = {"required_operators.config", "required_operators_and_types.config"}
GOLDEN = {"golden.bin", "golden.json", "golden-inputs.npz", "golden-outputs.npz"}
FILES = {"model.onnx", "model.ort", "session.json", "manifest.json", "coverage.json"} | CONFIGS | GOLDEN
RANDOM = """
from pathlib import Path

import numpy as np

def samples():
    chance = np.random.default_rng()
    for image in np.load(Path(__file__).with_name("digits-calibration.npz"))["image"]:
        yield {"image": (image * chance.uniform(0.9, 1.0)).astype("float32")}
"""


@pytest.mark.slow
def test_every_file_comes_out_bit_identical(workspace: Workspace) -> None:
    words = [word for target in TARGETS for word in ("--target", target)]
    done = call(workspace, "reproduce", *words, "--model", "digits-mlp", "--json")
    assert done.returncode == 0, done.stderr
    grades = json.loads(done.stdout)
    named = {(one["target"], one["artifact"]) for one in grades}
    assert {(target, file) for target, file in named if "/" not in file} == {
        (target, file) for target in TARGETS for file in FILES
    }
    assert ("x86-cpu", "python/README.md") in named, "what templates give lies in folders"
    assert {one["grade"] for one in grades} == {"bit-identical"}
    ran = [line.split(": ")[1].rpartition(" ")[0] for line in done.stderr.splitlines() if line.startswith("  done")]
    assert sum(step.startswith("calibrate") for step in ran) == 2, "both builds really run"
    assert sum(step.startswith("latency") for step in ran) <= 1, "a timing cannot come out twice"
    assert not list((workspace.root / "build").glob("*/*")), "the project itself is left alone"


@pytest.mark.slow
def test_data_that_is_random_is_graded_as_what_it_is(workspace: Workspace) -> None:
    (workspace.root / "recipes/models/chance.py").write_text(RANDOM)
    source = '{ callable = "chance.py:samples", files = ["digits-calibration.npz"] }'
    workspace.edit("models/digits-mlp.toml", '{ npz = "digits-calibration.npz" }', source)
    done = call(workspace, "reproduce", "--target", "arm64-cpu", "--model", "digits-mlp")
    assert done.returncode == 3, done.stderr
    assert "error: two builds of the same sources differ" in done.stderr
    assert "Traceback" not in done.stderr
    grades = {line.split()[2]: " ".join(line.split()[3:]) for line in done.stdout.splitlines()[1:]}
    assert {name for name in grades if "/" not in name} == FILES
    assert grades["session.json"] == "bit-identical"
    assert grades["model.onnx"].startswith("differs from byte ")
    assert grades["model.ort"].startswith("differs from byte ")


def test_what_does_not_build_is_not_graded(workspace: Workspace) -> None:
    (workspace.root / "recipes/models/digits-mlp.onnx").write_bytes(b"no model")
    done = call(workspace, "reproduce", "--target", "arm64-cpu", "--model", "digits-mlp")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "error: digits-mlp for arm64-cpu does not build, so there is nothing to compare\n  why: digits-mlp: import onnx: "
        in done.stderr
    )
    assert done.stderr.endswith("  try: ./inv build says more\n")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_files_outside_the_recipes_are_taken_along(workspace: Workspace) -> None:
    data = workspace.root / "data"
    data.mkdir()
    for name in ("digits-mlp.onnx", "digits-calibration.npz"):
        (workspace.root / "recipes/models" / name).rename(data / name)
        workspace.edit("models/digits-mlp.toml", f'"{name}"', f'"../../data/{name}"')
    grades = graded(workspace, "--model", "digits-mlp", "--jobs", "1", "--cache", str(workspace.cache.root))
    assert {name for name in grades if "/" not in name} == FILES
    assert set(grades.values()) == {"bit-identical"}


@pytest.mark.slow
def test_a_model_without_a_recipe_is_graded_too(workspace: Workspace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "net.onnx"
    elsewhere.parent.mkdir()
    (workspace.root / "recipes/models/digits-mlp.onnx").rename(elsewhere)
    grades = graded(workspace, "--model", "../elsewhere/net.onnx")
    assert {name for name in grades if "/" not in name} == FILES
    assert set(grades.values()) == {"bit-identical"}


def graded(workspace: Workspace, *words: str) -> dict[str, str]:
    """The grade of each artifact for arm64-cpu."""
    done = call(workspace, "reproduce", "--target", "arm64-cpu", "--json", *words)
    assert done.returncode == 0, done.stderr
    return {one["artifact"]: one["grade"] for one in json.loads(done.stdout)}


# --- grades --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (b"same", b"same", "bit-identical"),
        (b"", b"", "bit-identical"),
        (b"same", b"some", "differs from byte 1 on (4 and 4 bytes)"),
        (b"same", b"same!", "differs from byte 4 on (4 and 5 bytes)"),
        (b"same", None, "only one of the builds has it"),
        (None, b"same", "only one of the builds has it"),
    ],
)
def test_a_verdict(tmp_path: Path, one: bytes | None, other: bytes | None, verdict: str) -> None:
    assert _verdict(file(tmp_path / "one", one), file(tmp_path / "other", other)) == verdict
    assert Grade("net", "board", "file", verdict).same == (one == other)


def file(path: Path, data: bytes | None) -> Path | None:
    """A file with these bytes, or none."""
    if data is None:
        return None
    path.write_bytes(data)
    return path


def test_another_tag_is_the_difference(workspace: Workspace) -> None:
    (job,) = workspace.jobs(["arm64-cpu"], ("digits-mlp",))
    one, other = (Built(job, tag, "int8", workspace.root) for tag in ("net-1", "net-2"))
    assert _grades(one, other) == [Grade("digits-mlp", "arm64-cpu", "tag", "net-1 and net-2")]


def test_measurements_are_not_compared(workspace: Workspace, tmp_path: Path) -> None:
    (job,) = workspace.jobs(["arm64-cpu"], ("digits-mlp",))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "measurements.json").write_text(name)
        (tmp_path / name / "model.onnx").write_text("same")
    one, other = (Built(job, "net-1", "int8", tmp_path / name) for name in ("one", "other"))
    assert _grades(one, other) == [Grade("digits-mlp", "arm64-cpu", "model.onnx", "bit-identical")]
