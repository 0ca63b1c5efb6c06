"""``publish``, ``promote`` and ``channels`` as people and pipelines call them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import builds
import outgoing as made
import registry as registries
from conftest import Workspace
from ortolan.digest import of_file
from ortolan.manifest import WaiverPart
from ortolan.release import layout
from program import call


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    with registries.running(tmp_path_factory.mktemp("registry") / "r") as found:
        yield found


@pytest.mark.slow
def test_a_release_is_published_promoted_and_listed(workspace: Workspace, server: registries.Registry) -> None:
    made.release(workspace.root)
    made.release(workspace.root, {**builds.FILES, "model.onnx": b"2"}, sequence=11, tag=made.LATER)
    at = f"oci://{server.host}/verbs"
    done = call(workspace, "publish", made.TAG, "--to", at)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{at}/{made.TARGET}/{made.MODEL}:{made.TAG}\n  sha256:")
    again = call(workspace, "publish", f"dist/{made.TARGET}", "--to", at)
    assert again.stdout.count("\n  sha256:") == 2
    assert "all was there already" in again.stdout
    about = ["--at", at, "--target", made.TARGET]
    first = call(workspace, "promote", made.TAG, "--channel", "stable", *about, "--by", "first@example.org")
    assert first.stdout.startswith(f"stable: nothing -> {made.TAG}, by first@example.org, ")
    moved = call(workspace, "promote", made.LATER, "--channel", "stable", *about, "--json", GITLAB_USER_LOGIN="second")
    value = json.loads(moved.stdout)
    assert (value["kind"], value["moved"], value["previous"]["tag"], value["by"]) == ("promoted", True, made.TAG, "second")
    listed = call(workspace, "channels", *about, "--model", made.MODEL)
    assert [line.split()[:3] for line in listed.stdout.splitlines()[:2]] == [
        ["channel", "leads", "to"],
        ["stable", made.LATER, "second"],
    ]
    assert [line.split()[1:] for line in listed.stdout.splitlines()[-2:]] == [
        ["stable", made.TAG, "first@example.org"], ["stable", made.LATER, "second"],
    ]  # fmt: skip
    told = json.loads(call(workspace, "channels", *about, "--model", made.MODEL, "--json").stdout)
    assert [one["tag"] for one in told["channels"]] == [made.LATER]
    assert told["tags"] == sorted([made.TAG, made.LATER])


def test_machines_read_lines_of_json(workspace: Workspace, tmp_path: Path) -> None:
    folder = made.release(workspace.root, {**builds.FILES, "model.onnx": bytes(40_000_000)})
    done = call(workspace, "publish", str(folder), "--to", f"file://{tmp_path}/store", "--json")
    assert done.returncode == 0
    value = json.loads(done.stdout.splitlines()[-1])
    assert value["kind"] == "published"
    assert value["digest"] == of_file(folder / layout.DESCRIPTION)


def test_large_files_are_told_of_while_they_go(workspace: Workspace, server: registries.Registry) -> None:
    made.release(workspace.root, {**builds.FILES, "model.onnx": bytes(range(250)) * 160_000})
    done = call(workspace, "publish", made.TAG, "--to", f"oci://{server.host}/progress")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert any(line.strip() == "model.onnx: 40 of 40 MB" for line in lines)
    assert sum("done" in line and "model.onnx" in line for line in lines) == 1
    assert len(lines) < 15


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["publish", "nothing", "--to", "file:///nowhere/x"], 1, "no release 'nothing'"),
        (["publish", made.TAG], 1, "where to, or where from?"),
        (["publish", made.TAG, "--to", "ftp://host/x"], 1, "no kind of store"),
        (["publish", made.TAG, "--to", "oci://me:hunter2@host/x"], 1, "holds a user's name or a password"),
        (["promote", made.TAG, "--at", "oci://127.0.0.1:1/x", "--target", "device"], 1, "which channel"),
        (["promote", "no-tag", "--channel", "stable", "--at", "oci://127.0.0.1:1/x", "--target", "device"], 1, "is not a tag"),
        (["promote", made.TAG, "--channel", "A", "--at", "oci://127.0.0.1:1/x", "--target", "device"], 1, "no name of a channel"),
        (["channels", "--at", "oci://127.0.0.1:1/x"], 1, "which model for which target?"),
    ],
)  # fmt: skip
def test_mistakes_are_told(workspace: Workspace, words: list[str], code: int, says: str) -> None:
    made.release(workspace.root)
    done = call(workspace, *words)
    assert done.returncode == code
    assert says in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_unsigned_release_is_refused_before_anything_is_sent(workspace: Workspace, tmp_path: Path) -> None:
    made.release(workspace.root, signed=False)
    done = call(workspace, "publish", made.TAG, "--to", f"file://{tmp_path}/store")
    assert done.returncode == 1
    assert "./inv sign" in done.stderr
    assert not (tmp_path / "store").exists()
    assert call(workspace, "publish", made.TAG, "--to", f"file://{tmp_path}/store", "--unsigned").returncode == 0


def test_a_waiver_that_ran_out_is_a_failed_gate(workspace: Workspace, tmp_path: Path) -> None:
    waiver = WaiverPart(gate="size", subject="fp32", reason="one week", who="maintainer@example.org", expires="2024-06-30")
    made.release(workspace.root, waivers=[waiver])
    done = call(workspace, "publish", made.TAG, "--to", f"file://{tmp_path}/store")
    assert done.returncode == 3
    assert "its waiver ran out on 2024-06-30" in done.stderr
    assert not (tmp_path / "store").exists()
