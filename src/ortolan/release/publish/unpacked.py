"""Take files out of a release's own archive: the archive is what was signed, so that publishing needs no build folder."""

from __future__ import annotations

import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import zstandard

from ...disk import disk
from ...errors import OrtolanError
from ..behind import Sum
from ..layout import ZST, Release

_CHUNK = 1 << 20
_WINDOW = 1 << 27


def unpack(folder: Path, release: Release, digests: Collection[str], to: Path) -> None:
    """Write the files with these digests, each named by its digest, to ``to``; memory stays flat.

    OrtolanError when a file in the archive is not what the release says of it.
    """
    archive, left = folder / ZST, set(digests)
    with disk(to), archive.open("rb") as packed:
        stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(packed, read_across_frames=True)
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for entry in tar:
                part = release.files.get(entry.name)
                contents = tar.extractfile(entry)
                if part and contents and part.digest in left:
                    left.discard(_write(contents, to / part.digest, part.digest, archive))
    if left:
        raise OrtolanError("lacks files of the release", where=str(archive), why=f"there is no {min(left)}", hint="bundle again")


def _write(contents: IO[bytes], to: Path, wanted: str, archive: Path) -> str:
    found = Sum()
    with to.open("wb") as stream:
        while piece := contents.read(_CHUNK):
            found.add(piece)
            stream.write(piece)
    if found.digest != wanted:
        raise OrtolanError("has changed since it was checked", where=str(archive), why=f"{found.digest} stands for {wanted}")
    return wanted
