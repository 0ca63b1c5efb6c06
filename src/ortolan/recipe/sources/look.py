"""A cheap look at a file or folder, by which sources recognise what it is: name, first bytes, names inside an archive."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

_HEAD = 1 << 16  # bytes
_AGAIN = "copy it again from where it came, and compare its size and checksum"
_GZIP = b"\x1f\x8b"
_ARCHIVE = b"PK\x03\x04"
_PLAINLY = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, and the model is elsewhere", "git lfs pull"),
    (_GZIP, "it is compressed by gzip", "unpack it: gunzip"),
    (b"<!doctype html", "it is a web page, as a failed download leaves it", _AGAIN),
    (b"<html", "it is a web page, as a failed download leaves it", _AGAIN),
    (b"ir_version:", "it is ONNX as text", 'onnx.save(onnx.load(path, format="textproto"), "model.onnx")'),
)
"""First bytes in lower case that no model begins with, what they say, and what to do."""


@dataclass(frozen=True)
class Look:
    """What is at ``path``; every part is read when it is first asked for. Nothing is ever unpickled or run."""

    path: Path

    @property
    def suffix(self) -> str:
        """The last suffix in lower case, with its dot."""
        return self.path.suffix.lower()

    @cached_property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @cached_property
    def head(self) -> bytes:
        """Its first 64 KiB; empty for a folder and for what cannot be read."""
        try:
            with self.path.open("rb") as stream:
                return stream.read(_HEAD)
        except OSError:
            return b""

    @cached_property
    def compressed(self) -> bool:
        """Whether gzip packed it, as joblib does where it is asked to."""
        return self.head.startswith(_GZIP)

    @cached_property
    def amiss(self) -> tuple[str, str]:
        """Why it is no whole file of any kind of model, and what to do about it; empty where its first bytes do not tell."""
        if self.folder:
            return "", ""
        if not self.head:
            return "it is empty", _AGAIN
        if self.head.startswith(_ARCHIVE) and not self.members:
            return "it begins as an archive and does not end as one: it was cut short", _AGAIN
        start = self.head[:64].lstrip().lower()
        return next(((why, hint) for sign, why, hint in _PLAINLY if start.startswith(sign)), ("", ""))

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The names in a zip archive, or of what stands in a folder; empty for other files."""
        if self.folder:
            return tuple(sorted(inner.name for inner in self.path.iterdir()))
        if not self.head.startswith(_ARCHIVE):
            return ()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return tuple(sorted(archive.namelist()))
        except (OSError, ValueError, zipfile.BadZipFile):
            return ()


class Missing(NamedTuple):
    """What a file does not tell: the ``lines`` that a recipe would need, and ``why``."""

    lines: str
    why: str


@dataclass(frozen=True)
class Offer:
    """What a kind of source makes of a file: ``what`` it is in words, its ``[source]`` table, and what the file does not tell."""

    what: str
    table: dict[str, Any]
    missing: tuple[Missing, ...] = ()
