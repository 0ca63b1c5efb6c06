"""Reads the versions that a model names, and writes a model of one node, without the package onnx, which devices lack."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO

DEFAULT_DOMAIN = "ai.onnx"
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types of protobuf
_IR, _GRAPH, _OPSETS = 1, 7, 8  # fields of ModelProto (onnx.proto)
_DOMAIN, _VERSION = 1, 2  # fields of OperatorSetIdProto
_RELU = bytes.fromhex(
    "0a0c0a0178120179220452656c75120570726f62655a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a020801"
)
"""A GraphProto: ``y = Relu(x)`` for float32 of shape [1]."""


def versions(path: Path) -> tuple[int, dict[str, int]]:
    """The IR version and ``{domain: opset}``, sorted by domain, of the model in a file. ValueError for what is no model."""
    ir, opsets = 0, {}
    with path.open("rb") as stream:
        size = path.stat().st_size
        while stream.tell() < size:
            field, value = _field(stream, size, {_IR, _OPSETS})
            if field == _IR and isinstance(value, int):
                ir = value
            elif field == _OPSETS and isinstance(value, bytes):
                domain, version = _opset(value)
                opsets[domain] = version
    if not opsets:
        raise ValueError(f"{path.name} names no opset: it is no ONNX model")
    return ir, dict(sorted(opsets.items()))


def relu(ir: int, opsets: Mapping[str, int]) -> bytes:
    """A model of one node that names these versions."""
    named = b"".join(_pair(_OPSETS, _imported("" if d == DEFAULT_DOMAIN else d, v)) for d, v in opsets.items())
    return _tag(_IR, _VARINT) + _varint(ir) + _pair(_GRAPH, _RELU) + named


def _imported(domain: str, version: int) -> bytes:
    name = _pair(_DOMAIN, domain.encode()) if domain else b""
    return name + _tag(_VERSION, _VARINT) + _varint(version)


def _pair(field: int, data: bytes) -> bytes:
    return _tag(field, _BYTES) + _varint(len(data)) + data


def _tag(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _opset(data: bytes) -> tuple[str, int]:
    domain, version, stream = "", 0, BytesIO(data)
    while stream.tell() < len(data):
        field, value = _field(stream, len(data), {_DOMAIN, _VERSION})
        if field == _DOMAIN and isinstance(value, bytes):
            domain = value.decode()
        elif field == _VERSION and isinstance(value, int):
            version = value
    return domain or DEFAULT_DOMAIN, version


def _field(stream: IO[bytes], end: int, wanted: set[int]) -> tuple[int, int | bytes]:
    """The next field and its value; of one that nobody wants, which may have gigabytes, nothing is read."""
    field, wire = divmod(_read(stream), 8)
    if wire == _VARINT:
        return field, _read(stream)
    if wire not in {_EIGHT, _BYTES, _FOUR}:
        raise ValueError(f"wire type {wire}: it is no ONNX model")
    size = _read(stream) if wire == _BYTES else {_EIGHT: 8, _FOUR: 4}[wire]
    if size > end - stream.tell():  # what is damaged may name any number
        raise ValueError(f"it ends within a field of {size} bytes: it is no ONNX model")
    if field in wanted:
        return field, stream.read(size)
    stream.seek(size, 1)
    return field, b""


def _read(stream: IO[bytes]) -> int:
    value, shift = 0, 0
    while shift < 70:
        byte = stream.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return value
    raise ValueError("it ends within a number: it is no ONNX model")
