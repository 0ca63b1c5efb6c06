"""Folders whose files nothing changes once they are made: their digests beside them, to tell later what is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import digest

NAME = "files.json"


def remember(folder: Path, but: Iterable[str] = ()) -> None:
    """Write the digests of all files below ``folder``, ``but`` for some, to ``files.json`` in it."""
    left = {NAME, *but}
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    (folder / NAME).write_text(json.dumps(_digests(folder, [path for path in paths if path not in left]), sort_keys=True))


def problems(folder: Path) -> list[str]:
    """Files that are missing, or have other bytes than when they were remembered."""
    try:
        wanted: dict[str, str] = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return [NAME]
    found = _digests(folder, list(wanted))
    return [path for path, hashed in wanted.items() if found[path] != hashed]


def _digests(folder: Path, paths: list[str]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(lambda path: _digest(folder / path), paths), strict=True))


def _digest(path: Path) -> str:
    try:
        return digest.of_file(path)
    except OSError:
        return "missing"
