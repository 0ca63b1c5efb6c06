"""What a shared library for Linux says of itself: read from the file's own tables, without running it.

The layout is that of ``elf.h`` and of "ELF-64 Object File Format"; versions of symbols, that of the Linux Standard Base.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MACHINES = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}
"""``e_machine`` by the names that container images use."""
_SHARED = 3  # e_type
_SYMBOLS, _LINKED, _CODE = 2, 11, 1  # sh_type of .symtab, of .dynsym, and of what the file holds bytes for
_LOAD, _DYNAMIC = 1, 2  # p_type
_NEEDED, _STRINGS, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29  # d_tag
_OF_SYMBOL, _VERSIONS = 0x6FFFFFF0, 0x6FFFFFFE  # the same
_ENTRY = 16  # bytes of an entry of the versions, of a library and of a symbol alike
_NAME = 1 << 16  # bytes that no name has


class NotElf(ValueError):
    """The bytes are no shared library of 64 bits in little-endian order, or one that is cut short."""


@dataclass(frozen=True)
class Library:
    """``versions``: ``{library: versions of its symbols that are needed}``; ``symbols``: ``{version: its symbols}``.

    ``stripped``: it has no symbols but those of linking, and nothing for debuggers.
    """

    machine: str
    soname: str
    needed: tuple[str, ...]
    runpath: str
    versions: dict[str, tuple[str, ...]]
    symbols: dict[str, tuple[str, ...]]
    stripped: bool


def read(data: bytes) -> Library:
    """A library's own words. NotElf when it has none."""
    try:
        return _read(data)
    except (struct.error, OverflowError, IndexError, UnicodeDecodeError) as error:
        raise NotElf("the file ends before what its head speaks of") from error


def _read(data: bytes) -> Library:
    if data[:4] != b"\x7fELF":
        raise NotElf("not an ELF file")
    if data[4:6] != b"\x02\x01":
        raise NotElf("not an ELF file of 64 bits, little-endian")
    kind, machine = struct.unpack_from("<HH", data, 16)
    if kind != _SHARED:
        raise NotElf("an ELF file, and not a shared library")
    entries = list(_dynamic(data))
    if not entries:
        raise NotElf("a library without a table for the loader")
    strings = _place(data, _first(entries, _STRINGS))
    runpath = next((value for tag, value in entries if tag in {_RPATH, _RUNPATH}), None)
    soname = next((value for tag, value in entries if tag == _SONAME), None)
    wanted = _versions(data, entries, strings)
    return Library(
        machine=MACHINES.get(machine, f"machine {machine}"),
        soname="" if soname is None else _text(data, strings + soname),
        needed=tuple(_text(data, strings + value) for tag, value in entries if tag == _NEEDED),
        runpath="" if runpath is None else _text(data, strings + runpath),
        versions={file: tuple(sorted({name for _, name in names})) for file, names in wanted.items()},
        symbols=_symbols(data, entries, strings, {number: name for names in wanted.values() for number, name in names}),
        stripped=not any(section[1] == _SYMBOLS for section in _sections(data)) and not _debugging(data),
    )


def _table(data: bytes, form: str, at: int, size: int, count: int) -> Iterator[tuple[Any, ...]]:
    return (struct.unpack_from(form, data, at + index * size) for index in range(count))


def _segments(data: bytes) -> list[tuple[Any, ...]]:
    """Of each: type, flags, offset, address, physical address, bytes in the file, bytes in memory, alignment."""
    at, (size, count) = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<HH", data, 54)
    return list(_table(data, "<IIQQQQQQ", at, size, count))


def _sections(data: bytes) -> list[tuple[Any, ...]]:
    """Of each: name, type, flags, address, offset, size and more."""
    at, (size, count) = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<HH", data, 58)
    return list(_table(data, "<IIQQQQIIQQ", at, size, count)) if at else []


def _debugging(data: bytes) -> bool:
    """Whether a section's name says that it is for debuggers alone."""
    sections = _sections(data)
    if not sections:
        return False
    names = sections[struct.unpack_from("<H", data, 62)[0]][4]
    return any(_text(data, names + section[0]).startswith(".debug") for section in sections if section[1] == _CODE)


def _dynamic(data: bytes) -> Iterator[tuple[int, int]]:
    for segment in _segments(data):
        if segment[0] == _DYNAMIC:
            for tag, value in _table(data, "<QQ", segment[2], 16, segment[5] // 16):
                if tag == 0:
                    return
                yield tag, value
            return


def _first(entries: Sequence[tuple[int, int]], wanted: int) -> int:
    found = next((value for tag, value in entries if tag == wanted), None)
    if found is None:
        raise NotElf(f"the table for the loader has no entry {wanted}")
    return found


def _place(data: bytes, address: int) -> int:
    """Where in the file the byte lies that is loaded to an address."""
    for kind, _, offset, begin, _, size, *_ in _segments(data):
        if kind == _LOAD and begin <= address < begin + size:
            return int(offset + address - begin)
    raise NotElf(f"nothing of the file is loaded to {address:#x}")


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + _NAME)
    if end < 0:
        raise NotElf("a name in the file has no end")
    return data[at:end].decode()


def _versions(data: bytes, entries: Sequence[tuple[int, int]], strings: int) -> dict[str, list[tuple[int, str]]]:
    """The versions of symbols that are needed of each library, with the numbers that symbols have for them."""
    found: dict[str, list[tuple[int, str]]] = {}
    if not any(tag == _VERSIONS for tag, _ in entries):
        return found
    left = iter(range(len(data) // _ENTRY))
    for at in _chain(data, _place(data, _first(entries, _VERSIONS)), left):
        _, _, file, first = struct.unpack_from("<HHII", data, at)
        named = (struct.unpack_from("<6xHI", data, one) for one in _chain(data, at + first, left))
        found.setdefault(_text(data, strings + file), []).extend((number, _text(data, strings + name)) for number, name in named)
    return found


def _chain(data: bytes, at: int, left: Iterator[int]) -> Iterator[int]:
    """Where the entries of a chain stand, as the loader goes along it: until one names no next, whatever their count says.

    ``left`` ends after as many entries as a file of this size can hold in all its chains.
    """
    for _ in left:
        yield at
        (following,) = struct.unpack_from("<12xI", data, at)
        if following == 0:
            return
        at += following
    raise NotElf("its versions of symbols are more than it has room for")


def _symbols(
    data: bytes, entries: Sequence[tuple[int, int]], strings: int, names: Mapping[int, str]
) -> dict[str, tuple[str, ...]]:
    """The symbols of each version, as far as the file has a table of sections."""
    found: dict[str, list[str]] = {}
    table = next((section for section in _sections(data) if section[1] == _LINKED), None)
    if table is None or not names:
        return {}
    numbers = _place(data, _first(entries, _OF_SYMBOL))
    for index, (name, *_) in enumerate(_table(data, "<IBBHQQ", table[4], 24, table[5] // 24)):
        number = struct.unpack_from("<H", data, numbers + 2 * index)[0] & 0x7FFF  # the bit above it: hidden
        if number in names:
            found.setdefault(names[number], []).append(_text(data, strings + name))
    return {version: tuple(sorted(symbols)) for version, symbols in sorted(found.items())}
