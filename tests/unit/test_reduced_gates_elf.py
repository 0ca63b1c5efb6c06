"""Shared libraries that were made to mislead: their reader ends soon, and has one error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ortolan.stages.lib import elf

_NEEDED, _STRINGS, _SONAME, _VERSIONS, _COUNT = 1, 5, 14, 0x6FFFFFFE, 0x6FFFFFFF  # d_tag
_HEAD, _SEGMENT, _PAIR = 64, 56, 16  # bytes
NAMES = b"\0libit.so.1\0libc.so.6\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE\0"


def name(text: str) -> int:
    return NAMES.index(text.encode() + b"\0")


def auxiliary(version: str, number: int, following: int) -> bytes:
    return struct.pack("<IHHII", 0, 0, number, name(version), following)


def verneed(count: int, first: int, following: int) -> bytes:
    return struct.pack("<HHIII", 1, count, name("libc.so.6"), first, following)


GOOD = verneed(2, 16, 0) + auxiliary("GLIBC_2.34", 2, 16) + auxiliary("GLIBC_2.17", 3, 0)


def library(versions: bytes = GOOD, count: int = 1) -> bytes:
    """One without sections: its head, what is loaded, the table for the loader, names, and its versions."""
    at = _HEAD + 2 * _SEGMENT + 6 * _PAIR
    whole = at + len(NAMES) + len(versions)
    entries = {
        _NEEDED: name("libc.so.6"), _SONAME: name("libit.so.1"), _STRINGS: at, _VERSIONS: at + len(NAMES), _COUNT: count, 0: 0,
    }  # fmt: skip
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, _HEAD, 0, 0, 64, _SEGMENT, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, whole, whole, 4096)
    table = struct.pack("<IIQQQQQQ", 2, 4, at - 6 * _PAIR, at - 6 * _PAIR, 0, 6 * _PAIR, 6 * _PAIR, 8)
    return head + load + table + b"".join(struct.pack("<QQ", *entry) for entry in entries.items()) + NAMES + versions


def test_a_library_without_sections_is_read() -> None:
    found = elf.read(library())
    assert (found.machine, found.soname, found.needed) == ("amd64", "libit.so.1", ("libc.so.6",))
    assert found.versions == {"libc.so.6": ("GLIBC_2.17", "GLIBC_2.34")}


def test_versions_end_where_they_name_no_next_whatever_their_count() -> None:
    """So the loader goes along them: a count of 2 to the 40th made the reader go on, a small one made it miss some."""
    for count in (0, 1, 1 << 40):
        assert elf.read(library(count=count)) == elf.read(library())
    short = verneed(1, 16, 0) + auxiliary("GLIBC_2.17", 2, 16) + auxiliary("GLIBC_PRIVATE", 3, 0)
    assert elf.read(library(short)).versions == {"libc.so.6": ("GLIBC_2.17", "GLIBC_PRIVATE")}


def test_no_version_hides_another() -> None:
    """Two entries of one library, and two versions of one number."""
    twice = verneed(1, 32, 16) + verneed(2, 32, 0) + auxiliary("GLIBC_PRIVATE", 2, 0)
    twice += auxiliary("GLIBC_2.34", 2, 16) + auxiliary("GLIBC_2.17", 2, 0)
    assert elf.read(library(twice)).versions == {"libc.so.6": ("GLIBC_2.17", "GLIBC_2.34", "GLIBC_PRIVATE")}


def test_versions_that_overlap_are_refused() -> None:
    """Each of them goes along all: a file of a few MB would take hours."""
    many = b"".join(verneed(1, 16, 16) for _ in range(2000)) + verneed(1, 16, 0) + auxiliary("GLIBC_2.17", 2, 0)
    with pytest.raises(elf.NotElf, match="more than it has room for"):
        elf.read(library(many))


@settings(max_examples=400)
@given(st.integers(0, len(library()) - 1), st.integers(0, 255))
def test_a_damaged_byte_is_read_or_refused(at: int, byte: int) -> None:
    data = library()
    try:
        elf.read(data[:at] + bytes([byte]) + data[at + 1 :])
    except elf.NotElf:
        return


@settings(max_examples=200)
@given(st.binary(min_size=16, max_size=200), st.integers(0, 1 << 63))
def test_any_versions_are_read_or_refused(versions: bytes, count: int) -> None:
    try:
        elf.read(library(versions, count))
    except elf.NotElf:
        return
