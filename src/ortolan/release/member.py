"""Takes a single file out of a release's bundle."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO

import zstandard

from ..digest import of_bytes
from ..errors import OrtolanError
from .layout import TAR, ZST, Release


def member(folder: Path, release: Release, name: str) -> bytes:
    """The bytes of a file that ``release`` lists; the bundle is read no further. OrtolanError when they are not those it says."""
    path = folder / (TAR if (folder / TAR).is_file() else ZST)
    wanted = release.files[name]
    try:
        with path.open("rb") as raw:
            stream: IO[bytes] = raw
            if path.name == ZST:
                stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            found = _member(stream, name, wanted.size)
    except (OSError, tarfile.TarError, zstandard.ZstdError) as error:
        raise _other(path, str(error)) from error
    if of_bytes(found) != wanted.digest:
        raise _other(path, f"{name} in it is not the one that release.json names")
    return found


def _member(stream: IO[bytes], name: str, size: int) -> bytes:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for one in archive:
            if one.name == name and (found := archive.extractfile(one)):
                return found.read(size)
    return b""


def _other(path: Path, why: str) -> OrtolanError:
    return OrtolanError("cannot read the bundle", where=str(path), why=why, hint="bundle or fetch it again")
