"""Put a build's files into ``build/<target>/<tag>/``: whole or not at all."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import digest
from .artifact import Artifact
from .disk import PART, disk, part_of, remove

Fetch = Callable[[Path], None]


def assemble(folder: Path, artifacts: Mapping[Artifact, Fetch], written: Mapping[str, bytes]) -> None:
    """Make ``folder`` hold exactly the artifacts and the files that are written beside them, unless it does already."""
    if _whole(folder, artifacts, written):
        return
    part = part_of(folder)
    with disk(folder), alone(folder.parent):
        try:
            part.mkdir(parents=True)
            for artifact, fetch in artifacts.items():
                fetch(part / artifact.name)
            for name, data in written.items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(data)
            _let_scripts_run(part)
            swap(part, folder)
        finally:
            remove(part)


def damage(folder: Path, artifacts: Mapping[str, str]) -> list[str]:
    """The names, of ``{name: digest}``, whose files are missing from ``folder`` or differ."""
    return [
        name for name, wanted in artifacts.items() if not (folder / name).is_file() or digest.of_file(folder / name) != wanted
    ]


def _whole(folder: Path, artifacts: Mapping[Artifact, Fetch], written: Mapping[str, bytes]) -> bool:
    wanted = {artifact.name: artifact.digest for artifact in artifacts} | {n: digest.of_bytes(d) for n, d in written.items()}
    return folder.is_dir() and files(folder) == set(wanted) and not damage(folder, wanted)


def files(folder: Path) -> set[str]:
    """The files in a folder and below it, by path from it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _let_scripts_run(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.open("rb").read(2) == b"#!":
            path.chmod(path.stat().st_mode | 0o111)


def swap(part: Path, folder: Path) -> None:
    """Move a finished folder to its place. A kill between the two moves leaves no folder, never half of one."""
    old = folder.parent / f"{PART}{part.name.removeprefix(PART)}-old"
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    remove(old)


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Wait until no other process moves folders in ``target``, and keep others waiting."""
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
