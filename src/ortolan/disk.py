"""Writing so that a kill or a full disk leaves nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import digest
from .errors import StoreError

_ROOM = 500_000  # bytes: less is a full disk
PART = ".part-"
"""What the names of unfinished files and folders begin with; the number of the process that makes them follows."""


def copied(source: Path, to: Path) -> str:
    """Copy a file's bytes, without a way through this process where the system can; the digest of what was written, read back."""
    shutil.copyfile(source, to)
    return digest.of_file(to)


@contextmanager
def disk(where: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a StoreError that says which."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise
        raise _cannot_write(where, str(error.strerror)) from error


def check_room(where: Path) -> None:
    """Raise a StoreError when the disk is full: the likely reason of whatever just failed there in its own words."""
    if _free(where) < _ROOM:
        raise _cannot_write(where, os.strerror(errno.ENOSPC))


def _cannot_write(where: Path, what: str) -> StoreError:
    return StoreError(
        f"cannot write: {what}",
        where=str(where),
        why=f"{_free(where) / 1_000_000:.1f} MB are free there",
        hint="free some space (./inv clean removes what can be made again) or choose another place with --cache",
    )


def _free(where: Path) -> int:
    return shutil.disk_usage(next(path for path in (where, *where.parents) if path.exists())).free


def part_of(path: Path) -> Path:
    """The name under which this process makes ``path``."""
    return path.with_name(f"{PART}{os.getpid()}-{path.name}")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file in one move."""
    write_bytes(path, json_bytes(value))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one move."""
    part = part_of(path)
    with disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Sorted and indented, with a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder."""
    for part in folder.glob(f"{PART}*"):
        owner = part.name.removeprefix(PART).partition("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            remove(part)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def alive(process: int) -> bool:
    """Whether a process with this number exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
