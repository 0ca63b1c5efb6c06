"""Every target in one build: what lies there, what was proven of it, and what only the device can prove."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from conftest import ROOT, Workspace
from ortolan import digest, manifest
from ortolan.artifact import Gate, Outcome
from ortolan.build import MEASUREMENTS, Built
from ortolan.cache import Cache
from ortolan.manifest import Manifest
from ortolan.platforms import host_platform
from ortolan.reproduce import reproduce

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(host_platform() != "linux/amd64", reason="the golden gates were seen on linux/amd64"),
]

TARGETS = sorted(path.stem for path in (ROOT / "recipes" / "targets").glob("*.toml"))
DEMOS = ("digits", "digits-mlp")
REAL = tuple(sorted(path.stem for path in (ROOT.parent / "shared" / "data" / "onnx").glob("*.onnx")))
GOLDEN = {"golden.bin", "golden.json", "golden-inputs.npz", "golden-outputs.npz"}
ALWAYS = GOLDEN | {"coverage.json", "manifest.json", "session.json"}
ORT = {"model.ort", "required_operators.config", "required_operators_and_types.config"}
CAPABILITIES = ("SM86", "SM89", "SM120")
REPRODUCED = ("android-qnn", "intel-openvino", "jetson-orin", "web", "x86-rtx")


@dataclass(frozen=True)
class Target:
    """What is expected of a build for a target.

    ``files`` beside those that every target has; ``seen`` and ``unseen``, gates that pass and that cannot run here; ``level``,
    the evidence of the first provider on the convolutional model; ``precision`` of the demo models, empty where a timing decides;
    ``against``, gates that may speak against INT8; ``scheme``, the Q/DQ types of activations and weights, empty where nothing
    is quantised; ``about``, what devices compare.
    """

    files: frozenset[str]
    seen: frozenset[str]
    unseen: frozenset[str]
    level: str
    precision: str = "fp32"
    against: frozenset[str] = frozenset()
    scheme: tuple[str, str] | None = None
    symmetric: bool = False
    about: Mapping[str, Mapping[str, str]] | None = None


def target(
    files: str,
    level: str,
    *,
    seen: str = "",
    unseen: str = "",
    against: str = "",
    **more: Any,
) -> Target:
    """A row of the table, with names apart by spaces."""
    lie = frozenset(files.split()) - {"ORT"} | (ORT if "ORT" in files.split() else set())
    return Target(lie, frozenset(seen.split()), frozenset(unseen.split()), level, against=frozenset(against.split()), **more)


TABLE = {
    "android-arm64": target(
        "ORT", "listed", precision="int8", scheme=("uint8", "int8"), seen="ort@1.31.1",
        unseen="int8-faster providers@1.31.1 on-device",
    ),
    "android-qnn": target(
        "model.onnx model_ctx.onnx", "runs", precision="int8", scheme=("uint8", "uint8"), seen="engine emulator",
        unseen="int8-faster providers@1.31.1 engine-runs on-device",
        about={"model_ctx.onnx": {"soc": "SM8650", "htp_arch": "75", "onnxruntime": "1.31.1", "onnxruntime-qnn": "2.7.0"}},
    ),
    "arm-acl": target("model.onnx build_onnxruntime.sh", "listed", unseen="providers@1.31.1 runtime on-device"),
    "arm64-cpu": target(
        "model.onnx ORT", "runs", precision="int8", scheme=("int8", "int8"),
        seen="ort@1.20.1 ort@1.31.1 providers@1.20.1 providers@1.31.1", unseen="int8-faster on-device",
    ),
    "intel-openvino": target(
        "model.onnx model.xml model.bin", "runs", precision="int8", scheme=("uint8", "int8"), seen="ir providers@1.24.1",
        unseen="int8-faster", about={"model.xml": {"openvino": "2026.4.1"}},
    ),
    "ios": target("ORT", "listed", seen="ort@1.31.1", unseen="providers@1.31.1 on-device"),
    "jetson-orin": target(
        "model.onnx build_engine.py build_engine.sh engine.json", "listed", precision="int8", scheme=("int8", "int8"),
        symmetric=True, seen="engine-kit", unseen="int8-faster providers@1.20.1 engine on-device",
        about={"engine.json": {"tensorrt": "10.3"}},
    ),
    "raspberry-pi-5": target(
        "model.onnx ORT", "listed", precision="int8", scheme=("int8", "int8"), seen="ort@1.20.1 ort@1.31.1",
        unseen="int8-faster providers@1.20.1 providers@1.31.1 on-device",
    ),
    "web": target(
        "model.web.onnx web.json", "runs", seen="web@node-wasm web@chromium-wasm web@chromium-webgpu",
        scheme=("uint8", "int8"), against="coverage partitions",
        unseen="int8-faster providers@1.30.0 on-device", about={"web.json": {"onnxruntime-web": "1.30.0"}},
    ),
    "windows-iot": target("model.onnx", "registered", unseen="providers@1.24.4 on-device"),
    "x86-cpu": target(
        "model.onnx ORT", "runs", precision="", scheme=("uint8", "int8"), against="int8-faster",
        seen="ort@1.17.3 ort@1.31.1 providers@1.17.3 providers@1.31.1",
    ),
    "x86-cuda": target("model.onnx", "registered", unseen="providers@1.31.1"),
    "x86-rtx": target(
        "model.onnx model-sm86.engine model-sm89.engine model-sm120.engine", "built", precision="int8", scheme=("int8", "int8"),
        symmetric=True, seen="engine@sm86 engine@sm89 engine@sm120", unseen="int8-faster providers@1.31.1 engine-runs",
        about={f"model-{sm.lower()}.engine": {"compute_capability": sm, "tensorrt_rtx": "1.7.1.116"} for sm in CAPABILITIES},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> dict[tuple[str, str], Built]:
    """Every target with the demo models and the real ones, in one build. Of several workers one builds and the others recall."""
    root = tmp_path_factory.mktemp("targets") / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    real = [str(ROOT.parent / "shared" / "data" / "onnx" / f"{name}.onnx") for name in REAL]
    shared_cache.root.mkdir(parents=True, exist_ok=True)
    with (shared_cache.root / "targets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = Workspace(root, shared_cache, []).build(TARGETS, *DEMOS, *real)
    return {(one.job.target.name, one.job.model.name): one for one in found}


def named(built: Built, outcome: Outcome) -> set[str]:
    """The gates with this outcome."""
    return {gate.name for gate in built.gates if gate.outcome is outcome}


def gate(built: Built, name: str) -> Gate:
    """What ships, judged by the gate of this name."""
    return next(one for one in built.gates if one.name == name and one.subject == "shipped")


def folder(built: Built) -> Path:
    """Where the files lie."""
    assert built.folder, [*map(str, built.errors), *named(built, Outcome.FAIL)]
    return built.folder


def lying(built: Built) -> set[str]:
    """The files that are there, but for timings and for what templates give, which lies in folders."""
    return {path.name for path in folder(built).iterdir() if path.is_file()} - {MEASUREMENTS}


def covered(built: Built) -> Any:
    """What the build says of its nodes."""
    return json.loads((folder(built) / "coverage.json").read_text())


def made(built: Built) -> Manifest:
    """Its manifest."""
    return manifest.read(folder(built) / manifest.NAME)


def test_the_table_speaks_of_every_target() -> None:
    assert list(TABLE) == TARGETS
    assert len(TARGETS) == 13


# --- the demo models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", DEMOS)
@pytest.mark.parametrize("name", TARGETS)
def test_what_lies_there_is_what_the_manifest_says(built: Mapping[tuple[str, str], Built], name: str, model: str) -> None:
    one, wanted = built[name, model], TABLE[name]
    told = made(one)
    assert lying(one) == {part.name for part in told.artifacts} | {"manifest.json"} == wanted.files | ALWAYS
    for part in told.artifacts:
        assert part.digest == digest.of_file(folder(one) / part.name)
        assert part.size == (folder(one) / part.name).stat().st_size
    assert told.precision == one.precision
    assert wanted.precision in {"", one.precision}


@pytest.mark.parametrize("model", DEMOS)
@pytest.mark.parametrize("name", TARGETS)
def test_the_gates_say_what_was_seen_and_what_was_not(built: Mapping[tuple[str, str], Built], name: str, model: str) -> None:
    one, wanted = built[name, model], TABLE[name]
    failed = [each for each in one.gates if each.outcome is Outcome.FAIL]
    assert {each.name for each in failed} <= wanted.against
    assert {each.subject for each in failed} <= {"int8"}
    assert one.precision == "fp32" or not failed
    assert named(one, Outcome.NOT_RUN) == wanted.unseen
    assert wanted.seen | {"opset", "shapes", "valid", "coverage", "partitions", "size"} <= named(one, Outcome.PASS)
    assert all(each.why for each in one.gates if each.outcome is Outcome.NOT_RUN)


@pytest.mark.parametrize("name", TARGETS)
def test_a_verdict_is_as_strong_as_its_evidence(built: Mapping[tuple[str, str], Built], name: str) -> None:
    found = covered(built[name, "digits"])
    first, last = found["providers"][0], found["providers"][-1]
    assert list(first["levels"]) == [TABLE[name].level]
    assert first["mac_share"] > 0.99
    assert set(last["levels"]) <= {"runs"}, "the CPU runs here"
    assert found["nowhere"] == []
    assert sum(one["nodes"] for one in found["providers"]) == len(found["nodes"])
    assert f"% {TABLE[name].level}" in gate(built[name, "digits"], "coverage").measured


@pytest.mark.parametrize("name", [name for name, wanted in TABLE.items() if wanted.about])
def test_the_manifest_says_what_a_device_compares(built: Mapping[tuple[str, str], Built], name: str) -> None:
    told = {part.name: part.about for part in made(built[name, "digits"]).artifacts}
    for file, wanted in (TABLE[name].about or {}).items():
        for key, value in wanted.items():
            assert told[file][key].partition("-")[0] == value.partition("-")[0], (file, key)


# --- quantisation: one calibration, each consumer's own scheme -------------------------------------------------------


def test_targets_share_what_is_the_same(built: Mapping[tuple[str, str], Built]) -> None:
    for model in DEMOS:
        builds = [built[name, model] for name in TARGETS]
        for shared in ("normalise", "preprocess"):
            assert len({one.steps[f"{model}: {shared}"] for one in builds}) == 1
        calibrated = [one.steps[f"{model}: calibrate"] for one in builds if f"{model}: calibrate" in one.steps]
        assert len(calibrated) == sum(TABLE[name].scheme is not None for name in TARGETS)
        assert len(set(calibrated)) == 1


@pytest.mark.parametrize("model", DEMOS)
@pytest.mark.parametrize("name", [name for name, wanted in TABLE.items() if wanted.scheme])
def test_q_and_dq_are_those_of_the_consumer(built: Mapping[tuple[str, str], Built], name: str, model: str) -> None:
    one, wanted = built[name, model], TABLE[name]
    params = next(step.params for step in made(one).steps if step.stage == "quantise")
    assert (params["activations"], params["weights"], params["symmetric_activations"]) == (
        *(wanted.scheme or ()),
        wanted.symmetric,
    )
    if one.precision == "int8" and "model.onnx" in wanted.files:
        activations, weights, biases, zeros = scheme(onnx.load(folder(one) / "model.onnx"))
        assert (activations, weights) == ({(wanted.scheme or ("",))[0]}, {(wanted.scheme or ("", ""))[1]})
        assert (biases == 0, zeros == {0}) == (wanted.symmetric, wanted.symmetric)


def scheme(model: ModelProto) -> tuple[set[str], set[str], int, set[int]]:
    """Types of quantised activations and of weights, how many biases are int32, and all zero points."""
    known = {value.name: value for value in model.graph.initializer}
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    biases, zeros = 0, set[int]()
    for node in model.graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        zero = numpy_helper.to_array(known[node.input[2]])
        zeros |= set(np.unique(zero).tolist())
        fixed = node.input[0] in known
        if fixed and known[node.input[0]].data_type == TensorProto.INT32:
            biases += 1
        else:
            kinds[fixed].add(zero.dtype.name)
    return kinds[False], kinds[True], biases, zeros


# --- the real models -------------------------------------------------------------------------------------------------


def real(built: Mapping[tuple[str, str], Built], model: str, name: str) -> Built:
    """The build of a real model; skips where there is none."""
    if not REAL:
        pytest.skip("no ../shared/data beside this checkout")
    return built[name, model]


REFUSED = {("gtcrn_simple", "android-qnn")}
"""Models that a target does not admit: gates say why."""


@pytest.mark.parametrize("model", ["gtcrn_simple", "mnist_cntk", "ultraface_rfb320"])
@pytest.mark.parametrize("name", TARGETS)
def test_a_real_model_ships_or_is_kept_back_by_a_gate(built: Mapping[tuple[str, str], Built], model: str, name: str) -> None:
    one, wanted = real(built, model, name), TABLE[name]
    assert not one.errors
    if (model, name) in REFUSED:
        assert named(one, Outcome.FAIL)
        assert one.folder is None
        return
    assert lying(one) == wanted.files | ALWAYS
    assert (one.precision, named(one, Outcome.FAIL)) == ("fp32", set())
    uncalibrated = {"quantised"} if wanted.scheme else set()
    assert named(one, Outcome.NOT_RUN) == wanted.unseen - {"int8-faster"} | uncalibrated
    assert wanted.seen <= named(one, Outcome.PASS)
    assert set(covered(one)["providers"][0]["levels"]) == {wanted.level}


def test_a_model_that_hexagon_takes_in_parts_is_kept_back_and_says_what_to_change(
    built: Mapping[tuple[str, str], Built],
) -> None:
    one = real(built, "gtcrn_simple", "android-qnn")
    assert named(one, Outcome.FAIL) == {"coverage", "partitions", "engine-bytes"}
    share, parts = gate(one, "coverage"), gate(one, "partitions")
    assert "CPU" in share.measured
    assert all(words in share.why for words in ("not QNN's: ", "ConvTranspose", "Gather"))
    assert "axes; HTP takes 5 at most" in share.why
    assert int(parts.measured.split()[0]) > 1
    assert parts.limit == "≤ 1"


# --- the same bytes ----------------------------------------------------------------------------------------------------


def test_two_builds_give_the_same_engines_and_packages(workspace: Workspace) -> None:
    grades = reproduce(workspace.jobs(list(REPRODUCED), ("digits-mlp",)), workspace.options(), workspace.events.append)
    assert {(one.target, one.artifact) for one in grades if "/" not in one.artifact} == {
        (name, file) for name in REPRODUCED for file in TABLE[name].files | ALWAYS
    }
    assert [(one.target, one.artifact, one.verdict) for one in grades if not one.same] == []
