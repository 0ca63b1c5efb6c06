"""``tune`` as a user runs it, here and over ssh: what it tried, in which order, and by which rule it took something."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest

import device_programs
import ssh_device
from conftest import ROOT, Workspace
from ortolan import digest
from ortolan.cache import Cache
from ortolan.devices.tune_batch import Batch
from ortolan.devices.tune_errand import Device, Subject, here, selftest_program, subject
from ortolan.devices.tune_settings import DEFAULTS, OPTIMISED, OPTIMISED_SESSION, Candidate, Change
from ortolan.devices.tune_statistics import DEFAULT, pairs_needed
from program import PROGRAM, call, environment
from ssh_device import SshDevice

MODEL, AZURE = "digits-mlp", "AzureExecutionProvider"
PAGE = ROOT / "docs" / "tuning.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshDevice]:
    with ssh_device.running(tmp_path_factory.mktemp("device")) as made:
        yield made


@pytest.fixture
def device(server: SshDevice, monkeypatch: pytest.MonkeyPatch) -> SshDevice:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> Workspace:
    """A project with one model built for x86-cpu; tests only add to it."""
    root = tmp_path_factory.mktemp("built") / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    workspace = Workspace(root, shared_cache, [])
    done = call(workspace, "build", "--target", "x86-cpu", "--model", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


@pytest.fixture(scope="module")
def build(built: Workspace) -> Subject:
    tag = json.loads((built.root / "build" / "x86-cpu" / f"{MODEL}.json").read_text())["tag"]
    return subject(built.root / "build" / "x86-cpu" / tag)


def python(version: str) -> str:
    return device_programs.interpreter(f"onnxruntime-{version}")


def place(version: str = "1.31.1") -> Device:
    return Device(here(Path(python(version))), "this machine", selftest_program())


# --- as a user --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_here_and_over_ssh_by_the_same_rule(built: Workspace, build: Subject, device: SshDevice) -> None:
    words = ["tune", "--target", "x86-cpu", "--model", MODEL, "--seconds", "8", "--json"]
    for name, more in (("this-machine", []), ("device", ["--host", "device", "--python", python("1.20.1")])):
        done = call(built, *words, *more)
        assert done.returncode == 0, done.stdout + done.stderr
        (one,) = json.loads(done.stdout)
        folder = built.root / "build" / "x86-cpu" / "tune" / one["tag"] / name
        assert json.loads((folder / "tune.json").read_text()) == one
        assert not one["trials"] or re.search(rf"^{MODEL} on {name}: screen: \d+ settings, ", done.stderr, re.MULTILINE)
        told(one, build)
        interleaved(one)
        ruled(one)
        shipped(one, folder, build)
    assert device.jobs() == []


def told(one: Mapping[str, Any], build: Subject) -> None:
    """What was tuned, where, and what was tried."""
    assert one["files"] == {name: digest.of_file(build.folder / name) for name in ("model.onnx", "model.ort")}
    assert one["device"]["digest"].startswith("device:")
    assert one["seed"] == 1
    assert one["defaults"]["session_options"] == DEFAULTS
    names = [each["name"] for each in one["settings"]]
    assert {"1 thread", "no arena", "no memory pattern", "basic optimisation", "model.ort", OPTIMISED} <= {*names}
    for each in one["settings"]:
        assert each["session_options"].keys() == DEFAULTS.keys()
        assert each["outcome"]
    assert one["looked"]["facts"]["takes"].get(AZURE, {"nodes": 0}) == {"nodes": 0}, "listed by the wheel, and takes nothing"
    assert not any("Azure" in name for name in names)


def interleaved(one: Mapping[str, Any]) -> None:
    """Each block has the defaults once, and every candidate at most once; the confirmation comes last."""
    blocks: dict[tuple[str, int, int], list[str]] = {}
    for each in one["trials"]:
        blocks.setdefault((each["stage"], each["turn"], each["block"]), []).append(each["name"])
    for names in list(blocks.values())[:-1]:
        assert names.count(DEFAULT) == 1
        assert len(names) == len(set(names)) <= 4
    stages = list(dict.fromkeys(stage for stage, _, _ in blocks))
    assert stages == [stage for stage in ("screen", "combine", "confirm") if stage in stages]


def ruled(one: Mapping[str, Any]) -> None:
    """Never slower than the defaults: what is taken was faster in every sense that the confirmation has, else they stay."""
    name, ratios = one["chosen"]["name"], {each["name"]: each["ratio"] for each in one["settings"]}
    if name == DEFAULT:
        assert one["why"]
        assert one["gain"] == {"median": 1.0, "low": 1.0, "high": 1.0}
        assert one["chosen"]["session_options"] == DEFAULTS
        return
    assert ratios[name]["high"] < 1
    assert ratios[name]["pairs"] >= pairs_needed(one["confidence"])
    own = [each for each in one["trials"] if each["stage"] == "confirm" and each["name"] == name and each["ms"]]
    assert len(own) >= ratios[name]["pairs"]
    assert 1 < one["gain"]["low"] <= one["gain"]["median"] <= one["gain"]["high"]


def shipped(one: Mapping[str, Any], folder: Path, build: Subject) -> None:
    """The session.json is a build's: the self-test that bundles carry passes with it."""
    written = json.loads((folder / "session.json").read_text())
    assert written.keys() == build.session.keys()
    optimised = one["chosen"]["file"] == OPTIMISED
    assert [(folder / name).exists() for name in (OPTIMISED, OPTIMISED_SESSION)] == [optimised] * 2
    own = json.loads((folder / OPTIMISED_SESSION).read_text()) if optimised else written
    assert own["session_options"] == one["chosen"]["session_options"]
    assert not optimised or written["session_options"]["graph_optimization_level"] == "ORT_ENABLE_ALL"
    bundle = folder / "bundle"
    shutil.copytree(build.folder, bundle, dirs_exist_ok=True)
    shutil.copy(folder / "session.json", bundle)
    done = device_programs.run(device_programs.SELFTEST, bundle, python=python("1.20.1"))
    assert done.returncode == 0, done.stdout.decode()
    shutil.rmtree(bundle)


