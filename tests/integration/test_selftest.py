"""The self-test as a device runs it on real builds: it passes there, and nowhere else."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

import snippet_models
from conftest import ROOT, Workspace
from device_programs import SELFTEST, interpreter, run
from ortolan.build import Built
from ortolan.cache import Cache

MADE = {"types": snippet_models.every_type, "texts": snippet_models.texts, "alone": snippet_models.no_inputs}
Told = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> dict[str, Path]:
    """Build folders: of float and INT8 models, of odd ones, and of one that ships as .ort alone."""
    root = tmp_path_factory.mktemp("selftest") / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    workspace = Workspace(root, shared_cache, [])
    target = "targets/x86-cpu.toml"
    workspace.edit(target, "[quantize]\n", '[quantize]\npolicy = "never"\n')
    found = {"fp32": folder(workspace.build("x86-cpu", "digits-mlp"))}
    for name, make in MADE.items():
        onnx.save(make(), root / f"{name}.onnx")
        found[name] = folder(workspace.build("x86-cpu", str(root / f"{name}.onnx")))
    kept = root / "kept"
    shutil.move(found["fp32"], kept)
    found["fp32"] = kept
    workspace.edit(target, 'policy = "never"', 'policy = "require"')
    workspace.edit(target, "[gates]\n", "[gates]\nmin_speedup = 0.01\n")
    found["int8"] = root / "int8"
    shutil.move(folder(workspace.build("x86-cpu", "digits-mlp")), found["int8"])
    workspace.edit(target, "[outputs]\n", "[outputs]\nonnx = false\n")
    found["ort"] = folder(workspace.build("x86-cpu", "digits-mlp"))
    return found


def folder(built: list[Built]) -> Path:
    assert built[0].folder, [str(error) for error in built[0].errors]
    return built[0].folder


def selftest(place: Path, python: str, *words: str) -> Told:
    """The exit code and the answer of the program that lies in the build."""
    done = run(place / "device" / "selftest.py", "--json", *words, python=python)
    found = json.loads(done.stdout)
    assert found["passed"] == (done.returncode == 0)
    return done.returncode, found


@pytest.fixture
def copy(built: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A build to be damaged."""

    def made(name: str) -> Path:
        return Path(shutil.copytree(built[name], tmp_path / name))

    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fp32", "int8", "ort", *MADE])
def test_it_passes_on_a_build_in_every_version_of_the_fleet(built: dict[str, Path], name: str) -> None:
    if name == "ort":
        assert not (built["ort"] / "model.onnx").exists()
    assert json.loads((built["int8"] / "manifest.json").read_text())["precision"] == "int8"
    for version in ("1.17.3", "1.31.1"):
        code, found = selftest(built[name], interpreter(f"onnxruntime-{version}"))
        assert (code, found["runtime"], found["providers"], found["skipped"], found["why"]) == (
            0, version, ["CPUExecutionProvider"], [], "",
        )  # fmt: skip
        manifest = json.loads((built[name] / "manifest.json").read_text())
        outputs = [output["name"] for output in manifest["signature"]["outputs"]]
        assert len(found["outputs"]) == len(manifest["golden"]["samples"]) * len(outputs)


@pytest.mark.slow
def test_words_for_people_and_the_folder_as_an_argument(built: dict[str, Path]) -> None:
    done = run(SELFTEST, built["fp32"], python=interpreter("onnxruntime-1.31.1"))
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "self-test: passed"
    assert lines[1] == "  onnxruntime 1.31.1 on CPUExecutionProvider"
    assert lines[2].startswith("  sample 0  probabilities  pass  max error ")


