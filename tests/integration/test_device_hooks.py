"""The hooks for Mender, RAUC and SWUpdate, as their own clients run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT
from devices import PROGRAM, Device, make_device, released
from manifests import manifest
from ortolan.package import pack
from ortolan.recipe.outputs import Outputs
from releases import FAILS, FITS_NOT, MODEL, whole, write_release

KINDS = ["mender", "rauc", "swupdate"]
FIRST = whole({"model.onnx": b"one" * 5000})
SECOND = whole({"model.onnx": b"two" * 5000})


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device that runs release 1, with ortolan-device in a folder of its own for PATH."""
    made = make_device(tmp_path)
    program = tmp_path / "bin" / "ortolan-device"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@" --root {made.root}\n')
    program.chmod(0o755)
    made.ok("install", write_release(tmp_path / "release-1", FIRST, made.key, sequence=1))
    return made


def hooks(kind: str, folder: Path) -> Path:
    """The rendered files of a kind."""
    made = pack(manifest(), Outputs(snippets=[kind]), [ROOT / "templates"], [ROOT / "runtimes"])
    for name, data in made.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if data.startswith(b"#!") else 0o644)
    return folder / kind


def run(command: list[str | Path], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """As the client's service would start it, with the device's ortolan-device in PATH."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path} | more, capture_output=True, text=True, check=False, timeout=60
    )


def tools(*names: str) -> None:
    if os.geteuid():
        pytest.skip("update clients run as root")
    lacking = [name for name in names if not shutil.which(name)]
    assert not lacking, f"{lacking} are among the programs of .ci/run"


@pytest.mark.parametrize("kind", KINDS)
def test_scripts_are_sound(tmp_path: Path, kind: str) -> None:
    scripts = [path for path in hooks(kind, tmp_path).iterdir() if path.read_bytes().startswith(b"#!/bin/sh\n")]
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run(["sh", "-n", script], check=True)
        done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# --- Mender --------------------------------------------------------------------------------------------------------


class Mender:
    """Mender's client in standalone mode, in a mount namespace where the Update Module lies at its place."""

    def __init__(self, folder: Path) -> None:
        tools("mender", "mender-artifact", "unshare")
        self.folder, self.hooks = folder, hooks("mender", folder)
        (folder / "data").mkdir()
        (folder / "etc").mkdir()
        (folder / "data" / "device_type").write_text("device_type=board\n")
        (folder / "etc" / "artifact_info").write_text("artifact_name=before\n")
        (folder / "etc" / "mender.conf").write_text('{"ServerURL": "https://127.0.0.1"}')

    def artifact(self, release: Path) -> Path:
        """The release as a Mender Artifact."""
        made = self.folder / f"{release.name}.mender"
        done = run(["sh", self.hooks / "artifact.sh", release, "board", made], self.folder)
        assert done.returncode == 0, done.stderr
        return made

    def call(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the client."""
        mounts = f"mount --bind {self.hooks} /usr/share/mender/modules/v3 && mount --bind {self.folder / 'etc'} /etc/mender"
        script = f'{mounts} && exec mender --no-syslog --data {self.folder / "data"} "$@"'
        return run(["unshare", "--mount", "sh", "-c", script, "sh", *words], self.folder)


def test_mender_installs_commits_and_rolls_back(device: Device, tmp_path: Path) -> None:
    mender = Mender(tmp_path)
    second = write_release(tmp_path / "release-2", SECOND, device.key, sequence=2)
    artifact = mender.artifact(second)
    done = mender.call("install", artifact)
    assert done.returncode == 0, done.stderr
    assert device.running() == released(second)
    assert mender.call("rollback").returncode == 0
    assert device.running() == released(tmp_path / "release-1")
    device.ok("install", second, "--retry")
    third = write_release(tmp_path / "release-3", FIRST | {"n": b"3"}, device.key, sequence=3)
    assert mender.call("install", mender.artifact(third)).returncode == 0
    assert mender.call("commit").returncode == 0
    assert device.running() == released(third)


def test_mender_leaves_the_old_slot_when_the_self_test_fails(device: Device, tmp_path: Path) -> None:
    mender = Mender(tmp_path)
    release = write_release(tmp_path / "release-2", whole({"model.onnx": b"2"}, self_test=FAILS), device.key, sequence=2)
    done = mender.call("install", mender.artifact(release))
    assert done.returncode != 0
    assert "golden sample 3 differs" in done.stderr
    assert device.running() == released(tmp_path / "release-1")
    assert device.status()["slots"]["b"] is None


def test_mender_does_not_store_what_does_not_fit(device: Device, tmp_path: Path) -> None:
    mender = Mender(tmp_path)
    release = write_release(tmp_path / "release-2", whole({"model.onnx": b"2"}, preflight=FITS_NOT), device.key, sequence=2)
    done = mender.call("install", mender.artifact(release))
    assert done.returncode != 0
    assert "does not fit this device" in done.stderr
    assert device.running() == released(tmp_path / "release-1")


# --- RAUC ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A throw-away certificate and its key."""
    made = tmp_path / "cert.pem", tmp_path / "cert-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "30"]
    command += ["-addext", "extendedKeyUsage=emailProtection", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture
def rauc(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[list[str]]:
    """RAUC's service on a bus of its own; what a call begins with."""
    tools("rauc", "mksquashfs", "dbus-run-session")
    (tmp_path / "mount").mkdir()
    config = f"[system]\ncompatible=board\nbootloader=noop\n[keyring]\npath={certificate[0]}\n"
    slot = "[slot.system.0]\ndevice=/dev/null\ntype=raw\nbootname=system0\n"
    (tmp_path / "system.conf").write_text(config + slot)
    service = f"rauc --conf {tmp_path}/system.conf --mount {tmp_path}/mount --override-boot-slot=system0 service"
    ready = "until rauc status >/dev/null 2>&1; do sleep 0.1; done"
    script = f'{service} >{tmp_path}/service.log 2>&1 & pid=$!; {ready}; rauc install "$1"; code=$?; kill $pid; exit $code'
    yield ["dbus-run-session", "--", "sh", "-c", f"export DBUS_STARTER_BUS_TYPE=session; {script}", "sh"]
    if (tmp_path / "mount" / "bundle").is_mount():
        time.sleep(0.2)
        subprocess.run(["umount", "-l", tmp_path / "mount" / "bundle"], check=False)


def bundle(release: Path, folder: Path, certificate: tuple[Path, Path]) -> Path:
    """The release as a RAUC bundle."""
    made = folder / f"{release.name}.raucb"
    done = run(["sh", hooks("rauc", folder) / "bundle.sh", release, "board", *certificate, made, "plain"], folder)
    assert done.returncode == 0, done.stderr
    return made


def test_rauc_installs(device: Device, tmp_path: Path, rauc: list[str], certificate: tuple[Path, Path]) -> None:
    second = write_release(tmp_path / "release-2", SECOND, device.key, sequence=2)
    done = run([*rauc, bundle(second, tmp_path, certificate)], tmp_path)
    assert done.returncode == 0, done.stdout + (tmp_path / "service.log").read_text()
    assert device.running() == released(second)


def test_rauc_says_why_it_does_not(device: Device, tmp_path: Path, rauc: list[str], certificate: tuple[Path, Path]) -> None:
    release = write_release(tmp_path / "release-2", whole({"model.onnx": b"2"}, self_test=FAILS), device.key, sequence=2)
    done = run([*rauc, bundle(release, tmp_path, certificate)], tmp_path)
    assert done.returncode != 0
    assert "golden sample 3 differs" in done.stdout + done.stderr + (tmp_path / "service.log").read_text()
    assert device.running() == released(tmp_path / "release-1")


# --- SWUpdate ------------------------------------------------------------------------------------------------------


def swupdate(release: Path, folder: Path, certificate: tuple[Path, Path]) -> subprocess.CompletedProcess[str]:
    """Make the image of a release, and install it. Of SWUpdate 2022.12 the exit code after a success is 0 or 1, by chance."""
    tools("swupdate", "cpio")
    image = folder / f"{release.name}.swu"
    done = run(["sh", hooks("swupdate", folder) / "swu.sh", release, image, folder / "stage", *certificate], folder)
    assert done.returncode == 0, done.stderr
    (folder / "swtmp").mkdir(exist_ok=True)
    command: list[str | Path] = ["swupdate", "--image", image, "--key", certificate[0], "--hwrevision", "board:1"]
    return run(command, folder, TMPDIR=str(folder / "swtmp"))


def test_swupdate_installs(device: Device, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    second = write_release(tmp_path / "release-2", SECOND, device.key, sequence=2)
    done = swupdate(second, tmp_path, certificate)
    assert device.running() == released(second), done.stdout + done.stderr
    assert not (tmp_path / "stage").exists()


def test_swupdate_fails_when_the_release_is_refused(device: Device, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    release = write_release(tmp_path / "release-2", whole({"model.onnx": b"2"}, self_test=FAILS), device.key, sequence=2)
    done = swupdate(release, tmp_path, certificate)
    assert done.returncode != 0
    assert device.running() == released(tmp_path / "release-1")


# --- what hooks rely on --------------------------------------------------------------------------------------------


def test_an_installation_is_undone_only_where_it_is_what_runs(device: Device, tmp_path: Path) -> None:
    second = write_release(tmp_path / "release-2", SECOND, device.key, sequence=2)
    assert device.ok("rollback", "--of", second)["outcome"] == "not-running"
    device.ok("install", second)
    assert device.ok("rollback", "--of", second)["outcome"] == "rolled-back"
    assert device.ok("rollback", "--of", second)["outcome"] == "not-running"
    assert device.running() == released(tmp_path / "release-1")
    assert device.fails("rollback", code=1)["what"] == "which model?"
    assert device.status()["model"] == MODEL
