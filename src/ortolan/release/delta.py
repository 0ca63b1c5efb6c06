"""A delta: the patch that makes a release's archive of the one that a device has, where it is worth sending.

The unit is the whole plain tar: a device makes that of its installed files (see ``tarball``), applies the patch, and holds the
digest of what comes out against the release's signed description. Whatever goes wrong there, it fetches the full bundle.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import zstandard
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import digest
from ..disk import json_bytes, write_bytes
from ..errors import OrtolanError
from ..events import Emit, Event
from . import layout
from .layout import DELTA, TAR, ZST, Digest, Name, Release, Size
from .patch import KINDS, Method, run_program

WORTH = 0.8
"""A patch is written when it is smaller than this share of ``bundle.tar.zst``: a device that applies one reads all of what it
has, needs room for a second archive, and fetches the full bundle after all when that fails."""


class Delta(BaseModel):
    """``delta-<first 12 digits of OLD's digest>.json``, version 1. ``from`` and ``to`` are the digests of the plain archives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delta_version: Literal[1]
    old: Annotated[Digest, Field(alias="from")]
    new: Annotated[Digest, Field(alias="to")]
    method: Method
    file: Name
    digest: Digest
    size: Size
    old_size: Size
    new_size: Size

    def to_bytes(self) -> bytes:
        """Indented canonical JSON with a newline at the end."""
        return json_bytes(self.model_dump(mode="json", by_alias=True))


@dataclass(frozen=True)
class Tried:
    """A method: the size of its patch in bytes, or None and why there is none; what applied it and came to NEW's digest."""

    method: Method
    size: int | None
    why: str = ""
    checked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """What came of it. Where the full bundle is to be sent, ``delta`` and ``path`` are None and ``why`` says the reason."""

    old: Release
    new: Release
    tried: tuple[Tried, ...]
    warnings: tuple[str, ...]
    delta: Delta | None = None
    path: Path | None = None
    why: str = ""


def make(old: Path, new: Path, emit: Emit, method: Method | None = None) -> Made:
    """Write the delta from one release folder to another into the latter; nothing where it is not worth it.

    A ``method`` may be asked for, else all are tried. Each patch is applied and the result compared before one is written.
    OrtolanError when the two are not releases of one model for one target, or the same, or damaged.
    """
    before, after = layout.read(old), layout.read(new)
    warnings = _fitting(before, after, new)
    with _timed(emit, "unpack"):
        tars = load(old, before), load(new, after)
    patches: dict[Method, bytes] = {}
    tried = tuple(_try(one, *tars, patches, emit) for one in KINDS if method in {None, one})
    best = min(patches, key=lambda one: len(patches[one]), default=None)
    why = _not_worth(after, len(patches[best])) if best else "no method is for archives of this size"
    if best is None or why:
        _clear(new, before)
        return Made(before, after, tried, warnings, why=why)
    delta = _describe(before, after, best, patches[best])
    return Made(before, after, tried, warnings, delta, _write(new, before, delta, patches[best]))


def name_of(old: Release) -> str:
    """What the names of the files of a delta from this release begin with."""
    return DELTA + digest.short(old.tar.digest)


def read(path: Path) -> Delta:
    """The description of a delta; OrtolanError when it is not one."""
    try:
        return Delta.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OrtolanError("not a delta", where=str(path), why=str(error).splitlines()[0], hint="./inv delta OLD NEW") from error


def load(folder: Path, release: Release) -> bytes:
    """The plain archive of a release, compared with its digest. OrtolanError when it is missing, damaged or too large."""
    path = folder / (TAR if (folder / TAR).is_file() else ZST)
    most = max(kind.most for kind in KINDS.values())
    if release.tar.size > most:
        why = f"unpacked it has {release.tar.size:,} bytes; deltas are made of {most:,} at most"
        raise OrtolanError("too large for a delta", where=str(path), why=why, hint="send the full bundle")
    try:
        with path.open("rb") as raw:
            packed = path.name == ZST
            stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) if packed else raw
            found = stream.read(release.tar.size + 1)
    except (OSError, zstandard.ZstdError) as error:
        raise OrtolanError("cannot read the bundle", where=str(path), why=str(error), hint="bundle or fetch it again") from error
    if digest.of_bytes(found) != release.tar.digest:
        why = f"its archive does not have the digest {release.tar.digest} of {layout.DESCRIPTION}"
        raise OrtolanError("the bundle is damaged", where=str(path), why=why, hint="bundle or fetch it again")
    return found


