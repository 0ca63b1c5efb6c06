"""The emulated ARM, for real: Debian's packages and aarch64 wheels under qemu, with stages that run there, and what breaks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emulation
import models
from conftest import ROOT, StageRun
from ortolan import runtime
from ortolan.errors import RuntimeSetupError
from ortolan.place import Local
from ortolan.platforms import host_platform
from ortolan.runtime import emulated, kept, rootfs
from ortolan.runtime.emulated import Emulated
from ortolan.sandbox import copy_from, prepare
from ortolan.stages.lib import tensors

pytestmark = pytest.mark.skipif(host_platform() == "linux/arm64", reason="no emulated ARM here: this is one")

NAME = "onnxruntime-1.20.1@arm64"
RECIPE = ROOT / "runtimes" / "arm64" / rootfs.RECIPE
XNNPACK_FIRST = [{"name": "XnnpackExecutionProvider", "options": {}}, *models.CPU]
PARAMS: dict[str, Any] = {"providers": XNNPACK_FIRST, "session": models.SESSION, "rtol": 1e-3, "atol": 1e-5}
SAMPLES = [{"image": np.full((2, 1, 8, 8), 0.25, np.float32)}]

Run = Callable[..., StageRun]


@pytest.fixture(scope="module")
def arm() -> Emulated:
    """The oldest ONNX Runtime of the fleet on an emulated ARM."""
    return emulation.arm()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a stage in any runtime, by the place that runs all stages of this machine."""

    def begin(made: runtime.Runtime, stage: str, inputs: Mapping[str, Path], limit: float = 120, **params: Any) -> StageRun:
        folder = tmp_path / f"stage-{time.monotonic_ns()}"
        folder.mkdir()
        paths = {key: f"in/{key}/{path.name}" for key, path in inputs.items()}
        prepare(folder, stage, paths, {paths[key]: copy_from(path) for key, path in inputs.items()}, params)
        reply = Local().run(folder, made.interpreter, limit)
        return StageRun(folder / "out", reply.facts, reply.refused, reply.crash, (folder / "log.txt").read_text(errors="replace"))

    return begin


def read(folder: Path, seed: int = 0, opset: int = 17) -> dict[str, Path]:
    """A small convolutional network and a sample."""
    folder.mkdir(exist_ok=True)
    model = models.convnet(seed=seed)
    model.opset_import[0].version = opset
    tensors.write_samples(folder / "samples.npz", SAMPLES)
    return {"model": models.write(model, folder / "m.onnx"), "samples": folder / "samples.npz"}


def here() -> runtime.Runtime:
    """The same lock on this machine."""
    return runtime.ensure(runtime.find("onnxruntime-1.20.1", [ROOT / "runtimes"]), emulation.CACHE)


def test_a_model_gives_there_what_it_gives_here(arm: Emulated, run: Run, tmp_path: Path) -> None:
    given = read(tmp_path / "given")
    golden = run(here(), "golden", given, session=models.SESSION).out / "golden.npz"
    done = run(arm, "verify", {**given, "expected": golden}, **PARAMS)
    assert done.facts, done.error + done.log
    assert done.facts["arch"] == "aarch64"
    assert done.facts["runtime"] == "1.20.1"
    assert done.facts["onnx"]["close"]
    assert done.facts["onnx"]["outputs"]["scores"]["max_abs"] < 1e-5
    assert done.facts["providers"]["missing"] == ["XnnpackExecutionProvider"]


def test_other_weights_are_not_close_there(arm: Emulated, run: Run, tmp_path: Path) -> None:
    golden = run(here(), "golden", read(tmp_path / "one"), session=models.SESSION).out / "golden.npz"
    done = run(arm, "verify", {**read(tmp_path / "other", seed=1), "expected": golden}, **PARAMS)
    assert done.facts
    assert done.facts["onnx"]["runs"]
    assert not done.facts["onnx"]["close"]
    assert "beyond tolerance" in done.facts["onnx"]["outputs"]["scores"]["reason"]


def test_a_model_that_its_runtime_refuses_is_refused_in_its_words(arm: Emulated, run: Run, tmp_path: Path) -> None:
    facts = run(arm, "verify", read(tmp_path / "given", opset=24), **PARAMS).facts
    assert facts
    assert not facts["onnx"]["opens"]
    assert facts["onnx"]["error"]
    assert any("opset 24" in limit for limit in facts["limits"])


def test_a_step_is_ended_there_by_its_time_limit(arm: Emulated, run: Run, tmp_path: Path) -> None:
    done = run(arm, "verify", read(tmp_path / "given"), limit=0.5, **PARAMS)
    assert "time limit of 0.5 s" in done.error


