"""Unpacks the locked wheels for the target's platform, once: what an image gets as its site-packages."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .. import digest
from ..cache import Cache
from ..disk import disk, part_of, remove
from ..recipe.docker import Docker, wheels_for
from ..runtime.uv import uv

_SCRIPTS = re.compile(r"^bin/.*\n", re.MULTILINE)


def unpacked(requirements: Path, table: Docker, platform: str, cache: Cache) -> Path:
    """The folder with the packages of a hash-locked ``requirements.txt``, unpacked for ``platform``.

    RuntimeSetupError when a wheel cannot be had, has another hash, or there is none for this platform and Python.
    """
    named = {"requirements": digest.of_file(requirements), "platform": wheels_for(platform), "python": table.python}
    place = cache.root / "images" / f"wheels-{digest.short(digest.of_json('wheels', named), 32)}"
    if not place.is_dir():
        part = part_of(place)
        with disk(place):
            try:
                _install(requirements, table.python, wheels_for(platform), part)
                _same_everywhere(part)
                _put(part, place)
            finally:
                remove(part)
    return place


def _install(requirements: Path, python: str, platform: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    where = ["--target", str(to), "--python", sys.executable, "--python-version", python, "--python-platform", platform]
    checked = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--link-mode", "copy"]
    command = ["pip", "install", "--quiet", *where, *checked, "-r", str(requirements)]
    uv(command, doing=f"unpack the wheels for {platform}, Python {python}")


def _same_everywhere(folder: Path) -> None:
    """Without what names this machine's Python: scripts, and their hashes in the packages' records. Nobody runs them there."""
    remove(folder / "bin")
    remove(folder / ".lock")
    for record in folder.glob("*.dist-info/RECORD"):
        record.write_text(_SCRIPTS.sub("", record.read_text()))
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _put(part: Path, place: Path) -> None:
    """Another process may have been faster; its folder has the same files."""
    try:
        part.rename(place)
    except OSError:
        if not place.is_dir():
            raise