def _fitting(old: Release, new: Release, where: Path) -> tuple[str, ...]:
    """OrtolanError when a device that has OLD is not to get NEW; else warnings."""
    for what, before, after in (("target", old.target, new.target), ("model", old.model, new.model)):
        if before != after:
            why = f"{old.tag} is for the {what} {before}, {new.tag} for {after}"
            raise OrtolanError(f"no delta between two {what}s", where=str(where), why=why, hint="./inv diff compares them")
    if old.tar.digest == new.tar.digest:
        raise OrtolanError("OLD and NEW are the same bundle", where=str(where), why=f"both archives have {new.tar.digest}")
    if new.sequence <= old.sequence:
        return (f"devices refuse to go from sequence {old.sequence} to {new.sequence}: are OLD and NEW the right way round?",)
    return ()


def _try(method: Method, old: bytes, new: bytes, patches: dict[Method, bytes], emit: Emit) -> Tried:
    """Make a patch and apply it; it goes into ``patches``. OrtolanError when it does not give ``new``."""
    kind = KINDS[method]
    if max(len(old), len(new)) > kind.most:
        return Tried(method, None, f"only for archives of {kind.most:,} bytes at most")
    with _timed(emit, method):
        patches[method] = kind.make(old, new)
    with _timed(emit, f"{method}: apply and compare"):
        checked = _check(method, old, patches[method], new)
    return Tried(method, len(patches[method]), checked=checked)


def _check(method: Method, old: bytes, patch: bytes, new: bytes) -> tuple[str, ...]:
    """What gave ``new`` of the patch: the library, and the program where it is installed."""
    try:
        same = KINDS[method].apply(old, patch, len(new)) == new
        program, why = _by_program(method, old, patch, new) if same else "", "" if same else "the library makes another archive"
    except ValueError as error:
        program, why = "", str(error)
    if why:
        hint = "try the other --method, or send the full bundle"
        raise OrtolanError(f"the {method} patch does not give NEW", why=why, hint=hint)
    return ("library", *([program] if program else []))


def _by_program(method: Method, old: bytes, patch: bytes, new: bytes) -> str:
    with tempfile.TemporaryDirectory(prefix="ortolan-delta-") as folder:
        paths = [Path(folder) / name for name in ("old", "patch", "new")]
        paths[0].write_bytes(old)
        paths[1].write_bytes(patch)
        program = run_program(method, *paths)
        if program and digest.of_file(paths[2]) != digest.of_bytes(new):
            raise ValueError(f"{program} makes another archive")
    return program


def _not_worth(new: Release, size: int) -> str:
    """Why a patch of this size is not written; empty where it is."""
    if size < WORTH * new.zst.size:
        return ""
    return f"the smallest patch is {size / new.zst.size:.1%} of {ZST}; it is worth it below {WORTH:.0%}"


def _describe(old: Release, new: Release, method: Method, patch: bytes) -> Delta:
    told = {"from": old.tar.digest, "to": new.tar.digest, "old_size": old.tar.size, "new_size": new.tar.size}
    about = {"file": f"{name_of(old)}.{_SUFFIX[method]}", "digest": digest.of_bytes(patch), "size": len(patch)}
    return Delta.model_validate({"delta_version": 1, "method": method, **told, **about})


_SUFFIX: dict[Method, str] = {"zstd": "zst", "bsdiff": "bsdiff"}


def _write(folder: Path, old: Release, delta: Delta, patch: bytes) -> Path:
    """The patch first and its description last: a description has its patch beside it at any moment."""
    path = folder / f"{name_of(old)}.json"
    path.unlink(missing_ok=True)
    write_bytes(folder / delta.file, patch)
    write_bytes(path, delta.to_bytes())
    for name in {f"{name_of(old)}.{suffix}" for suffix in _SUFFIX.values()} - {delta.file}:
        (folder / name).unlink(missing_ok=True)
    return path


def _clear(folder: Path, old: Release) -> None:
    """Remove an earlier delta from the same release: it leads to what this folder held before."""
    for suffix in ("json", *_SUFFIX.values()):
        (folder / f"{name_of(old)}.{suffix}").unlink(missing_ok=True)


@contextmanager
def _timed(emit: Emit, label: str) -> Iterator[None]:
    began = time.monotonic()
    emit(Event("start", label))
    yield
    emit(Event("done", label, seconds=time.monotonic() - began))
