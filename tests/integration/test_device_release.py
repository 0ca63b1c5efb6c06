"""The whole way: a model is built, bundled, signed, published, promoted; a device fetches, tests, installs it, and goes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import registry as registries
from conftest import ROOT, Workspace
from devices import Device, make_device
from ortolan import runtime
from program import call

TARGET, NAME = "x86-cpu", "digits-mlp"


@dataclass
class Project:
    """A project with a key, and its verbs."""

    workspace: Workspace

    def do(self, *words: str) -> None:
        """Run a verb that must succeed."""
        done = call(self.workspace, *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    def release(self, sequence: int) -> Path:
        """Build, bundle and sign; the release's folder."""
        root = self.workspace.root
        self.do("build", "--target", TARGET, "--model", NAME)
        self.do("bundle", "--target", TARGET, "--model", NAME, "--sequence", str(sequence))
        folder = root / "dist" / TARGET / str(json.loads((root / "build" / TARGET / f"{NAME}.json").read_text())["tag"])
        self.do("sign", str(folder), "--key", str(root / "keys" / "release"))
        return folder

    def put(self, folder: Path, at: str) -> None:
        """Publish and promote."""
        self.do("publish", str(folder), "--to", at)
        self.do("promote", folder.name, "--channel", "stable", "--at", at, "--target", TARGET, "--by", "maintainer@example.org")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[registries.Registry]:
    with registries.running(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def project(workspace: Workspace) -> Project:
    made = Project(workspace)
    made.do("keys-make", "release", "--folder", str(workspace.root / "keys"), "--no-passphrase")
    return made


def device_of(project: Project, folder: Path, source: str) -> Device:
    """A device with the oldest ONNX Runtime of its fleet, and the project's list of signers."""
    folder.mkdir()
    made = runtime.ensure(runtime.find("onnxruntime-1.17.3", [ROOT / "runtimes"]), project.workspace.cache.runtimes)
    device = make_device(folder, target=TARGET, source=source, python=str(made.interpreter))
    (device.root / "allowed_signers").write_bytes((project.workspace.root / "keys" / "allowed_signers").read_bytes())
    return device


def retrain(model: Path) -> None:
    """One weight, by one bit: what training once more would do on a larger scale."""
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)


@pytest.mark.slow
def test_from_a_recipe_to_a_device_and_back(project: Project, tmp_path: Path, server: registries.Registry) -> None:
    stores = {"registry": f"oci://{server.host}/models", "folder": (tmp_path / "store").as_uri()}
    devices = {name: device_of(project, tmp_path / f"device-{name}", source) for name, source in stores.items()}
    first = project.release(1)
    for name, device in devices.items():
        project.put(first, stores[name])
        done = device.ok("update", NAME)
        assert (done["outcome"], done["tag"], done["slot"]) == ("installed", first.name, "a")
        assert device.ok("verify", "--installed", NAME)["outcome"] == "verified"
        assert device.ok("update", NAME)["outcome"] == "up-to-date"

    retrain(project.workspace.root / "recipes" / "models" / f"{NAME}.onnx")
    second = project.release(2)
    assert second != first
    project.do("delta", str(first), str(second))
    for name, device in devices.items():
        project.put(second, stores[name])
        done = device.ok("update", NAME)
        assert (done["outcome"], done["way"], done["sequence"], done["slot"]) == ("installed", "delta", 2, "b")
        assert device.ok("rollback", NAME, "--self-test")["sequence"] == 1
        (told,) = device.ok("status", "--check")["models"]
        assert (told["current"], told["slots"]["a"]["damaged"], told["left"]) == ("a", [], [])
        assert device.fails("update", NAME)["kind"] == "bad"
