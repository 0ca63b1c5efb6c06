"""Deltas between releases of real builds, made by the program, applied as a device does."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import pytest

from conftest import Workspace
from delta_releases import noise, release
from ortolan import digest
from ortolan.release import layout
from ortolan.release.tarball import Member, chunks
from program import call

TARGET, MODEL = "x86-cpu", "digits-mlp"


def bundled(workspace: Workspace, name: str, sequence: int) -> Path:
    """Build and bundle what the recipes say now; the release folder, moved to a name of its own."""
    (built,) = workspace.build(TARGET, MODEL)
    assert built.ok
    done = call(workspace, "bundle", "--target", TARGET, "--model", MODEL, "--sequence", str(sequence))
    assert done.returncode == 0, done.stderr
    folder = workspace.root / name
    (made,) = (workspace.root / "dist").glob("*/*/release.json")
    made.parent.rename(folder)
    return folder


@pytest.fixture
def two(workspace: Workspace) -> tuple[Path, Path]:
    """A release, and the next one of another licence."""
    old = bundled(workspace, "old", 1)
    workspace.edit(f"models/{MODEL}.toml", "Apache-2.0", "MIT")
    return old, bundled(workspace, "new", 2)


def installed(old: Path, folder: Path) -> bytes:
    """The archive as a device makes it again, of the files that it has unpacked."""
    plain = folder.with_suffix(".tar")
    subprocess.run(["zstd", "-d", "-q", old / layout.ZST, "-o", plain], check=True)
    with tarfile.open(plain) as archive:
        archive.extractall(folder, filter="data")
    members = [
        Member(path, part.size, part.executable, partial(io.BytesIO, (folder / path).read_bytes()))
        for path, part in sorted(layout.read(old).files.items())
    ]
    return b"".join(piece for _, piece in chunks(members))


@pytest.mark.slow
def test_a_device_that_has_the_old_release_gets_the_new_one(workspace: Workspace, two: tuple[Path, Path], tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in two[1].iterdir()}
    plain = tmp_path / "tar"
    plain.write_bytes(installed(two[0], tmp_path / "unpacked"))
    for words in ([], ["--method", "zstd"], ["--method", "bsdiff"]):
        done = call(workspace, "delta", str(two[0]), str(two[1]), *words)
        assert done.returncode == 0, done.stderr
        (path,) = two[1].glob("delta-*.json")
        told = json.loads(path.read_text())
        assert done.stdout.splitlines()[-1].startswith(f"new/{path.name}: {told['method']}, ")
        assert told["size"] <= 0.01 * layout.read(two[1]).zst.size
        assert digest.of_file(plain) == told["from"]
        patch, new = two[1] / told["file"], tmp_path / f"new{len(words)}-{told['method']}"
        command = ["zstd", "-d", "-q", "--long=31", f"--patch-from={plain}", patch, "-o", new]
        subprocess.run(["bspatch", plain, new, patch] if told["method"] == "bsdiff" else command, check=True)
        assert digest.of_file(new) == told["to"] == layout.read(two[1]).tar.digest
    after = {path.name: path.read_bytes() for path in two[1].iterdir() if not path.name.startswith(layout.DELTA)}
    assert after == before, "the release itself is as it was"


def test_what_a_program_reads(workspace: Workspace) -> None:
    two = [release(workspace.root / f"{n}", {"a": noise(20_000, 1) + bytes([n])}, sequence=n) for n in (1, 2)]
    done = call(workspace, "delta", *map(str, two), "--json")
    said = json.loads(done.stdout)
    (path,) = two[1].glob("delta-*.json")
    assert said["delta"] == json.loads(path.read_text())
    assert Path(said["path"]) == path
    assert {name: one["checked"] for name, one in said["methods"].items()} == {
        "zstd": ["library", "zstd"], "bsdiff": ["library", "bspatch"],
    }  # fmt: skip
    assert (said["why"], said["warnings"]) == ("", [])
    assert "done    unpack" in done.stderr
    back = call(workspace, "delta", *map(str, two[::-1]))
    assert (back.returncode, back.stderr.count("warning: devices refuse to go from sequence 2 to 1")) == (0, 1)


def test_a_release_is_found_by_its_tag(workspace: Workspace) -> None:
    folders = [
        release(workspace.root / "dist" / "pi" / f"net-{n}", {"a": noise(20_000, 1) + bytes([n])}, sequence=n) for n in (1, 2)
    ]
    assert call(workspace, "delta", "net-1", "net-2").returncode == 0
    assert list(folders[1].glob("delta-*.json"))
    shutil.copytree(folders[1], workspace.root / "dist" / "tx" / "net-2")
    several = call(workspace, "delta", "net-1", "net-2")
    assert (several.returncode, "several targets have a release net-2: pi, tx" in several.stderr) == (1, True)
    assert call(workspace, "delta", "net-1", "net-2", "--target", "pi").returncode == 0


def test_a_full_bundle_is_no_failure_and_mistakes_are(workspace: Workspace) -> None:
    folders = [release(workspace.root / "dist" / "pi" / f"net-{n}", {"a": noise(20_000, n)}, sequence=n) for n in (1, 2)]
    done = call(workspace, "delta", "net-1", "net-2")
    assert (done.returncode, done.stdout.splitlines()[-1][:43]) == (0, "send the full bundle: the smallest patch is")
    assert json.loads(call(workspace, "delta", "net-1", "net-2", "--json").stdout)["delta"] is None
    for words, said in (
        (("net-1", "net-3"), "no release 'net-3'"),
        (("net-1", "net-1"), "OLD and NEW are the same bundle"),
        (("net-1", "net-2", "--method", "xdelta"), "there is no method 'xdelta'\n  why: there are zstd and bsdiff"),
    ):
        done = call(workspace, "delta", *words)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert not [path for folder in folders for path in folder.glob("*delta-*")]
