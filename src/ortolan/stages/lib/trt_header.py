"""Reads the header of a TensorRT-RTX engine, which says without a GPU what the engine is for.

The layout is not documented. Measured on engines of TensorRT-RTX 1.7.1 for SM80 to SM121, whose headers differ in exactly these
fields: ``vtrt``, at 16 the size, at 24 four bytes of version, at 32 one bit for each compute capability.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_LAYOUT = struct.Struct("<4s4xQQ4B4sI")
_BITS = ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121")


@dataclass(frozen=True)
class Header:
    """``version`` is ``1.7.1.116``; ``size`` in bytes; ``capabilities`` such as ``SM86``."""

    version: str
    size: int
    capabilities: tuple[str, ...]


def read(engine: bytes) -> Header | None:
    """The header, or ``None`` where this is no engine in the known layout."""
    if len(engine) < _LAYOUT.size:
        return None
    magic, _, size, *version, again, bits = _LAYOUT.unpack_from(engine)
    if magic != b"vtrt" or again != b"vtrt" or bits >> len(_BITS):
        return None
    return Header(".".join(map(str, version)), size, tuple(name for bit, name in enumerate(_BITS) if bits >> bit & 1))
