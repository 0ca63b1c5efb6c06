"""PyTorch's own files as sources: programs, TorchScript, pickles, and models that PyTorch has quantised."""

from __future__ import annotations

import shutil
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import models
from conftest import RunStage, StageRun, Workspace
from ortolan.artifact import Gate, Outcome
from ortolan.build import Built
from ortolan.errors import RecipeError
from ortolan.stages.lib.tensors import read_samples, write_samples
from ortolan.verbs import model_add
from torch_files import CODE, HARM, X, made, written

pytestmark = pytest.mark.slow
linux = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux's")
INPUT = '\n[[input]]\nname = "x"\nshape = ["batch", 1, 8, 8]\n'
OPEN: dict[str, Any] = {"factory": None, "file": None, "trust": False, "inputs": []}
EXPORT = OPEN | {"exporter": "dynamo", "opset": 17, "outputs": [], "axes": {}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return made((base.parent if base.name.startswith("popen-") else base) / "torch-files")


def folder(tmp_path: Path, *given: Path) -> Path:
    """A source tree with these files."""
    (tmp_path / "code").mkdir()
    for path in given:
        shutil.copy(path, tmp_path / "code")
    return tmp_path / "code"


def export(run_stage: RunStage, tmp_path: Path, path: Path, **changes: Any) -> StageRun:
    """Export a file, alone in its folder but for nets.py."""
    code = folder(tmp_path, path, CODE / "nets.py")
    return run_stage("export_pytorch", "torch", {"code": code}, EXPORT | {"file": path.name} | changes)


def recipe(workspace: Workspace, name: str, source: str, *given: Path, inputs: str = INPUT) -> None:
    for path in given:
        shutil.copy(path, workspace.root / "recipes" / "models")
    workspace.add(f"models/{name}.toml", f"[source]\n{source}\n{inputs}")


def gate(built: Built, name: str, subject: str = "fp32") -> Gate:
    (found,) = [one for one in built.gates if (one.name, one.subject) == (name, subject)]
    return found


def put_in_place(built: Built) -> Built:
    assert built.ok, [*map(str, built.errors), *(str(one) for one in built.gates if one.outcome is Outcome.FAIL)]
    return built


# --- programs ------------------------------------------------------------------------------------------------------


def test_a_program_builds_from_its_file_alone(workspace: Workspace, files: Path) -> None:
    (built,) = workspace.build("x86-cpu", str(files / "net.pt2"))
    folder = put_in_place(built).folder
    assert folder
    model = onnx.load(folder / "model.onnx")
    assert [value.name for value in model.graph.input] == ["x"]
    assert gate(built, "shapes").measured == "batch = 1"
    assert gate(built, "parity@1.17.3").outcome is Outcome.PASS


def test_a_recipe_gives_its_inputs_and_axes_other_names(tmp_path: Path, run_stage: RunStage, files: Path) -> None:
    image = [{"name": "image", "dtype": "float32", "shape": ["n", 1, 8, 8], "range": None}]
    ran = export(run_stage, tmp_path, files / "net.pt2", inputs=image, outputs=["logits", "features"])
    assert ran.facts, ran.refused
    assert ran.facts["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["n", 1, 8, 8]}]
    assert [(one["name"], one["shape"]) for one in ran.facts["outputs"]] == [("logits", ["n", 4]), ("features", ["n", 8])]
    assert set(ran.facts["confined"].values()) <= {"seccomp", "landlock"}


@pytest.mark.parametrize(
    ("file", "inputs", "words"),
    [
        ("fixed.pt2", X, "the recipe says float32[batch, 1, 8, 8], the program takes float32[2, 1, 8, 8]"),
        ("empty.pt2", [], "input 'input' has shape [2, 0]: no value goes in"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    tmp_path: Path, run_stage: RunStage, files: Path, file: str, inputs: Any, words: str
) -> None:
    refused = export(run_stage, tmp_path, files / file, inputs=inputs).refused
    assert refused
    assert words in f"{refused['what']} {refused['why']}"


def test_constants_keywords_and_half_precision_are_taken_as_the_program_has_them(workspace: Workspace, files: Path) -> None:
    for built in workspace.build("x86-cpu", str(files / "constants.pt2"), str(files / "half.pt2")):
        put_in_place(built)
        assert gate(built, "parity@1.31.1").outcome is Outcome.PASS


def test_what_is_no_program_is_refused_in_words(tmp_path: Path, run_stage: RunStage, files: Path) -> None:
    broken = tmp_path / "net.pt2"
    with zipfile.ZipFile(files / "net.pt2") as given, zipfile.ZipFile(broken, "w") as made_:
        for name in given.namelist():
            made_.writestr(name, given.read(name) if not name.endswith("model.json") else b"{}")
    refused = export(run_stage, tmp_path, broken).refused
    assert refused
    assert refused["what"] == "net.pt2 cannot be read as an ExportedProgram"


def test_a_program_is_traced_inside(tmp_path: Path, run_stage: RunStage, files: Path) -> None:
    ran = export(run_stage, tmp_path, files / "net.pt2")
    write_samples(tmp_path / "s.npz", [{"x": np.ones((2, 1, 8, 8), np.float32)}])
    inputs = {"code": tmp_path / "code", "model": ran.out / "model.onnx", "samples": tmp_path / "s.npz"}
    params = OPEN | {"file": "net.pt2", "exporter": "dynamo", "axes": {}}
    traced = run_stage("trace_pytorch", "torch", inputs, params)
    assert traced.facts, traced.refused or traced.log
    assert traced.facts["matched"] >= traced.facts["tensors"] - 2
    assert {"conv2d", "relu"} <= read_samples(traced.out / "tensors.npz")[0].keys()


def test_model_add_writes_what_a_program_tells(workspace: Workspace, files: Path) -> None:
    model_add.run(workspace.root, str(files / "net.pt2"), "", "", as_json=False, cache=workspace.cache)
    written = tomllib.loads((workspace.root / "recipes" / "models" / "net.toml").read_text())
    assert written["source"] == {"kind": "pytorch", "file": "net.pt2"}
    assert written["input"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]


# --- TorchScript, state dicts, pickles -------------------------------------------------------------------------------


def test_torchscript_state_dicts_and_trusted_pickles_build(workspace: Workspace, files: Path) -> None:
    nets = CODE / "nets.py"
    recipe(workspace, "scripted", 'file = "scripted.pt"', files / "scripted.pt")
    recipe(workspace, "state", 'factory = "nets.py:build"\nweights = "state.pt"', nets, files / "state.pt")
    recipe(workspace, "old", 'factory = "nets.py:build"\nweights = "old.pth"', files / "old.pth")
    recipe(workspace, "pickled", 'file = "module.pt"\nfiles = ["nets.py"]\ntrust = true', files / "module.pt")
    hashes = {}
    for built in workspace.build("x86-cpu", "scripted", "state", "old", "pickled"):
        put_in_place(built)
        hashes[built.job.model.name] = built.hashed
    assert hashes["state"] == hashes["old"] == hashes["pickled"]  # the same module, however it came


@pytest.mark.parametrize(
    ("file", "params", "what", "why"),
    [
        ("traced.ts", {}, "traced.ts does not tell its inputs", "only an ExportedProgram"),
        ("module.pt", {"inputs": X}, "module.pt is a pickle, and not loaded", "runs what its author put in"),
        ("state.pt", {"inputs": X, "trust": True}, "state.pt holds a OrderedDict", "a torch.nn.Module is needed"),
    ],
)
def test_a_file_that_is_not_enough_is_refused(
    tmp_path: Path, run_stage: RunStage, files: Path, file: str, params: Any, what: str, why: str
) -> None:
    refused = export(run_stage, tmp_path, files / file, **params).refused
    assert refused
    assert refused["what"] == what
    assert why in refused["why"]


@pytest.mark.parametrize(
    ("weights", "trust", "words"),
    [
        ("wrong.pt", False, "missing in the weights: head.bias; unknown to the model: head.biasx"),
        ("module.pt", False, "Unsupported global: GLOBAL nets.Net was not an allowed global"),
        ("checkpoint.pt", True, "these are no tensors: state_dict, epoch, evil"),
    ],
)
def test_weights_are_named_where_they_do_not_fit(run_stage: RunStage, files: Path, weights: str, trust: bool, words: str) -> None:
    params = EXPORT | {"factory": "nets.py:build", "trust": trust, "inputs": X}
    ran = run_stage("export_pytorch", "torch", {"code": CODE, "weights": files / weights}, params)
    assert ran.refused, ran.log
    assert words in ran.refused["why"]


def test_weights_without_a_factory_say_what_is_missing(workspace: Workspace, files: Path) -> None:
    with pytest.raises(RecipeError, match="a state dict of PyTorch cannot be built without a recipe") as caught:
        workspace.build("x86-cpu", str(files / "state.pt"))
    assert 'factory = "model.py:build"' in str(caught.value)
    assert "[[input]]" in str(caught.value)


@linux
@pytest.mark.parametrize(("number", "role"), [(0, "file"), (1, "weights")])
def test_a_trusted_pickle_gets_out_nowhere(tmp_path: Path, run_stage: RunStage, files: Path, number: int, role: str) -> None:
    path = files / f"evil{number}.pt"
    if role == "file":
        refused = export(run_stage, tmp_path, path, inputs=X, trust=True).refused
    else:
        params = EXPORT | {"factory": "nets.py:build", "trust": True, "inputs": X}
        refused = run_stage("export_pytorch", "torch", {"code": CODE, "weights": path}, params).refused
    assert refused, HARM[number]
    assert refused["what"] == f"loading {path.name} failed"
    assert "PermissionError" in refused["why"]
    assert not written(files).exists()


@linux
def test_a_program_whose_example_is_a_pickle_gets_out_nowhere(tmp_path: Path, run_stage: RunStage, files: Path) -> None:
    """PyTorch falls back to plain pickle for a program's example inputs."""
    evil = tmp_path / "net.pt2"
    with zipfile.ZipFile(files / "net.pt2") as given, zipfile.ZipFile(evil, "w") as made_:
        for name in given.namelist():
            made_.writestr(name, (files / "evil1.pt").read_bytes() if "sample_inputs" in name else given.read(name))
    ran = export(run_stage, tmp_path, evil)
    assert ran.refused or ran.facts
    assert "Permission denied" in ran.log + str(ran.refused)
    assert not written(files).exists()


# --- what PyTorch has quantised --------------------------------------------------------------------------------------


def test_a_program_that_is_quantised_is_kept_and_its_scheme_judged(workspace: Workspace, files: Path) -> None:
    for name in ("x86-cpu", "raspberry-pi-5"):
        (built,) = workspace.build(name, str(files / "pt2e.pt2"))
        put_in_place(built)
        assert (built.precision, gate(built, "quantised").measured) == ("int8", "already quantised: 8 Q/DQ nodes, kept")
        assert not [one for one in workspace.ran() if "calibrate" in one or "quantise" in one]
        scheme = gate(built, "qdq-scheme")
        assert scheme.outcome is Outcome.PASS
        wish = "XNNPACK leaves to the next provider uint8 activations: quantise with int8"
        assert scheme.why == ("" if name == "x86-cpu" else wish)


@pytest.mark.parametrize(("exporter", "kind"), [("dynamo", "qat"), ("torchscript", "qat"), ("dynamo", "qat-fused")])
def test_what_was_trained_for_8_bits_comes_out_as_qdq_and_computes_the_same(
    tmp_path: Path, run_stage: RunStage, files: Path, exporter: str, kind: str
) -> None:
    how = {"factory": f"nets.py:build_{kind.replace('-', '_')}", "inputs": X}
    given = {"code": CODE, "weights": files / f"{kind}.pt"}
    ran = run_stage("export_pytorch", "torch", given, EXPORT | how | {"exporter": exporter})
    assert ran.facts, ran.refused or ran.log
    assert ran.facts["operators"]["QuantizeLinear"] == ran.facts["operators"]["DequantizeLinear"] >= 5
    sample = np.random.Generator(np.random.PCG64(0)).uniform(-1, 2, (64, 1, 8, 8)).astype(np.float32)
    write_samples(tmp_path / "s.npz", [{"x": sample}])
    read = {"model": ran.out / "model.onnx", "samples": tmp_path / "s.npz"}
    reference = run_stage("reference_pytorch", "torch", given | read, OPEN | how)
    read |= {"expected": reference.out / "outputs.npz"}
    opened = {"providers": models.CPU, "session": models.SESSION, "rtol": 1e-4, "atol": 1e-5}
    seen = run_stage("verify", "onnxruntime-1.31.1", read, opened)
    assert seen.facts, seen.log
    (output,) = seen.facts["onnx"]["outputs"].values()
    assert output["close"] or output["snr_db"] > 40, "seen: one value in 1,600 is rounded to the next step"


def test_ranges_that_were_never_seen_are_refused(run_stage: RunStage) -> None:
    params = EXPORT | {"factory": "nets.py:build_qat_unseen", "inputs": X}
    refused = run_stage("export_pytorch", "torch", {"code": CODE}, params).refused
    assert refused
    assert refused["what"] == "the fake quantiser 0.activation_post_process has seen no data"
