"""Write a bundle's archives in one pass: the plain tar, its zstd, and the digests of both and of each file.

``bundle.tar.zst`` is a row of zstd frames (RFC 8878, section 3.1), which every decoder reads as one: the contents of a large
file are a frame of their own, whose bytes are the same whatever stands beside it. zstd's own threads share a frame in jobs of
a fixed size, and with one thread or many the bytes are the same (docs/decisions/0021).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import zstandard

from .behind import Behind, Sum, Told
from .layout import ArchivePart
from .tarball import Member, chunks

LEVEL = 3
"""Levels 6 to 19 save 1% more of trained weights, for 10 to 100 times the time."""
OWN_FRAME = 64 << 10
"""From this size on, in bytes, a file's contents are a frame; smaller files share frames, and so their statistics."""
JOB = 1 << 20
"""So much of a frame, in bytes, each thread packs at a time. Jobs of 4 MiB save nothing and take 70 MB more with four threads."""
_MOST = 16  # threads: more need memory, and wait for the reader


@dataclass(frozen=True)
class Archived:
    """Digests and sizes of what was written, and of each file as it was read."""

    files: dict[str, ArchivePart]
    tar: ArchivePart
    zst: ArchivePart


def write(members: Iterable[Member], zst: Path, tar: Path | None = None, threads: int = 0) -> Archived:
    """Write ``zst`` and, where it is given, ``tar``; ``threads`` (0: one for each processor) never changes a byte.

    ValueError when a file has become longer or shorter. What was written until then stays for the caller to remove.
    """
    plain, packed, files = Sum(), Sum(), dict[str, Sum]()
    with ExitStack() as stack:
        hash_file = stack.enter_context(Behind(_add))
        put_plain = stack.enter_context(Behind(_into(plain, stack.enter_context(tar.open("wb")) if tar else None)))
        put_packed = stack.enter_context(Behind(_into(packed, stack.enter_context(zst.open("wb")))))
        frames = _Frames(put_packed, threads or min(len(os.sched_getaffinity(0)), _MOST))
        with Behind(frames.add) as pack:
            for member, piece in chunks(_told(member, files, hash_file) for member in members):
                put_plain(piece)
                pack((member, piece))
        frames.end()
    return Archived({path: _part(one) for path, one in files.items()}, _part(plain), _part(packed))


def _add(piece: tuple[Sum, bytes]) -> None:
    piece[0].add(piece[1])


def _part(found: Sum) -> ArchivePart:
    return ArchivePart(digest=found.digest, size=found.size)


def _into(found: Sum, stream: BinaryIO | None) -> Callable[[bytes], None]:
    def put(piece: bytes) -> None:
        found.add(piece)
        if stream:
            stream.write(piece)

    return put


def _told(member: Member, files: dict[str, Sum], hash_file: Behind[tuple[Sum, bytes]]) -> Member:
    """The same file, whose contents are hashed as they are read."""
    found = files.setdefault(member.path, Sum())

    @contextmanager
    def opened() -> Iterator[Told]:
        with member.open() as stream:
            yield Told(stream, lambda piece: hash_file((found, piece)))

    return replace(member, open=opened)


class _Frames:
    """Packs pieces of an archive into frames, and hands on what is ready."""

    def __init__(self, put: Callable[[bytes], object], threads: int) -> None:
        form = zstandard.ZstdCompressionParameters.from_level(
            LEVEL, threads=threads, job_size=JOB, write_checksum=True, write_content_size=False
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=form)
        self._frame = self._compressor.compressobj()
        self._put = put
        self._last: Member | None = None

    def add(self, item: tuple[Member | None, bytes]) -> None:
        """The next piece, and the file that it belongs to; the first piece of each file is its header."""
        member, piece = item
        if member is self._last:
            self._pack(piece)
            return
        if _large(self._last):
            self._next()
        self._pack(piece)
        if _large(member):
            self._next()
        self._last = member

    def _pack(self, piece: bytes) -> None:
        if ready := self._frame.compress(piece):
            self._put(ready)

    def _next(self) -> None:
        self.end()
        self._frame = self._compressor.compressobj()

    def end(self) -> None:
        """Finish the frame."""
        self._put(self._frame.flush())


def _large(member: Member | None) -> bool:
    return member is not None and member.size >= OWN_FRAME
