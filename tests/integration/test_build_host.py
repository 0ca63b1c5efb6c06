"""Builds whose files are checked on a device over ssh, and whose engines it builds: a real sshd, real interpreters, real faults.

Standard TensorRT and a Jetson cannot be had here: where one is needed, ``tests/data/kit/device`` plays them, and TensorRT-RTX,
which has the same API, really builds. What only a Jetson shows is not shown here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jetson
import pythons
import ssh_device
from conftest import ROOT, SmallDisk, Workspace
from device_programs import PREFLIGHT, interpreter
from ortolan import digest, manifest, runtime
from ortolan.artifact import Gate, Outcome
from ortolan.build import Built, build
from ortolan.cache import user_cache
from ortolan.errors import RecipeError
from ortolan.ondevice import devices
from ortolan.place import HostError, link
from ortolan.recipe.fleet import NamedDevice
from program import call
from ssh_device import SshDevice

MODEL = "digits-mlp"
PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshDevice]:
    with ssh_device.running(tmp_path_factory.mktemp("device")) as device:
        yield device


@pytest.fixture
def device(server: SshDevice, monkeypatch: pytest.MonkeyPatch) -> SshDevice:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return server


def built(workspace: Workspace, target: str, *interpreters: str, limit: float = 300) -> Built:
    """Build the model that needs least, with the device once for each interpreter."""
    workspace.events.clear()
    names = ["device", "twin"]
    there = [NamedDevice(name, "device", python) for name, python in zip(names, interpreters, strict=False)]
    options = replace(workspace.options(), devices=there, device_limit=limit)
    (one,) = build(workspace.jobs([target], (MODEL,)), options, workspace.events.append)
    return one


def gates(one: Built) -> dict[str, Gate]:
    return {gate.name: gate for gate in one.gates if gate.subject == "shipped"}


def failed(one: Built) -> dict[str, str]:
    """The gates that stopped it, with why."""
    return {gate.name: gate.why for gate in one.gates if gate.outcome is FAIL and gate.subject == "shipped"}


# --- what ships, on a device --------------------------------------------------------------------------------------------


def old_python() -> str:
    """Python 3.8 with an ONNX Runtime of its time and numpy, and nothing else."""
    found = pythons.find("3.8")
    if not found:
        pytest.skip("there is no Python 3.8 here")
    spec = runtime.find("device", [ROOT / "tests" / "runtimes"])
    return str(runtime.ensure(replace(spec, python=found), user_cache().runtimes).interpreter)


@pytest.mark.slow
@pytest.mark.usefixtures("device")
def test_a_device_with_the_oldest_python_runs_what_ships(workspace: Workspace) -> None:
    python = old_python()
    one = built(workspace, "x86-cpu", python)
    assert one.ok, one.errors or failed(one)
    found = gates(one)
    for name in ("device device", "load@1.17.3 device", "golden@1.17.3 device", "ort@1.17.3 device", "providers@1.17.3 device"):
        assert found[name].outcome is PASS, found[name]
    assert "onnxruntime 1.17.3, Python 3.8" in found["device device"].measured
    assert "load@1.31.1 device" not in found, "the device has one version of the fleet's"
    assert one.folder
    (ran,) = (each for each in manifest.read(one.folder / manifest.NAME).runtimes if "@" in each.name)
    assert (ran.name, ran.packages) == ("onnxruntime-1.17.3@device", {"numpy": "1.24.4", "onnxruntime": "1.17.3"})
    again = built(workspace, "x86-cpu", python)
    assert again.gates == one.gates
    assert workspace.ran() == [], "the same device that says the same of itself is not asked twice"


@pytest.mark.usefixtures("device")
def test_a_package_that_was_installed_anew_is_checked_anew(workspace: Workspace, tmp_path: Path) -> None:
    python = jetson.python(tmp_path / "venv")
    assert built(workspace, "x86-cpu", python).ok
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    about = packages / "onnxruntime_extras-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-extras\nVersion: 1.0\n")
    assert built(workspace, "x86-cpu", python).ok
    assert [label for label in workspace.ran() if label.endswith("@device)")] == [f"{MODEL}: verify (shipped 1.31.1@device)"]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(("target", "version", "why"), [
    ("x86-cpu", "1.20.1", "its ONNX Runtime is 1.20.1, and the target names 1.17.3 or 1.31.1: install one of those, or add"),
    ("arm64-cpu", "1.20.1", "it is linux/amd64: name a target of that platform"),
])  # fmt: skip
def test_a_device_that_is_none_of_the_targets_fails_the_build(workspace: Workspace, target: str, version: str, why: str) -> None:
    one = built(workspace, target, interpreter(f"onnxruntime-{version}"))
    assert not one.ok
    assert why in failed(one)["device device"]
    assert not [name for name in gates(one) if name.startswith("load@") and name.endswith(" device")], "nothing was sent there"
    assert not (workspace.root / "build" / target / one.tag).exists()


@pytest.mark.usefixtures("device")
def test_an_interpreter_without_onnx_runtime_says_what_to_name(workspace: Workspace) -> None:
    why = failed(built(workspace, "x86-cpu", sys.executable))["device device"]
    assert "has no ONNX Runtime (" in why
    assert "--python" in why


@pytest.mark.usefixtures("device")
def test_a_device_that_does_not_answer_stops_the_build_before_it_begins(workspace: Workspace) -> None:
    with pytest.raises(HostError, match="it has no such Python"):
        built(workspace, "x86-cpu", "/no/such/python")
    assert workspace.events == []


def identity(folder: Path, code: str) -> str:
    """What a line of Python prints beside the program that asks a device what it is."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "HOME": str(folder)}
    command = [sys.executable, "-c", f"import sys, identity; {code}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_device_tells_of_its_gpu_and_driver_whatever_is_built(tmp_path: Path) -> None:
    """They are part of the key of every step there: a new driver may compute something else."""
    for path in (devices._IDENTITY, devices._ABOUT, devices._KIT):
        shutil.copy(path, tmp_path)
    for names in ([], ["tensorrt"]):
        loaded = f"import ctypes; ctypes.CDLL({str(jetson.driver(tmp_path))!r}); sys.exit(identity.main({names!r}))"
        told = json.loads(identity(tmp_path, loaded))
        assert told["gpu"]["gpu"] == "Orin (nvgpu)"
        assert (
            told["driver"] == identity(tmp_path, "import about; print(identity.driver(about.Machine(about.Path('/'))))").strip()
        )
    said = tmp_path / "root" / "proc" / "driver" / "nvidia" / "version"
    read = f"import about; print(identity.driver(about.Machine(about.Path({str(tmp_path / 'root')!r}))))"
    assert identity(tmp_path, read) == "\n"
    said.parent.mkdir(parents=True)
    said.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15\n")
    assert identity(tmp_path, read) == said.read_text()


def test_a_device_that_is_named_for_another_target_is_an_error(workspace: Workspace) -> None:
    workspace.add("fleet.toml", '[device.orin]\nhost = "no-such-host.invalid"\ntarget = "jetson-orin"\n')
    done = call(workspace, "build", "--target", "x86-cpu", "--model", MODEL, "--host", "orin")
    assert done.returncode == HostError("").exit_code
    assert "orin: is a jetson-orin (recipes/fleet.toml), not x86-cpu" in done.stderr
    assert "./inv build --target jetson-orin --host orin" in done.stderr


@pytest.mark.usefixtures("device")
def test_a_device_of_several_that_does_not_answer_stops_no_other(workspace: Workspace) -> None:
    """It fails the build where it is of the target; one of another target is not even asked."""
    python, words = interpreter("onnxruntime-1.17.3"), ("build", "--target", "x86-cpu", "--model", MODEL, "--host")
    for name, host, label, target in (
        ("good", "device", "lab", "x86-cpu"), ("orin", "no-such-host.invalid", "lab", "jetson-orin"),
        ("gone", "no-such-host.invalid", "line", "x86-cpu"),
    ):  # fmt: skip
        text = f'host = "{host}"\nlabels = ["{label}"]\ntarget = "{target}"\npython = "{python}"\n'
        workspace.add("fleet.toml", f"[device.{name}]\n{text}")
    done = call(workspace, *words, "lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ +load@1\.17\.3 good +shipped +pass", done.stdout, re.MULTILINE)
    assert "is a jetson-orin (recipes/fleet.toml), not x86-cpu: nothing was sent there" in done.stdout
    done = call(workspace, *words, "all")
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.search(r"^ +load@1\.17\.3 good +shipped +pass", done.stdout, re.MULTILINE)
    assert re.search(r"^ +device gone +shipped +fail +did not answer .*there is no host of that name", done.stdout, re.MULTILINE)
    done = call(workspace, *words, "line")
    assert (done.returncode, done.stdout) == (1, ""), "the only one: nothing is built"
    assert "there is no host of that name" in done.stderr
    assert "Did you mean gone?" in call(workspace, *words, "gon").stderr


@pytest.mark.usefixtures("device")
def test_the_command_line_never_recalls_what_a_device_said(workspace: Workspace) -> None:
    words = ("build", "--target", "x86-cpu", "--model", MODEL)
    there = ("--host", "device", "--python", interpreter("onnxruntime-1.20.1"))
    assert call(workspace, *words).returncode == 0
    done = call(workspace, *words, *there)
    assert done.returncode == 3, "what was up to date is asked of the device"
    assert "device device" in done.stdout
    assert "--device-limit wants a number" in call(workspace, *words, *there, "--device-limit", "soon").stderr


# --- engines of TensorRT-RTX: all of it real ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("device")
def test_a_devices_own_tensorrt_rtx_builds_engines_that_the_bundle_names_and_refuses_elsewhere(
    workspace: Workspace, tmp_path: Path
) -> None:
    one = built(workspace, "x86-rtx", jetson.python(tmp_path / "venv"))
    assert one.ok, one.errors or failed(one)
    assert one.folder
    described = manifest.read(one.folder / manifest.NAME)
    (version,) = {each.about["tensorrt_rtx"] for each in described.artifacts if "tensorrt_rtx" in each.about}
    assert one.tag.endswith(f"-sm86-sm89-sm120-trtrtx{version}")
    for name, capability in (("sm86", "SM86"), ("sm89", "SM89"), ("sm120", "SM120")):
        assert gates(one)[f"engine@{name} device"].outcome is PASS
        file = f"model-{name}-trtrtx{version}.engine"
        (artifact,) = (each for each in described.artifacts if each.name == file)
        assert artifact.about == {"tensorrt_rtx": version, "compute_capability": capability}
        assert digest.of_file(one.folder / file) == artifact.digest
        record = json.loads((one.folder / file).with_suffix(".json").read_text())
        assert (record["engine"]["file"], f"sha256:{record['engine']['sha256']}") == (file, artifact.digest)
        same = (one.folder / f"model-{name}.engine").read_bytes()
        assert (one.folder / file).read_bytes() == same, (
            "the same release of TensorRT-RTX builds the same bytes, wherever it runs"
        )
    found = {
        capability: preflight(one.folder, tmp_path, {"compute_capability": capability, "tensorrt_rtx": version})
        for capability in ("8.9", "7.5")
    }
    assert {capability: outcome for capability, (outcome, _) in found.items()} == {"8.9": "pass", "7.5": "fail"}
    assert "made for another device: compute_capability is 7.5" in found["7.5"][1]


def preflight(folder: Path, tmp_path: Path, has: dict[str, str]) -> tuple[str, str]:
    """What the bundle's preflight says of its engines on a device that has these: the worst outcome, and why."""
    facts = {"facts_version": 1, "engines": {key: {"values": [text], "why": ""} for key, text in has.items()}}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    command = [sys.executable, str(PREFLIGHT), "--manifest", str(folder / "manifest.json"), "--device"]
    done = subprocess.run([*command, str(tmp_path / "facts.json"), "--json"], capture_output=True, text=True, check=False)
    checks = [one for one in json.loads(done.stdout)["checks"] if one["name"].startswith("engine ")]
    bad = [one for one in checks if one["outcome"] == "fail"]
    return (bad or checks)[0]["outcome"], "; ".join(one["why"] for one in checks)


# --- engines of TensorRT, on what plays a Jetson --------------------------------------------------------------------------

MARK = "orin-nvgpu-sm87-16sms-trt10.3.0-cuda12.6"


@pytest.fixture
def orin(workspace: Workspace) -> Workspace:
    """A project with the target ``orin``: a Jetson whose processor is this machine's."""
    text = (workspace.root / "recipes" / "targets" / "jetson-orin.toml").read_text()
    for old, new in (
        ("linux/arm64", "linux/amd64"), ("onnxruntime-gpu", "onnxruntime"), ('"1.20.1"', f'"{jetson.VERSION}"'),
        ('snippets = ["c", "python"]', ""),
    ):  # fmt: skip
        text = text.replace(old, new)
    before, _, after = text.partition("[outputs.docker]")
    workspace.add("targets/orin.toml", before + "[gates]" + after.partition("[gates]")[2])
    return workspace


@pytest.mark.slow
@pytest.mark.usefixtures("device")
def test_an_engine_of_the_kit_is_built_there_and_bears_what_it_depends_on(orin: Workspace, tmp_path: Path) -> None:
    python = jetson.python(tmp_path / "venv", tensorrt=True, gpu=True)
    one = built(orin, "orin", python, python)
    assert one.ok, one.errors or failed(one)
    found = gates(one)
    assert "engine" not in found
    assert found["engine device"].outcome is PASS
    assert "Orin (nvgpu), compute capability 8.7, by build_engine.py" in found["engine device"].measured
    assert (found["engine twin"].outcome, found["engine twin"].why) == (
        NOT_RUN,
        "a device of the same GPU and versions builds it",
    )
    assert one.tag.endswith(f"-{MARK}")
    assert one.folder
    described = manifest.read(one.folder / manifest.NAME)
    (engine,) = (each for each in described.artifacts if each.name.endswith(".engine"))
    assert engine.name == f"model-{MARK}.engine"
    about = {"tensorrt": "10.3.0", "compute_capability": "8.7", "gpu": "orin-nvgpu-sm87-16sms", "cuda": "12.6"}
    assert engine.about == about
    assert {"build_engine.sh", "build_engine.py", "engine.json", f"model-{MARK}.json"} <= {
        each.name for each in described.artifacts
    }
    assert preflight(one.folder, tmp_path, about)[0] == "pass"
    assert preflight(one.folder, tmp_path, about | {"cuda": "12.8"})[0] == "pass"
    for key, other in (("tensorrt", "10.7.0"), ("gpu", "orin-nvgpu-sm87-8sms"), ("cuda", "12.2"), ("compute_capability", "7.2")):
        assert preflight(one.folder, tmp_path, about | {key: other})[0] == "fail", key
    timings = one.folder / f"timing-{MARK}.cache"
    (orin.root / "recipes" / "targets" / "orin.cache").write_bytes(timings.read_bytes())
    orin.edit("targets/orin.toml", 'version = "10.3"', 'version = "10.3", timings = "orin.cache"')
    again = built(orin, "orin", python)
    assert again.ok, again.errors or failed(again)
    assert f"{MODEL}: engine device (1.31.1@device)" in orin.ran(), "the timings that it begins with are part of its key"
    orin.edit("targets/orin.toml", "orin.cache", "other.cache")
    with pytest.raises(RecipeError, match=r"outputs.tensorrt.timings: no such file. Did you mean orin.cache\?"):
        built(orin, "orin", python)


@pytest.mark.slow
def test_without_a_device_the_bundle_has_what_builds_the_engine_at_installation(orin: Workspace) -> None:
    one = built(orin, "orin")
    assert one.ok, one.errors or failed(one)
    gate = gates(one)["engine"]
    assert (gate.outcome, gate.why) == (NOT_RUN, "no Jetson given (--host)")
    assert one.folder
    for command in (["bash", "build_engine.sh"], [sys.executable, "-I", "build_engine.py"]):
        done = subprocess.run(command, cwd=one.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "is not here" in done.stderr, "all but TensorRT is there"


@pytest.mark.slow
@pytest.mark.usefixtures("device")
def test_a_device_that_cannot_build_it_says_so_in_its_own_words(orin: Workspace, tmp_path: Path) -> None:
    bare, blind = jetson.python(tmp_path / "bare"), jetson.python(tmp_path / "blind", tensorrt=True)
    assert "TensorRT's Python module is not here" in failed(built(orin, "orin", bare))["engine device"]
    assert "CUDA's driver is not here" in failed(built(orin, "orin", blind))["engine device"]
    orin.edit("targets/orin.toml", 'version = "10.3"', 'version = "10.7"')
    python = jetson.python(tmp_path / "orin", tensorrt=True, gpu=True)
    one = built(orin, "orin", python)
    assert "its TensorRT is 10.3.0, and the kit is for 10.7" in failed(one)["engine device"]
    assert not one.ok
    orin.edit("targets/orin.toml", f'"{jetson.VERSION}"', '"1.30.0"')
    gate = gates(built(orin, "orin", python))["engine"]
    assert (gate.outcome, gate.why) == (NOT_RUN, "device does not fit: see its gate")


# --- faults while an engine is built --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_link_that_drops_ends_the_build_there_and_a_second_run_sends_nothing_twice(
    orin: Workspace, device: SshDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, stall = jetson.python(tmp_path / "venv", tensorrt=True, gpu=True), jetson.stall(tmp_path / "venv")
    stall.touch()
    threading.Thread(target=_cut_while_it_builds, args=(device, stall), daemon=True).start()
    one = built(orin, "orin", python)
    assert not one.ok
    assert "the connection was lost" in failed(one)["engine device"]
    assert one.folder is None
    _eventually(lambda: not device.processes(), "what ran there was ended")
    stall.unlink()
    sent: list[str] = []
    real = link.Link.send

    def send(self: link.Link, header: Mapping[str, Any], pieces: Iterable[bytes] = ()) -> None:
        sent.append(header.get("digest", ""))
        real(self, header, pieces)

    monkeypatch.setattr(link.Link, "send", send)
    assert built(orin, "orin", python).ok
    assert not any(sent), "every file is there from the first run"


def _cut_while_it_builds(device: SshDevice, stall: Path) -> None:
    """Kill what serves the connection once the engine is being built."""
    _eventually(lambda: jetson.builds(stall), "the builder was asked for")
    device.cut()


def _eventually(true: Callable[[], object], what: str) -> None:
    late = time.monotonic() + 60
    while not true():
        assert time.monotonic() < late, what
        time.sleep(0.02)


@pytest.mark.slow
def test_a_time_limit_ends_what_hangs_there(orin: Workspace, device: SshDevice, tmp_path: Path) -> None:
    python = jetson.python(tmp_path / "venv", tensorrt=True, gpu=True)
    assert built(orin, "orin", python).ok
    jetson.stall(tmp_path / "venv").touch()
    orin.edit("targets/orin.toml", 'version = "10.3"', 'version = "10.3", workspace = "300 MB"')
    one = built(orin, "orin", python, limit=3)
    assert "was still running after its time limit of 3 s" in failed(one)["engine device"]
    assert device.processes() == []
    assert device.jobs() == []


@pytest.mark.slow
def test_a_full_disk_there_is_told(
    workspace: Workspace, small_disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk("1m")
    with ssh_device.running(tmp_path / "device") as device:
        (device.folder / "cache").symlink_to(disk)
        monkeypatch.setenv("ORTOLAN_SSH", device.variables["ORTOLAN_SSH"])
        (disk / "ballast").write_bytes(bytes(650_000))
        one = built(workspace, "x86-cpu", interpreter("onnxruntime-1.31.1"))
    assert "free some space" in failed(one)["load@1.31.1 device"]
