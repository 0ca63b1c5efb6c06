"""Kernels of DirectML: its registration table, read out of onnxruntime.dll, which this machine cannot run.

DirectML registers its operators from one static table of records (onnxruntime's OperatorRegistration.cpp): name, version of the
operator's definition, domain, functions, names of types, and 64 bits of data types for each.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import wheel
from .table import REGISTERED, Form, Table, merged

_KINDS = (
    "float", "uint4", "int4", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "double",
    "uint32", "uint64", "complex64", "complex128",
)  # fmt: skip
_BITS = ("undefined", *_KINDS, *(f"seq({kind})" for kind in _KINDS))
_NEVER = {kind for kind in _BITS if "string" in kind or "complex" in kind} | {"undefined"}  # has a bit, is not registered
_ALL = 2**64 - 1
_RECORD, _NAMES, _MASKS = 160, 80, 96  # bytes of a record; where the two spans (count, address) stand in it
_INTERNAL = ("MemcpyFromHost", "MemcpyToHost")
_DOMAINS = ("", "com.microsoft")
_ANCHOR, _LEAST = "ReverseSequence", 300  # an operator of the table; how many records it has at least
_KNOWN = {  # what their definitions leave no choice in
    "Not": {"T": frozenset({"bool"})},
    "DynamicQuantizeLinear": {"T1": frozenset({"float"}), "T2": frozenset({"uint8", "int8"})},
    "IsInf": {"T1": frozenset({"float"}), "T2": frozenset({"bool"})},
}
_UNSEEN = (
    "DFT", "GridSample", "If", "OptionalGetElement", "OptionalHasElement", "STFT", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
)  # fmt: skip


class Image:
    """A 64-bit Windows library as it lies in a file."""

    def __init__(self, data: bytes) -> None:
        """Read the section table."""
        self.data = data
        header = struct.unpack_from("<I", data, 60)[0]
        count, optional = struct.unpack_from("<H", data, header + 6)[0], struct.unpack_from("<H", data, header + 20)[0]
        self.base = struct.unpack_from("<Q", data, header + 48)[0]
        rows = (struct.unpack_from("<8sIIII", data, header + 24 + optional + 40 * i) for i in range(count))
        self.sections = {name.rstrip(b"\0").decode(): (at, raw, size) for name, _, at, size, raw in rows}

    def offset(self, address: int) -> int | None:
        """Where the byte at a virtual address stands in the file."""
        relative = address - self.base
        return next((relative - at + raw for at, raw, size in self.sections.values() if at <= relative < at + size), None)

    def word(self, offset: int) -> int:
        """Eight bytes."""
        return int(struct.unpack_from("<Q", self.data, offset)[0])

    def text(self, address: int) -> str | None:
        """The short ASCII string at an address."""
        start = self.offset(address)
        if start is None:
            return None
        raw = self.data[start : self.data.find(b"\0", start, start + 80)]
        return raw.decode() if raw.isascii() and raw.decode().replace(".", "").isalnum() else None if raw else ""


def from_package(version: str) -> Table:
    """The table of ``onnxruntime-directml==version``, taken from the package index."""
    with tempfile.TemporaryDirectory() as folder:
        platform = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.11", "--only-binary", ":all:"]
        uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--target", folder, *platform]
        subprocess.run([*uv, f"onnxruntime-directml=={version}"], check=True)
        plain = wheel.install(Path(folder) / "venv", "onnxruntime", version)
        opsets = wheel.dump(plain, os.environ)["opsets"]
        return table((Path(folder) / "onnxruntime" / "capi" / "onnxruntime.dll").read_bytes(), version, opsets)


def table(library: bytes, version: str, opsets: Mapping[str, int]) -> Table:
    """The table of DirectML's kernels in the bytes of ``onnxruntime.dll``. Raises ``ValueError`` where it is laid out anew."""
    operators: dict[str, list[Form]] = {}
    for domain, op, since, types in records(Image(library)):
        if domain in _DOMAINS and op not in _INTERNAL:
            operators.setdefault(f"{domain or 'ai.onnx'}:{op}", []).append(Form(since, since, types))
    return Table(
        provider="DmlExecutionProvider",
        version=version,
        software=f"onnxruntime-directml {version}",
        level=REGISTERED,
        made=f"scripts/kernels.py directml {version}",
        sources=[
            f"measured: the registration table in onnxruntime.dll of the wheel onnxruntime-directml {version}",
            f"opsets: the refusals of onnxruntime {version} for Linux, built from the same sources",
            "unseen: OperatorRegistration.cpp registers them in code (RegisterCpuOperatorsAsDml, and factories of their own)",
        ],
        operators={"": {name: merged(forms) for name, forms in operators.items()}},
        opsets=opsets,
        unseen=[f"ai.onnx:{op}" for op in _UNSEEN],
    )


def records(image: Image) -> Iterator[tuple[str, str, int, dict[str, frozenset[str]]]]:
    """Domain, operator, version and types of each record."""
    anchor = _find(image)
    first, last = anchor, anchor
    while _is_record(image, first - _RECORD):
        first -= _RECORD
    while _is_record(image, last + _RECORD):
        last += _RECORD
    count = (last - first) // _RECORD + 1
    if count < _LEAST:
        raise ValueError(
            f"DirectML's table has {count} records of {_RECORD} bytes around {_ANCHOR}; at least {_LEAST} were expected"
        )
    for start in range(first, last + 1, _RECORD):
        name, domain = image.text(image.word(start)), image.text(image.word(start + 16))
        types = _types(image, start)
        if types != _KNOWN.get(str(name), types):
            raise ValueError(f"{name} takes {types} by the masks of this library: the data types have other bits than in 1.24.4")
        yield str(domain), str(name), image.word(start + 8) & 0xFFFFFFFF, types


def _find(image: Image) -> int:
    _, raw, size = image.sections[".rdata"]
    for offset in range(raw, raw + size - _RECORD, 8):
        if image.text(image.word(offset)) == _ANCHOR and _is_record(image, offset):
            return offset
    raise ValueError(f"no record of {_ANCHOR} in this library")


def _is_record(image: Image, start: int) -> bool:
    count = image.word(start + _NAMES)
    named = image.text(image.word(start)) and image.text(image.word(start + 16)) is not None
    return bool(named and 0 < image.word(start + 8) & 0xFFFFFFFF < 100 and 0 < count < 10 and count == image.word(start + _MASKS))


def _types(image: Image, start: int) -> dict[str, frozenset[str]]:
    names, masks = image.offset(image.word(start + _NAMES + 8)), image.offset(image.word(start + _MASKS + 8))
    if names is None or masks is None:
        raise ValueError(f"the record at {start} has no types")
    found = {}
    for place in range(image.word(start + _NAMES)):
        mask = image.word(masks + 8 * place)
        if mask != _ALL and mask >> len(_BITS):
            raise ValueError(f"the record at {start} has a data type that this script does not know: mask {mask:#x}")
        kinds = frozenset(kind for bit, kind in enumerate(_BITS) if mask >> bit & 1) - _NEVER
        found[str(image.text(image.word(names + 8 * place)))] = kinds
    return found
