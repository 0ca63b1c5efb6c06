"""Bundling as people do it: a real build, the verb, its words and exit codes, a disk that is full."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2

from builds import FILES, built, described
from conftest import SmallDisk, Workspace
from ortolan.errors import StoreError
from ortolan.manifest import read
from ortolan.release.bundle import Options, bundle
from ortolan.release.check import check
from ortolan.release.layout import PROVENANCE, SBOM, SUMS, ZST
from ortolan.release.source import source
from ortolan.revision import Revision, revision
from program import call

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def bundled(workspace: Workspace, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return call(workspace, "bundle", *words, cwd=None, **(EPOCH | more))


def commit(root: Path) -> None:
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=root, check=True)


# --- a real build ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_build_becomes_a_release_that_checks_and_validates(workspace: Workspace) -> None:
    (one,) = workspace.build("raspberry-pi-5", "digits")
    assert one.folder
    done = bundled(workspace, "--target", "raspberry-pi-5", "--json", "--plain")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    folder = Path(told["folder"])
    release = check(folder)
    made = read(one.folder / "manifest.json")
    assert (release.tag, release.model_hash, release.sequence) == (one.tag, made.model.hash, 1700000000)
    assert {a.name for a in made.artifacts} < set(release.files)
    assert {"c/model.h", "go/model.go", "python/model.py", "device/preflight.py", "golden.bin"} <= set(release.files)
    assert "measurements.json" not in release.files
    assert set(told["files"]) == {path.name for path in folder.iterdir()} - {SUMS}

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((folder / SBOM).read_text()) is None
    parts = json.loads((folder / SBOM).read_text())["components"]
    assert {part["name"] for part in parts if part["type"] == "data"} == {"calibration", "evaluation"}
    statement = (folder / PROVENANCE).read_text()
    json_format.Parse(statement, statement_pb2.Statement())
    predicate = json_format.Parse(json.dumps(json.loads(statement)["predicate"]), provenance_pb2.Provenance())
    needed = {one.name for one in predicate.build_definition.resolved_dependencies}
    assert {"recipes/models/digits", "source/digits.py", "weights/digits.safetensors", "runtimes/torch"} <= needed


@pytest.mark.slow
def test_builds_in_two_projects_give_the_same_release(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other", workspace.cache, [])
    shutil.copytree(workspace.root / "recipes", other.root / "recipes")
    found = []
    for one in (workspace, other):
        one.build("x86-cpu", "digits-mlp")
        done = bundled(one, "--target", "x86-cpu", "--json")
        folder = Path(json.loads(done.stdout)["folder"])
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1]


# --- the verb ----------------------------------------------------------------------------------------------------------


def test_the_table_lists_every_file_and_says_when_nothing_changed(workspace: Workspace) -> None:
    built(workspace.root)
    commit(workspace.root)
    done = call(workspace, "bundle", "--target", "device", "--model", "net")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"dist/device/{described(FILES).tag}/"
    assert lines[2].split() == ["file", "bytes", "sha256"]
    sums = (workspace.root / lines[0] / SUMS).read_text().splitlines()
    assert [(line.split()[-1], line.split()[0]) for line in lines[3:-1]] == [tuple(line.split()) for line in sums]
    found = revision(workspace.root)
    assert f"sequence {found.time}, {found.name}" in lines[1]
    assert call(workspace, "bundle", "--target", "device").stdout.splitlines()[0] == f"{lines[0]}, as it was"


def test_a_project_without_a_commit_is_warned_of_and_a_changed_one_too(workspace: Workspace) -> None:
    built(workspace.root)
    assert "no commit names what this was made from" in bundled(workspace, "--target", "device").stdout
    commit(workspace.root)
    assert "no commit names" not in bundled(workspace, "--target", "device").stdout
    (workspace.root / "recipes" / "models" / "digits.toml").write_text("")
    done = bundled(workspace, "--target", "device")
    assert "-dirty" in done.stdout
    assert "no commit names" in done.stdout


@pytest.mark.parametrize(
    ("words", "environ", "code", "said"),
    [
        ((), EPOCH, 1, "which target?"),
        (("--target", "devise"), EPOCH, 1, "did you mean device?"),
        (("--target", "device", "--model", "nett"), EPOCH, 1, "'nett' is not built for device"),
        (("--target", "device", "--sequence", "-1"), EPOCH, 1, "--sequence wants a number, 1 or more, not '-1'"),
        (("--target", "device"), {"SOURCE_DATE_EPOCH": ""}, 1, "the release has no sequence number"),
        (("--target", "device"), {"SOURCE_DATE_EPOCH": "now"}, 1, "SOURCE_DATE_EPOCH is no number of seconds: 'now'"),
    ],
)
def test_what_cannot_be_meant_is_an_error(
    workspace: Workspace, words: Sequence[str], environ: dict[str, str], code: int, said: str
) -> None:
    built(workspace.root)
    done = bundled(workspace, *words, **environ)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert not (workspace.root / "dist").exists()


def test_one_build_that_is_refused_does_not_stop_the_others_and_the_worst_exit_code_counts(workspace: Workspace) -> None:
    record = built(workspace.root)
    record.with_name("bad.json").write_text(json.dumps({"ok": False, "tag": "", "errors": [], "gates": []}))
    done = bundled(workspace, "--target", "device", "--json")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert "gates of the last build of bad for device failed" in done.stderr
    assert json.loads(done.stdout)["release"]["model"] == "net"


# --- faults --------------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_nothing(tmp_path: Path, small_disk: SmallDisk) -> None:
    found = source(built(tmp_path, {**FILES, "model.onnx": bytes(range(256)) * 20_000}), date(2026, 1, 1))
    disk = small_disk("1m")
    (disk / "filled").write_bytes(bytes(900_000))
    with pytest.raises(StoreError, match="cannot write: No space left on device"):
        bundle(found, Options(disk / "dist", Revision("0" * 40, 1), plain=True))
    assert not [path for path in disk.rglob("*") if path.name == ZST or path.name.startswith(".part-")]


def test_what_a_killed_bundle_left_is_swept(workspace: Workspace) -> None:
    built(workspace.root)
    part = workspace.root / "dist" / "device" / ".part-999999999-net"
    part.mkdir(parents=True)
    (part / ZST).write_bytes(b"half")
    assert bundled(workspace, "--target", "device").returncode == 0
    assert not part.exists()