def other_weights(path: Path) -> None:
    """Another model of the same signature."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 0.1, tensor.name))
    onnx.save(model, path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_another_model_and_other_golden_outputs_fail_with_the_error(copy: Callable[[str], Path], name: str) -> None:
    place, python = copy(name), interpreter("onnxruntime-1.31.1")
    other_weights(place / "model.onnx")
    code, found = selftest(place, python)
    assert code == 1
    assert {one["outcome"] for one in found["outputs"]} == {"fail"}
    assert found["outputs"][0]["max_error"] > 1e-3
    assert "beyond tolerance" in found["outputs"][0]["measured"]
    shutil.rmtree(place)
    place = copy(name)
    entry = json.loads((place / "golden.json").read_text())["samples"][1]["outputs"]["probabilities"]
    data = bytearray((place / "golden.bin").read_bytes())
    data[entry["offset"] : entry["offset"] + 4] = struct.pack("<f", 7.0)
    (place / "golden.bin").write_bytes(data)
    code, found = selftest(place, python)
    assert code == 1
    assert [one["outcome"] for one in found["outputs"]] == ["pass", "fail"]
    assert found["outputs"][1]["max_error"] == pytest.approx(7.0, abs=1)


@pytest.mark.slow
def test_a_model_that_does_not_open_or_run_fails(copy: Callable[[str], Path]) -> None:
    place, python = copy("fp32"), interpreter("onnxruntime-1.31.1")
    whole = (place / "model.onnx").read_bytes()
    (place / "model.onnx").write_bytes(whole[:-100])
    assert selftest(place, python)[0] == 1
    (place / "model.onnx").write_bytes(b"no model")
    code, found = selftest(place, python)
    assert code == 1
    assert found["why"].startswith("model.onnx does not open: ")
    (place / "model.onnx").write_bytes(whole)
    golden = json.loads((place / "golden.json").read_text())
    inputs = golden["samples"][0]["inputs"]
    inputs["other"] = inputs.pop("image") if "image" in inputs else inputs.pop(next(iter(inputs)))
    (place / "golden.json").write_text(json.dumps(golden))
    code, found = selftest(place, python)
    assert code == 1
    assert found["why"].startswith("the model does not run: ")


def test_a_provider_that_is_not_here_is_named(copy: Callable[[str], Path]) -> None:
    place = copy("fp32")
    session = json.loads((place / "session.json").read_text())
    session["providers"].insert(0, {"name": "CUDAExecutionProvider", "options": {}})
    (place / "session.json").write_text(json.dumps(session))
    code, found = selftest(place, interpreter("onnxruntime-1.31.1"))
    assert (code, found["skipped"], found["providers"]) == (0, ["CUDAExecutionProvider"], ["CPUExecutionProvider"])


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "no-manifest": lambda place: (place / "manifest.json").unlink(),
    "no-json": lambda place: (place / "session.json").write_text("{"),
    "no-samples": lambda place: (place / "golden.json").write_text('{"file": "golden.bin", "samples": []}'),
    "other-json": lambda place: (place / "golden.json").write_text("[]"),
    "short-samples": lambda place: (place / "golden.bin").write_bytes(b"short"),
    "no-data": lambda place: (place / "golden.bin").unlink(),
    "no-bundle": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_one_that_cannot_be_tried(copy: Callable[[str], Path], damage: str) -> None:
    place = copy("fp32")
    DAMAGE[damage](place)
    done = run(SELFTEST, place, "--json", python=interpreter("onnxruntime-1.31.1"))
    assert done.returncode == 2
    assert json.loads(done.stdout)["why"]


def test_without_onnxruntime_or_numpy_it_cannot_be_tried(built: dict[str, Path], tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, "-I", "-S", SELFTEST, built["fp32"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no numpy in " in done.stdout
    (tmp_path / "onnxruntime.py").write_text("raise OSError('libgomp.so.1: cannot open shared object file')")
    done_too = run(SELFTEST, built["fp32"], environment={"PYTHONPATH": str(tmp_path)})
    assert done_too.returncode == 2
    assert b"libgomp.so.1" in done_too.stdout


def test_a_bundle_for_browsers_or_of_engines_alone_cannot_be_tried(copy: Callable[[str], Path]) -> None:
    place, python = copy("fp32"), interpreter("onnxruntime-1.31.1")
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | {"artifacts": []}))
    code, found = selftest(place, python)
    assert (code, found["why"]) == (2, "the bundle has no model.onnx and no model.ort")
    manifest["target"]["platform"] = "web"
    (place / "manifest.json").write_text(json.dumps(manifest))
    code, found = selftest(place, python)
    assert code == 2
    assert "browser" in found["why"]
