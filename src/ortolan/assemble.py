"""Put a build's files into ``build/<target>/<tag>/``: whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import manifest as manifests
from .manifest import Manifest
from .store import alive, disk

_PART = ".part-"
MEASUREMENTS = "measurements.json"


def assemble(folder: Path, manifest: Manifest, fetch: Mapping[str, Callable[[Path], None]], measured: Mapping[str, Any]) -> None:
    """Make ``folder`` hold exactly the manifest, its artifacts and the timings, unless it does already."""
    files = {manifests.NAME: manifest.to_bytes()} | ({MEASUREMENTS: _json(measured)} if measured else {})
    if _whole(folder, manifest, files):
        return
    part = folder.parent / f"{_PART}{os.getpid()}-{folder.name}"
    with disk(folder), _alone(folder.parent):
        try:
            part.mkdir(parents=True)
            for name, bring in fetch.items():
                bring(part / name)
            for name, data in files.items():
                (part / name).write_bytes(data)
            _swap(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file in one move."""
    part = path.with_name(f"{_PART}{os.getpid()}-{path.name}")
    with disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(_json(value))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def _swap(part: Path, folder: Path) -> None:
    """Move a finished folder to its place. A kill between the two moves leaves no folder, never half of one."""
    old = folder.parent / f"{_PART}{os.getpid()}-old-{folder.name}"
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def sweep(target: Path) -> None:
    """Remove what killed builds left in a target's folder."""
    for part in target.glob(f"{_PART}*"):
        owner = part.name.removeprefix(_PART).partition("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def _whole(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> bool:
    try:
        same = all((folder / name).read_bytes() == data for name, data in files.items())
    except OSError:
        return False
    return same and not manifests.damage(folder, manifest)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
