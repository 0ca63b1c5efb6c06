"""Reads protobuf messages by their wire format alone: enough to see what a file says of itself."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


def fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message in order: number and content, which is empty for numbers. Raises ``ValueError`` for other bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind, size = tag & 7, 0
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            raise ValueError(f"no field has wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field reaches beyond the end")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends (protobuf's document on its encoding)."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        number |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return number, at
    raise ValueError("a number does not end")