def test_its_programs_are_those_of_the_machine_too(arm: Emulated) -> None:
    """A stage that starts its own interpreter stays under emulation, and sees its own packages alone."""
    ask = "import sys, subprocess as s; print(s.run([sys.executable, '-c', 'import platform, numpy; print(platform.machine())'],"
    ask += "capture_output=True, text=True).stdout, sys.prefix)"
    said = subprocess.run([arm.interpreter, "-I", "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["aarch64", str(arm.interpreter.parents[1])]


def test_what_identifies_it_names_emulator_processor_and_packages(arm: Emulated) -> None:
    plain = here()
    assert arm.name == NAME
    assert arm.identity["platform"] == "linux/aarch64"
    assert arm.identity["lock"] == plain.identity["lock"]
    assert any(text.startswith("qemu-aarch64 version") for text in arm.identity["programs"].values())
    assert arm.cpu_features == ("aarch64", "cortex-a76")
    assert arm.fingerprint != plain.fingerprint
    listed = json.loads((arm.root.place / "ortolan.json").read_text())["packages"]
    assert listed["python3.11-minimal"]["digest"].startswith("sha256:")
    assert runtime.broken(arm) == []


def described(folder: Path, **changed: str) -> Path:
    """The runtimes of the repository, with some lines of the emulated machine's recipe changed."""
    (folder / "arm64").mkdir(parents=True)
    shutil.copytree(ROOT / "runtimes" / "onnxruntime-1.20.1", folder / "onnxruntime-1.20.1")
    lines = RECIPE.read_text().splitlines()
    for key, value in changed.items():
        lines = [f"{key} = {value}" if line.split("=")[0].strip() == key else line for line in lines]
    (folder / "arm64" / rootfs.RECIPE).write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("changed", "what", "hint"),
    [
        ({"emulators": '["no-such-emulator"]'}, "aarch64 cannot be emulated here", "apt-get install qemu-user-static"),
        ({"keyring": '"/no/such/keys.gpg"'}, "the root file system of aarch64 cannot be made here", "debian-archive-keyring"),
        ({"python": '"3.12"'}, "runtime onnxruntime-1.20.1 cannot be emulated", "3.12"),
        ({"suite": '"no-such-suite"', "mirror": '"http://127.0.0.1:9/debian"'}, "apt-get failed", "check the network"),
        ({"cpu": "3 4"}, "the emulated machine 'arm64' is not complete", ""),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path, changed: dict[str, str], what: str, hint: str) -> None:
    emulation.need()
    with pytest.raises(RuntimeSetupError) as raised:
        emulated.ensure(NAME, [described(tmp_path / "runtimes", **changed)], tmp_path / "cache")
    assert raised.value.what == what
    assert hint in raised.value.hint
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()], "nothing half-made is left"


def test_packages_that_nobody_we_know_has_signed_are_refused(tmp_path: Path) -> None:
    emulation.arm()  # the archive is in reach
    keyring = tmp_path / "none.gpg"
    keyring.touch()
    with pytest.raises(RuntimeSetupError) as raised:
        emulated.ensure(NAME, [described(tmp_path / "runtimes", keyring=f'"{keyring}"')], tmp_path / "cache")
    assert "not signed" in raised.value.why or "NO_PUBKEY" in raised.value.why
    assert "look at who serves your mirror" in raised.value.hint


def test_it_is_the_same_by_another_path(arm: Emulated, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(emulation.CACHE)
    said: list[str] = []
    assert emulated.ensure(NAME, [ROOT / "runtimes"], tmp_path / "link", said.append).interpreter.samefile(arm.interpreter)
    assert said == []


def test_an_unknown_machine_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeSetupError, match="there is no emulated machine 'riscv64'"):
        emulated.ensure("onnxruntime-1.20.1@riscv64", [ROOT / "runtimes"], tmp_path)


@pytest.mark.slow
def test_a_root_file_system_heals(arm: Emulated, tmp_path: Path) -> None:
    """It loses its interpreter, and is being made again when that is killed; the next use makes it again, whole."""
    cache, machine = tmp_path / "cache", rootfs.find("arm64", [ROOT / "runtimes"])
    shutil.copytree(arm.root.place, cache / arm.root.place.name, symlinks=True)
    (cache / arm.root.place.name / "usr/bin/python3.11").unlink()
    _kill_while_made(cache)
    assert list(cache.glob(".part-*")), "it was killed in the middle"
    said: list[str] = []
    root = rootfs.ensure(machine, cache, said.append)
    assert len(said) == 1
    assert not list(cache.glob(".part-*")), "what the killed process left is swept away"
    assert kept.problems(root.place) == []
    assert rootfs.ensure(machine, cache, said.append) == root
    assert len(said) == 1


def _kill_while_made(cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ortolan.runtime import rootfs\n"
        "rootfs.ensure(rootfs.find('arm64', [Path(sys.argv[1])]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, str(ROOT / "runtimes"), str(cache)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, start_new_session=True)
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until and not list(cache.glob(".part-*/apt")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_damaged_file_is_found_after_a_crash_and_what_has_it_is_removed(arm: Emulated, tmp_path: Path) -> None:
    copy = tmp_path / arm.root.place.name
    shutil.copytree(arm.root.place, copy, symlinks=True)
    (copy / "usr/lib/python3.11/json/decoder.py").write_text("raise SystemError('damaged')\n")
    assert runtime.broken(replace(arm, root=replace(arm.root, place=copy))) == ["usr/lib/python3.11/json/decoder.py"]
    assert not copy.exists()
    assert arm.interpreter.exists(), "it had no damage itself"


def test_as_many_processors_are_told_as_there_are(arm: Emulated) -> None:
    """Another number crashes ONNX Runtime's processor library; a cache may have been made on another machine."""
    told = arm.root.place / "proc" / "cpuinfo"
    text = told.read_text()
    assert text.count("processor") == os.cpu_count()
    told.write_text(text.split("\n\n")[0])
    emulation.arm()
    assert told.read_text() == text
