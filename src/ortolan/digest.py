"""sha256 of bytes, files, trees and canonical JSON; kinds are tagged so that they cannot collide."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def of_bytes(data: bytes) -> str:
    """The digest of a file with these bytes: ``sha256:`` and what ``sha256sum`` prints."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """The digest of a file's bytes, read in chunks."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no blanks, UTF-8 and no NaN: equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def of_json(kind: str, value: Any) -> str:
    """The digest of a JSON value; ``kind`` (``key``, ``tree``, ``runtime`` ...) is its prefix and is hashed with it."""
    return f"{kind}:" + hashlib.sha256(f"ortolan.{kind}\0".encode() + canonical(value)).hexdigest()


def of_tree(files: Mapping[str, str]) -> str:
    """The digest of a folder given as ``{relative path: file digest}``."""
    return of_json("tree", dict(files))


def short(digest: str, length: int = 12) -> str:
    """The first hexadecimal digits of a digest, without its kind."""
    return digest.partition(":")[2][:length]
