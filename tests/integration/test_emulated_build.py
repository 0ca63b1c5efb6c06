"""Builds for 64-bit ARM Linux whose files are checked on an emulated one, and what they say where that cannot be."""

from __future__ import annotations

import json
import shutil

import pytest

import emulation
from conftest import ROOT, Workspace
from ortolan import manifest
from ortolan.artifact import Outcome
from ortolan.build import Built, Options, build
from ortolan.platforms import host_platform
from ortolan.runtime.rootfs import RECIPE
from ortolan.verbs import pick
from ortolan.why import last_build
from program import call

pytestmark = pytest.mark.skipif(host_platform() == "linux/arm64", reason="no emulated ARM here: this is one")
VERSIONS = ("1.20.1", "1.31.1")


def options(workspace: Workspace) -> Options:
    return pick.options(workspace.root, workspace.cache, emulation=True)


def built(workspace: Workspace, target: str) -> Built:
    """Build the model that needs least, with emulation."""
    workspace.events.clear()
    (one,) = build(workspace.jobs([target], ("digits-mlp",)), options(workspace), workspace.events.append)
    return one


@pytest.mark.slow
def test_what_ships_is_checked_in_every_version_of_the_fleet(workspace: Workspace) -> None:
    for version in VERSIONS:
        emulation.arm(f"onnxruntime-{version}")
    one = built(workspace, "raspberry-pi-5")
    assert one.ok, [gate for gate in one.gates if gate.outcome is Outcome.FAIL]
    gates = {gate.name: gate for gate in one.gates if gate.subject == "shipped"}
    for version in VERSIONS:
        outcomes = {name: gates[f"{name}@{version} arm64"].outcome for name in ("load", "golden", "ort", "providers")}
        assert outcomes == dict.fromkeys(("load", "golden", "ort"), Outcome.PASS) | {"providers": Outcome.NOT_RUN}
        assert gates[f"load@{version} arm64"].measured == "runs on emulated aarch64"
        assert "--use_xnnpack" in gates[f"providers@{version} arm64"].why
    assert gates["on-device"].measured == "emulated: 1.20.1, 1.31.1"
    assert one.folder
    described = manifest.read(one.folder / manifest.NAME)
    (ran,) = (runtime for runtime in described.runtimes if runtime.name == "onnxruntime-1.20.1@arm64")
    assert (ran.platform, ran.packages["onnxruntime"]) == ("linux/aarch64", "1.20.1")
    again = built(workspace, "raspberry-pi-5")
    assert again.gates == one.gates
    assert workspace.ran() == [], "nothing is emulated twice"
    labels = last_build(workspace.root / "build", one.job)["steps"]
    assert "digits-mlp: verify (shipped 1.31.1@arm64)" in labels
    said = call(workspace, "why", "--target", "raspberry-pi-5", "--model", "digits-mlp")
    assert said.stdout == "digits-mlp for raspberry-pi-5: nothing changed since the last build\n", said.stderr


def lacking(workspace: Workspace) -> None:
    """A machine without the emulator: the project's own recipe of the emulated machine asks for one that is nowhere."""
    folder = workspace.root / "runtimes" / "arm64"
    folder.mkdir(parents=True)
    shutil.copyfile(ROOT / "runtimes" / "arm64" / RECIPE, folder / RECIPE)
    text = (folder / RECIPE).read_text()
    (folder / RECIPE).write_text(text.replace('["qemu-aarch64-static", "qemu-aarch64"]', '["no-such-emulator"]'))


def test_without_an_emulator_it_builds_and_says_what_to_install(workspace: Workspace) -> None:
    lacking(workspace)
    one = built(workspace, "arm64-cpu")
    assert one.ok
    gate = one.gates[-1]
    assert (gate.name, gate.outcome, gate.measured) == ("on-device", Outcome.NOT_RUN, "")
    assert "aarch64 cannot be emulated here: no no-such-emulator in /usr/bin" in gate.why
    assert "apt-get install qemu-user-static" in gate.why
    assert not [gate for gate in one.gates if "arm64" in gate.name]


def test_it_can_be_switched_off_by_the_command_line(workspace: Workspace) -> None:
    words = ("build", "--target", "arm64-cpu", "--model", "digits-mlp", "--json")
    done = call(workspace, *words, "--no-emulation")
    gates = json.loads(done.stdout.splitlines()[-1])["gates"]
    assert not [gate for gate in gates if "arm64" in gate["name"]]
    lacking(workspace)
    asked = json.loads(call(workspace, *words).stdout.splitlines()[-1])["gates"]
    assert "no-such-emulator" in asked[-1]["why"], "another request, though all else is as it was"
