"""Tar archives with one form for the same files: a device that has the files can make the archive again, to the same bytes.

Sorted by path, regular files only, owned by 0:0, dated 1970, mode 644 or 755. The contents of a file of 4 KiB or more begin at
a multiple of 4,096 bytes, so that what did not change lies on the same boundaries and can be mapped: a pax comment before its
header fills the gap. Format: POSIX.1-2008, pax interchange format (``ustar`` with extended headers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

BLOCK = 512
ALIGNED = 4096
CHUNK = 1 << 20
END = bytes(2 * BLOCK)


class Contents(Protocol):
    """What is read of a file."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""


@dataclass(frozen=True)
class Member:
    """A file of an archive: its path, its size in bytes, whether it is a program, and how its contents are opened."""

    path: str
    size: int
    executable: bool
    open: Callable[[], AbstractContextManager[Contents]]


def chunks(members: Iterable[Member]) -> Iterator[tuple[Member | None, bytes]]:
    """The archive of ``members``, which come sorted by path, in pieces, each with the member that it belongs to (None: the end).

    ValueError when a file has become longer or shorter.
    """
    offset = 0
    for member in members:
        head = header(member.path, member.size, member.executable, offset)
        yield member, head
        left = member.size
        with member.open() as stream:
            while piece := stream.read(min(CHUNK, left + 1)):
                left -= len(piece)
                if left < 0:
                    break
                yield member, piece
        if left:
            raise ValueError(f"{member.path} is not {member.size} bytes long")
        yield member, bytes(-member.size % BLOCK)
        offset += len(head) + member.size + -member.size % BLOCK
    yield None, END


def header(path: str, size: int, executable: bool, offset: int) -> bytes:
    """The header blocks of a file whose header begins at ``offset``."""
    name = path.encode()
    records = b"" if len(name) <= 100 and path.isascii() else _record("path", name)
    if size >= 1 << 33:  # eleven octal digits end here
        records += _record("size", str(size).encode())
    if size >= ALIGNED:
        records = _filled(records, offset)
    block = _block(name[:100], 0 if size >= 1 << 33 else size, b"0", executable)
    return (_extended(records) if records else b"") + block


def _filled(records: bytes, offset: int) -> bytes:
    """The records with a comment so long that the contents begin at a boundary; without one where they do already."""
    for blocks in range(len(records) // BLOCK + ALIGNED // BLOCK + 2):
        start = offset + (BLOCK + blocks * BLOCK if blocks else 0) + BLOCK
        room = blocks * BLOCK - len(records)
        if start % ALIGNED == 0 and (room == 0 or room >= 16):
            return records + (_record("comment", b"", room) if room else b"")
    raise AssertionError("one of eight boundaries fits")  # pragma: no cover


def _record(key: str, value: bytes, length: int = 0) -> bytes:
    """``LENGTH key=value`` and a newline, where LENGTH counts all of it; with ``length``, filled up to it."""
    rest = f" {key}=".encode() + value + b"\n"
    if length:
        return str(length).encode() + f" {key}=".encode() + b"." * (length - len(str(length)) - len(key) - 3) + b"\n"
    total = len(rest)
    while total != len(rest) + len(str(total)):
        total = len(rest) + len(str(total))
    return str(total).encode() + rest


def _extended(records: bytes) -> bytes:
    return _block(b"././@PaxHeader", len(records), b"x", executable=False) + records + bytes(-len(records) % BLOCK)


def _block(name: bytes, size: int, kind: bytes, executable: bool) -> bytes:
    fields = [
        name.ljust(100, b"\0"), b"0000755\0" if executable else b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size,
        b"00000000000\0", b" " * 8, kind, bytes(100), b"ustar\00000", bytes(64), b"0000000\0", b"0000000\0", bytes(167),
    ]  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
