"""Reduced runtimes for tests: pins with small sources of their own, and root file systems that hold nothing."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from ortolan import digest
from ortolan.reduced.config import Config, read
from ortolan.reduced.flags import BUILD
from ortolan.reduced.pinned import Pinned, Pins, Platform, RootSpec
from ortolan.reduced.root import Root

AMD64 = Platform("x86_64-linux-gnu", "x86_64")
SPEC = RootSpec("nothing", "trixie", "http://localhost:1", Path("/none.gpg"), ("dash",), {"linux/amd64": AMD64}, {})
CONFIG = read("ai.onnx;14;Reshape\n")


def tarball(path: Path, files: Mapping[str, bytes], top: str) -> Path:
    """A tarball with the files below one folder, as sources are packed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return path


def pins(folder: Path, **files: bytes) -> Pins:
    """Pins of one source, ``thing`` 1.2.3, whose tarball lies in ``folder``; ``files`` are in it beside its version."""
    content = {"VERSION": b"1.2.3\n", "LICENSE": b"do as you like\n", "docs/long.txt": b"long\n"} | files
    path = tarball(folder / "thing_1.2.3.orig.tar.gz", content, "thing-1.2.3")
    return Pins("1.2.3", (pinned(path),), (), SPEC)


def pinned(path: Path) -> Pinned:
    """A tarball as a pinned source."""
    told = ("VERSION", r"^([0-9.]+)$")
    return Pinned("thing", "1.2.3", f"pool/{path.name}", digest.of_file(path), "MIT", ("LICENSE",), told, ("docs",))


def root(folder: Path, *, compiler: bool = True) -> Root:
    """A root file system with nothing in it that runs."""
    place = folder / "root"
    programs = ["env", *([f"{AMD64.triple}-g++"] if compiler else [])]
    (place / BUILD.strip("/")).mkdir(parents=True)
    (place / "usr/bin").mkdir(parents=True)
    for name in programs:
        (place / "usr/bin" / name).touch(0o755)
    packages = {"g++-14-x86-64-linux-gnu": {"version": "14.2.0-19", "digest": "sha256:00", "file": "g++.deb"}}
    (place / "ortolan.json").write_text(json.dumps({"packages": packages}))
    return Root(place, AMD64, cross=False, packages=packages)


def config(text: str) -> Config:
    """A configuration."""
    return read(text)
