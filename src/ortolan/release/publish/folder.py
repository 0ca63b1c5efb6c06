"""A folder of this machine, or of a network's file system, as a store: what a web server or ``rsync`` can hand on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ... import digest as digests
from ...disk import PART, disk, part_of, remove, sweep, write_bytes
from ...errors import OrtolanError
from ...events import Emit
from .progress import moving

_CHUNK = 1 << 20


@dataclass(frozen=True)
class LocalFolders:
    """Everything below ``root``. A release appears in one move; what a killed process left is removed by the next one."""

    root: Path

    def url(self, folder: str) -> str:
        """As ``file://``."""
        return f"file://{self.root / folder}"

    def digests(self, folder: str) -> Mapping[str, str]:
        """Every file is read."""
        path = self.root / folder
        names = sorted(one.name for one in path.iterdir() if one.is_file()) if path.is_dir() else []
        return {name: digests.of_file(path / name) for name in names if not name.startswith(PART)}

    def add(self, folder: str, files: Mapping[str, Path], emit: Emit) -> None:
        """A whole new folder is moved to its place; to one that is there, files are moved one by one."""
        path = self.root / folder
        if not files:
            return
        with disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path.parent)
            if path.is_dir() or not _moved(path, files, emit):
                sweep(path)
                for name, source in files.items():
                    _add(path / name, source, emit)

    def replace(self, folder: str, name: str, data: bytes, before: bytes | None) -> None:
        """In one move, after a look at what is there."""
        if self.read(folder, name) != before:
            raise OrtolanError(
                f"{name} has been changed meanwhile", where=self.url(folder), hint="look at it (./inv channels), then again"
            )
        write_bytes(self.root / folder / name, data)

    def read(self, folder: str, name: str) -> bytes | None:
        """Its bytes."""
        try:
            return (self.root / folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Without what is not finished."""
        path = self.root / folder
        return sorted(one.name for one in path.iterdir() if not one.name.startswith(".")) if path.is_dir() else []

    def prove(self, folder: str, name: str) -> str:
        """The same digest: there is no other way to tell."""
        return digests.of_file(self.root / folder / name)


def _moved(path: Path, files: Mapping[str, Path], emit: Emit) -> bool:
    """Whether the folder is now there by our move; another process may have been first."""
    part = part_of(path)
    try:
        part.mkdir()
        for name, source in files.items():
            _copy(source, part / name, emit)
        part.rename(path)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        return False
    finally:
        remove(part)
    return True


def _add(path: Path, source: Path, emit: Emit) -> None:
    part = part_of(path)
    try:
        _copy(source, part, emit)
        part.replace(path)
    finally:
        remove(part)


def _copy(source: Path, to: Path, emit: Emit) -> None:
    """Copy and bring to the disk, so that a power cut after the move leaves no empty file."""
    with moving(emit, source.name, source.stat().st_size) as tell, source.open("rb") as stream, to.open("wb") as out:
        while piece := stream.read(_CHUNK):
            out.write(piece)
            tell(out.tell())
        out.flush()
        os.fsync(out.fileno())
    shutil.copymode(source, to)