def test_it_wants_a_build_and_a_number(workspace: Workspace) -> None:
    done = call(workspace, "tune", "--target", "x86-cpu", "--model", MODEL)
    assert done.returncode == 1
    assert f"./inv build --target x86-cpu --model {MODEL}" in done.stderr
    assert "wants a number" in call(workspace, "tune", "--target", "x86-cpu", "--seconds", "soon").stderr


def test_too_short_a_time_is_told_and_the_recipe_stays(built: Workspace, build: Subject) -> None:
    folder = built.root / "build" / "x86-cpu" / "tune" / build.built.tag / "this-machine"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (OPTIMISED, OPTIMISED_SESSION):
        (folder / name).write_text("of an earlier tuning")
    done = call(built, "tune", "--target", "x86-cpu", "--model", MODEL, "--seconds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gain over ONNX Runtime's defaults 1×: they stay, there was no time to confirm anything" in done.stdout
    assert re.search(r"--seconds \d+ or more$", done.stdout, re.MULTILINE)
    assert done.stdout.rstrip().endswith("the recipe can stay as it is")
    assert {path.name for path in folder.iterdir()} == {"session.json", "tune.json"}, "others would not go with them"


def test_an_interpreter_without_onnx_runtime_is_named(built: Workspace) -> None:
    done = call(built, "tune", "--target", "x86-cpu", "--model", MODEL, "--python", "/usr/bin/python3")
    assert done.returncode == 1
    assert "No module named" in done.stderr


def test_ctrl_c_leaves_no_process(built: Workspace, tmp_path: Path) -> None:
    words = [*PROGRAM, "tune", "--target", "x86-cpu", "--model", MODEL, "--seconds", "300", "--python", python("1.20.1")]
    client = subprocess.Popen(
        words, cwd=built.root, env=environment(built, TMPDIR=str(tmp_path)), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    eventually(lambda: bool(processes(tmp_path)))
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=120)
    assert client.returncode == 130, said
    eventually(lambda: not processes(tmp_path))
    assert not list(tmp_path.iterdir())


def processes(folder: Path) -> list[str]:
    """All that work below a folder."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            found += [one.name] if (one / "cwd").readlink().is_relative_to(folder) else []
        except OSError:
            continue
    return found


def eventually(true: Any) -> None:
    late = time.monotonic() + 180
    while not true():
        assert time.monotonic() < late
        time.sleep(0.05)


# --- the program on the device ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.17.3", "1.31.1"])
def test_the_defaults_are_onnx_runtimes(version: str) -> None:
    ask = "import onnxruntime as o, json; s = o.SessionOptions(); "
    ask += f"print(json.dumps({{k: getattr(getattr(s, k), 'name', getattr(s, k)) for k in {list(DEFAULTS)!r}}}))"
    done = subprocess.run([python(version), "-c", ask], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == DEFAULTS


def test_what_changes_outputs_fails_or_hangs_is_named(build: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    shutil.copytree(build.folder, folder)
    model = onnx.load(folder / "model.onnx")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights * 1.5, model.graph.initializer[0].name))
    onnx.save(model, folder / "other.onnx")
    known = {
        DEFAULT: Candidate(),
        "other": Candidate((Change("other", frozenset(), file="other.onnx"),)),
        "wrong": Candidate((Change("wrong", frozenset(), {"graph_optimization_level": "NO_SUCH_LEVEL"}),)),
        "equal": Candidate((Change("equal", frozenset(), {"enable_mem_pattern": False}),)),
    }
    asked = Batch("screen", ((("equal", DEFAULT), ("wrong", DEFAULT)),), ("other", "wrong", "equal"), 0.02, 60, 60)
    ran = place().measure(Subject(folder, build.built, ("model.onnx", "other.onnx"), build.session), asked, known)
    assert {*ran.differ} == {"other"}
    assert "beyond tolerance" in ran.differ["other"]
    assert [one["name"] for one in ran.trials] == ["equal", DEFAULT, "wrong", DEFAULT]
    assert [bool(one.get("error")) for one in ran.trials] == [False, False, True, False]
    assert "NO_SUCH_LEVEL" in ran.trials[2]["error"]
    hung = place().measure(build, Batch("screen", (((DEFAULT,),),), (), 30, 0.2, 60), known)
    assert hung.trials[0]["error"] == "it was not over after 0.2 s"
    over = place().measure(build, Batch("screen", (((DEFAULT,),) * 3,), (), 30, 60, 0.2), known)
    assert over.trials == [], "the time of all was over first: nobody is to blame"


def test_a_provider_that_takes_nodes_is_found(build: Subject) -> None:
    openvino = Device(here(Path(python("openvino-1.24.1"))), "this machine", selftest_program())
    takes = openvino.look(build, 0.02, 60, 120)["facts"]["takes"]
    assert takes["OpenVINOExecutionProvider"]["nodes"] > 0


def test_the_optimised_file_is_that_machines(build: Subject) -> None:
    ops = {node.op_type for node in onnx.load_from_string(place().optimised(build, 60)).graph.node}
    assert ops - {node.op_type for node in onnx.load(build.folder / "model.onnx").graph.node}, "something was fused"


# --- the page ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("device")
def test_the_page_can_be_followed(built: Workspace) -> None:
    """All commands of docs/tuning.md in order; the Pi is the sshd here, and the target that of this machine."""
    own = {
        "pi@pi5": "device",
        "raspberry-pi-5": "x86-cpu",
        "'~/venv/bin/python'": python("1.20.1"),
        "--seconds 60": "--seconds 5",
    }
    program = f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n'
    (built.root / "inv").write_text(program)
    (built.root / "inv").chmod(0o755)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        for old, new in (own | {"--model digits": f"--model {MODEL}"}).items():
            command = command.replace(old, new)  # noqa: PLW2901  each replacement works on the last one's text
        done = subprocess.run(
            ["sh", "-c", command], cwd=built.root, env=environment(built), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert command.startswith("./inv build") or "gain over ONNX Runtime's defaults" in done.stdout
