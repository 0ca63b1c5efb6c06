"""ortolan-device killed at any moment: the device runs the old or the new slot whole, and the next call goes on."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from devices import Device, make_device, released
from releases import MODEL, publish, whole, write_release

SYSCALLS = ["mkdir", "write", "fsync", "rename", "symlink", "unlink", "unlinkat", "rmdir"]
"""What changes a disk: a power cut between two of these leaves what a kill there leaves, as far as the disk obeys fsync."""


def files(kind: int) -> dict[str, bytes]:
    noise = random.Random(kind)
    return whole(
        {f"part-{number}/weights-{kind}.bin": noise.randbytes(90_000) for number in range(4)} | {"model.onnx": b"%d" % kind}
    )


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device that runs release 1, beside releases 1 and 2."""
    device = make_device(tmp_path, source=(tmp_path / "store").as_uri())
    for number in (1, 2):
        write_release(tmp_path / f"release-{number}", files(number), device.key, sequence=number)
    device.ok("install", tmp_path / "release-1")
    return device


def killed(device: Device, words: list[str | Path], seconds: float) -> bool:
    """Start a call, kill it after so long; whether it was still at work."""
    process = subprocess.Popen(device.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_install_killed_at_50_random_moments_leaves_a_whole_slot_and_the_next_call_goes_on(device: Device, seed: int) -> None:
    releases = [device.root.parent / f"release-{number}" for number in (1, 2)]
    words: list[list[str | Path]] = [["install", folder, "--allow-downgrade"] for folder in releases]
    began = time.monotonic()
    device.ok(*words[1])
    whole_call, dice, ran = time.monotonic() - began, random.Random(seed), 0
    for number in range(50):
        old, new = releases[(number + 1) % 2], releases[number % 2]
        assert device.running() == released(old)
        ran += killed(device, words[number % 2], dice.uniform(0.2, 1.0) * whole_call)
        assert device.running() in {released(old), released(new)}
        done = device.inside(*words[number % 2])
        assert done["outcome"] in {"installed", "up-to-date"}
        assert device.running() == released(new)
        assert not device.status("--check")["left"]
    assert ran > 10, "most calls ended before they were to be killed"


@pytest.mark.slow
@pytest.mark.parametrize("syscall", SYSCALLS)
def test_update_killed_at_each_call_that_changes_the_disk(device: Device, tmp_path: Path, syscall: str) -> None:
    strace = shutil.which("strace")
    assert strace, "strace is among the programs of .ci/run"
    old, new = (tmp_path / f"release-{number}" for number in (1, 2))
    publish(new, tmp_path / "store", "stable")
    device.ok("install", old, "--again")  # so that there is a spare slot to be removed
    before = tmp_path / "before"
    shutil.copytree(device.root, before, symlinks=True)
    command = device.command("update", MODEL)
    log = tmp_path / "log"
    subprocess.run([strace, "-o", log, "-e", f"trace={syscall}", *command], check=True, capture_output=True)
    ours = [number for number, line in enumerate(_calls(log, syscall), start=1) if _changes(line, str(device.root))]
    assert device.running() == released(new)
    assert ours, "it makes none of these calls: not what this test is for"
    for number in ours[:: max(1, len(ours) // 8)]:
        shutil.rmtree(device.root)
        shutil.copytree(before, device.root, symlinks=True)
        inject = f"inject={syscall}:signal=KILL:when={number}"
        done = subprocess.run(
            [strace, "-o", log, "-e", f"trace={syscall}", "-e", inject, *command], check=False, capture_output=True
        )
        assert done.returncode == -signal.SIGKILL, f"{syscall} {number}"
        assert device.running() in {released(old), released(new)}, f"{syscall} {number}"
        assert device.inside("update", MODEL)["outcome"] in {"installed", "up-to-date"}, f"{syscall} {number}"
        assert device.running() == released(new)
        assert not device.status("--check")["left"]


def _calls(log: Path, syscall: str) -> list[str]:
    return [line for line in log.read_text(errors="replace").splitlines() if line.startswith(syscall + "(")]


def _changes(line: str, root: str) -> bool:
    """Whether a call has to do with the device's folder; of `write` and its like, which name a number only, all do."""
    return root in line or bool(re.match(r"(write|fsync|unlinkat)\((?!1,|2,)\d", line))


def test_everything_is_on_the_disk_before_the_switch(device: Device, tmp_path: Path) -> None:
    """In the order of system calls: each file and folder of the new slot is synced, then renamed, then linked to."""
    log = tmp_path / "log"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=openat,write,fsync,rename,renameat,renameat2,mkdir"]
    subprocess.run([*command, *device.command("install", tmp_path / "release-2")], check=True, capture_output=True)
    lines = [line.partition(" ")[2].lstrip() for line in log.read_text(errors="replace").splitlines()]
    switch = next(n for n, line in enumerate(lines) if line.startswith("rename") and line.count("current") == 2)
    named = next(n for n, line in enumerate(lines) if line.startswith("rename") and "slots/.new" in line and "slots/b" in line)
    new = device.folder / "slots" / ".new"
    synced = {re.sub(r"^fsync\(\d+<([^>]*)>.*", r"\1", line) for line in lines[:named] if line.startswith("fsync")}
    slot = device.folder / "slots" / "b"
    wanted = {new / path.relative_to(slot) for path in [slot, *slot.rglob("*")]}
    parts = {str(path) for path in wanted if ".ortolan/" not in str(path)}
    assert parts <= synced
    assert all(any(f".{path.name}.part" in one for one in synced) for path in wanted if ".ortolan/" in str(path))
    assert any(line.startswith("fsync") and line.split(">")[0].endswith("/slots") for line in lines[named:switch])
    assert any(line.startswith("fsync") and line.split(">")[0].endswith(f"/{MODEL}") for line in lines[switch:])


LEFT = {
    "a half-written slot": (["slots/.new/model.onnx"], []),
    "a finished slot without its name": (["slots/.new/.ortolan/release.json"], []),
    "a slot that was being removed": (["slots/b/model.onnx"], ["slots/b/.ortolan/release.json"]),
    "an old slot that was being removed": (["slots/.old-b/model.onnx"], []),
    "a link without a place": ([".current"], []),
}


@pytest.mark.parametrize("left", LEFT)
def test_what_a_killed_call_leaves_is_told_and_cleared(device: Device, tmp_path: Path, left: str) -> None:
    made, _ = LEFT[left]
    for name in made:
        path = device.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    assert device.status()["left"]
    assert device.ok("install", tmp_path / "release-2")["slot"] == "b"
    assert device.running() == released(tmp_path / "release-2")
    assert not device.status()["left"]


def test_a_spare_that_was_moved_aside_comes_back(device: Device, tmp_path: Path) -> None:
    device.ok("install", tmp_path / "release-2")
    slots = device.folder / "slots"
    (slots / "a").rename(slots / ".old-a")
    assert device.status()["slots"]["a"] is None
    assert device.ok("rollback", MODEL)["sequence"] == 1
    assert device.running() == released(tmp_path / "release-1")


def test_a_running_slot_that_lost_its_description_is_not_overwritten(device: Device, tmp_path: Path) -> None:
    (device.folder / "slots" / "a" / ".ortolan" / "release.json").unlink()
    assert device.ok("install", tmp_path / "release-2")["slot"] == "b"
    assert (device.folder / "slots" / "a" / "model.onnx").read_bytes() == b"1"


def test_a_failed_download_goes_on_where_it_stopped(device: Device, tmp_path: Path) -> None:
    publish(tmp_path / "release-2", tmp_path / "store", "stable")
    archive = next((tmp_path / "store").rglob("bundle.tar.zst"))
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    device.configure(retries=0)
    said: dict[str, Any] = device.fails("fetch", MODEL, code=1)
    assert "ended after" in said["why"]
    assert (device.folder / "incoming" / "bundle.tar.zst.part").stat().st_size == len(data) // 2
    archive.write_bytes(data)
    done = device.ok("update", MODEL)
    assert len(data) // 2 <= done["bytes"] < len(data) // 2 + 20_000
    assert device.running() == released(tmp_path / "release-2")
