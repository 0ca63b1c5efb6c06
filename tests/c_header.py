"""The header of ONNX Runtime's C API for tests: from Debian's archive by way of this machine's apt, kept in the user's cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest

from conftest import ROOT
from ortolan.cache import user_cache

PINNED = tomllib.loads((ROOT / "tests" / "data" / "c" / "header.toml").read_text())
HELPER = Path("/usr/lib/apt/apt-helper")


def folder() -> Path:
    """The folder of the pinned ``onnxruntime_c_api.h``; fetched when the cache has none whose package has the pinned digest."""
    package = user_cache().root / "tests" / Path(PINNED["path"]).name
    if not package.is_file() or _sha256(package) != PINNED["sha256"]:
        package.parent.mkdir(parents=True, exist_ok=True)
        _fetch(package)
    unpacked = package.with_name(f"{package.stem}-{PINNED['sha256'][:12]}")
    if not (unpacked / PINNED["header"]).is_file():
        _unpack(package, unpacked)
    return unpacked / Path(PINNED["header"]).parent


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fetch(package: Path) -> None:
    """Ask each archive that apt reads; apt's own helper downloads, with apt's settings, and checks the digest."""
    if not HELPER.is_file() or not shutil.which("dpkg-deb"):
        pytest.skip("onnxruntime_c_api.h comes from Debian's archive through apt, which is not here")
    said = []
    with tempfile.TemporaryDirectory(dir=package.parent) as place:
        for archive in _archives():
            got = Path(place) / "package.deb"
            call: list[str | Path] = [HELPER, "download-file", f"{archive}{PINNED['path']}", got, f"SHA256:{PINNED['sha256']}"]
            done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=120)
            if done.returncode == 0 and _sha256(got) == PINNED["sha256"]:
                got.replace(package)
                return
            said.append(done.stderr)
    pytest.fail(f"no archive of this machine's apt has {PINNED['package']}: {' '.join(said)}")


def _archives() -> list[str]:
    """The archives in apt's configuration, each once."""
    call = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    return [one if one.endswith("/") else f"{one}/" for one in dict.fromkeys(found)]


def _unpack(package: Path, to: Path) -> None:
    """Whole or not at all, also when two tests unpack at the same time."""
    with tempfile.TemporaryDirectory(dir=package.parent) as place:
        subprocess.run(["dpkg-deb", "-x", package, f"{place}/it"], check=True)
        try:
            (Path(place) / "it").replace(to)
        except OSError:
            if not (to / PINNED["header"]).is_file():
                raise
