"""Releases for tests of deltas: any files, bundled as they are."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ortolan import digest
from ortolan.release import archive, layout
from ortolan.release.layout import FilePart, Release
from ortolan.release.tarball import Member


def noise(count: int, seed: int) -> bytes:
    """Bytes that do not compress, the same each time."""
    return random.Random(seed).randbytes(count)


def release(
    folder: Path, files: Mapping[str, bytes], *, sequence: int = 1, name: tuple[str, str] = ("net", "device"), plain: bool = False
) -> Path:
    """A release folder with the archive and its description; ``name`` is that of model and target."""
    folder.mkdir(parents=True)
    members = [Member(path, len(data), False, partial(io.BytesIO, data)) for path, data in sorted(files.items())]
    made = archive.write(members, folder / layout.ZST, folder / layout.TAR if plain else None)
    about = Release(
        release_version=1, tag=f"{name[0]}-{sequence:012x}-opset17-ort1.20.1", target=name[1], model=name[0],
        model_hash=digest.of_bytes(b"model"), sequence=sequence, revision="0" * 40, ortolan="0",
        manifest=digest.of_bytes(b"manifest"),
        files={path: FilePart(digest=one.digest, size=one.size) for path, one in made.files.items()},
        unpacked=sum(map(len, files.values())), tar=made.tar, zst=made.zst,
    )  # fmt: skip
    (folder / layout.DESCRIPTION).write_bytes(about.to_bytes())
    return folder
