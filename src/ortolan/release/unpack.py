"""Read a bundle as a stream and hold it against what a release says of it: its archives' digests, and each file in them.

The form of an archive (see ``tarball``) leaves no choice, so that all of it but the files' contents can be told beforehand. An
archive with anything else (a link, a device, a second file of one name, a path that leads out, another owner) differs from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import zstandard

from ..errors import OrtolanError
from .behind import Behind, Sum, Told
from .layout import ArchivePart, FilePart, Release
from .tarball import BLOCK, CHUNK, END, header

_WINDOW = 1 << 27  # bytes that an archive may ask for to be unpacked: what zstd itself grants without --long


class _Read(NamedTuple):
    """The sums of a file, of the plain archive that it is or holds, and of each file in that."""

    whole: Sum
    plain: Sum
    files: dict[str, Sum]


class _Differs(Exception):
    """Where an archive is not what it should be."""


def check_archive(path: Path, release: Release, *, packed: bool) -> None:
    """Read ``bundle.tar.zst`` (``packed``) or ``bundle.tar``; memory stays flat, and no more is unpacked than is expected.

    OrtolanError naming the archive, and the file in it where one can be told, that differs from ``release``.
    """
    try:
        read = _read(path, release, packed=packed)
        _compare_files(read.files, release)
        _compare(read.plain, release.tar, "the archive in it" if packed else "it")
        _compare(read.whole, release.zst if packed else release.tar, "it")
    except _Differs as error:
        hint = "fetch it again, or bundle again"
        raise OrtolanError("is not the archive of this release", where=str(path), why=str(error), hint=hint) from error


def _compare_files(found: dict[str, Sum], release: Release) -> None:
    for path, one in found.items():
        _compare(one, release.files[path], path)


def _compare(found: Sum, wanted: ArchivePart | FilePart, what: str) -> None:
    if (found.size, found.digest) != (wanted.size, wanted.digest):
        raise _Differs(f"{what} has {found.size} bytes with {found.digest}, not {wanted.size} with {wanted.digest}")


def _read(path: Path, release: Release, *, packed: bool) -> _Read:
    """Read to the end. _Differs at the first header, filling or end that is not of the form."""
    whole, plain, files = Sum(), Sum(), dict[str, Sum]()
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        stream = Told(raw, stack.enter_context(Behind(whole.add)))
        if packed:
            unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
            unpacked = unpacker.stream_reader(stream, read_size=CHUNK, read_across_frames=True)  # type: ignore[arg-type]
            stream = Told(unpacked, stack.enter_context(Behind(plain.add)))
        hash_file = stack.enter_context(Behind(_add))
        for piece in _pieces(stream, release):
            hash_file((files.setdefault(piece[0], Sum()), piece[1]))
    return _Read(whole, plain if packed else whole, files)


def _add(piece: tuple[Sum, bytes]) -> None:
    piece[0].add(piece[1])


def _pieces(stream: Told, release: Release) -> Iterator[tuple[str, bytes]]:
    """The contents of the files, in pieces with their paths."""
    offset = 0
    for path, part in sorted(release.files.items()):
        head = header(path, part.size, part.executable, offset)
        _expect(stream, head, f"where {path} should begin")
        yield path, b""
        yield from ((path, piece) for piece in _some(stream, part.size, path))
        filling = bytes(-part.size % BLOCK)
        _expect(stream, filling, f"after {path}")
        offset += len(head) + part.size + len(filling)
    _expect(stream, END, "where it should end")
    if _read_some(stream, 1, "where it should end"):
        raise _Differs("more follows after its end")


def _expect(stream: Told, wanted: bytes, where: str) -> None:
    if b"".join(_some(stream, len(wanted), where)) != wanted:
        raise _Differs(f"{where} it holds something else")


def _some(stream: Told, size: int, where: str) -> Iterator[bytes]:
    """The next ``size`` bytes."""
    while size:
        piece = _read_some(stream, min(size, CHUNK), where)
        if not piece:
            raise _Differs(f"{where} it is cut off")
        size -= len(piece)
        yield piece


def _read_some(stream: Told, size: int, where: str) -> bytes:
    try:
        return stream.read(size)
    except zstandard.ZstdError as error:
        raise _Differs(f"{where}: {error}") from error
