"""Make a release folder of a build: whole or not at all, and the same bytes whenever the inputs are the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__, digest
from ..assemble import alone, swap
from ..disk import disk, part_of, remove, sweep
from ..errors import OrtolanError
from ..outputs.reduced_runtime import RECORD
from ..revision import Revision
from . import layout
from .archive import Archived, write
from .check import PREFLIGHT_INSIDE, read_sums
from .layout import (
    DESCRIPTION,
    MANIFEST,
    MODEL_SIGNATURE,
    PREFLIGHT,
    PROVENANCE,
    SBOM,
    SUMS,
    SUMS_SIGNATURE,
    TAR,
    ZST,
    FilePart,
    Release,
)
from .provenance import statement
from .sbom import sbom
from .source import Source, damaged

_MOST = 10**15
"""A sequence number in microseconds since 1970 would still do; JSON's numbers are exact up to 2**53 (RFC 8259, section 6)."""


@dataclass(frozen=True)
class Options:
    """Where releases go, and what they are told beside the build; ``plain`` keeps ``bundle.tar``, ``sequence`` was asked for."""

    output: Path
    revision: Revision
    sequence: int | None = None
    plain: bool = False


@dataclass(frozen=True)
class Bundled:
    """A release folder; ``new`` unless it was there already."""

    folder: Path
    release: Release
    new: bool


def sequence(options: Options, environ: Mapping[str, str] = os.environ) -> int:
    """The number by which devices tell older releases: as asked for, else SOURCE_DATE_EPOCH, else the commit's time.

    https://reproducible-builds.org/specs/source-date-epoch/ says what the variable is. OrtolanError when there is none of them.
    """
    if options.sequence is not None:
        return _countable(options.sequence)
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not (epoch.isascii() and epoch.isdecimal()):
        raise OrtolanError(f"SOURCE_DATE_EPOCH is no number of seconds: '{epoch}'", hint="unset it, or --sequence N")
    if not epoch and options.revision.time is None:
        why = "the project has no git commit whose time it could bear, and SOURCE_DATE_EPOCH is not set"
        raise OrtolanError("the release has no sequence number", why=why, hint="--sequence N, larger than the last release's")
    return _countable(int(epoch) if epoch else int(options.revision.time or 0))


def _countable(number: int) -> int:
    """OrtolanError for a number that not every reader of JSON keeps, and that hardly leaves room for the next release's."""
    if number > _MOST:
        why = "devices refuse what is smaller than the largest that they ever ran: a number this large ends all updates"
        raise OrtolanError(f"{number} is too large a sequence number", why=why, hint=f"--sequence N, {_MOST} at most")
    return number


def bundle(source: Source, options: Options) -> Bundled:
    """Make ``<output>/<target>/<tag>/`` of a build.

    A release of the same bytes stays, with its signatures and deltas; so does a signed one that has the same archives and was
    made from another commit, unless a sequence is asked for. An unsigned one with other bytes is replaced. OrtolanError when a
    file of the build differs from its manifest, and when the release is signed and would get other bytes.
    """
    made = source.manifest
    folder = options.output / made.target.name / made.tag
    sweep(folder.parent)
    part = part_of(folder)
    with disk(folder), alone(folder.parent):
        try:
            part.mkdir()
            release = _fill(part, source, options)
            kept = _kept(folder, part, release, asked=options.sequence is not None)
            if kept:
                return Bundled(folder, kept, new=False)
            swap(part, folder)
        finally:
            remove(part)
    return Bundled(folder, release, new=True)


def _fill(part: Path, source: Source, options: Options) -> Release:
    """Write every file of the release."""
    archived = _archives(part, source, keep=options.plain)
    release = _release(source, archived, options)
    preflight = (source.folder / PREFLIGHT_INSIDE).read_bytes()
    if digest.of_bytes(preflight) != source.digests[PREFLIGHT_INSIDE]:
        raise damaged(source.folder, PREFLIGHT_INSIDE, "it changed while it was bundled")
    files = {
        MANIFEST: source.written,
        PREFLIGHT: preflight,
        DESCRIPTION: release.to_bytes(),
        SBOM: sbom(source.manifest, release, _library(source)),
        PROVENANCE: statement(source.manifest, release),
    }
    for name, data in files.items():
        (part / name).write_bytes(data)
    (part / SUMS).write_bytes(_sums({name: digest.of_bytes(data) for name, data in files.items()} | _named(release, part)))
    return release


def _library(source: Source) -> dict[str, Any] | None:
    """The record of the ONNX Runtime that the build carries."""
    if RECORD not in source.digests:
        return None
    data = (source.folder / RECORD).read_bytes()
    if digest.of_bytes(data) != source.digests[RECORD]:
        raise damaged(source.folder, RECORD, "it changed while it was bundled")
    found: dict[str, Any] = json.loads(data)
    return found


def _archives(part: Path, source: Source, *, keep: bool) -> Archived:
    try:
        archived = write(source.members(), part / ZST, part / TAR if keep else None)
    except ValueError as error:
        raise damaged(source.folder, "a file", str(error)) from error
    for path, found in archived.files.items():
        if found.digest != source.digests[path]:
            raise damaged(source.folder, path, f"its digest is {found.digest}, the manifest says {source.digests[path]}")
    return archived


def _release(source: Source, archived: Archived, options: Options) -> Release:
    made = source.manifest
    programs = {member.path: member.executable for member in source.members()}
    files = {n: FilePart(digest=f.digest, size=f.size, executable=programs[n]) for n, f in sorted(archived.files.items())}
    return Release(
        release_version=1, tag=made.tag, target=made.target.name, model=made.model.name, model_hash=made.model.hash,
        sequence=sequence(options), revision=options.revision.name, ortolan=__version__, manifest=source.digests[MANIFEST],
        files=files, unpacked=sum(part.size for part in files.values()), tar=archived.tar, zst=archived.zst,
    )  # fmt: skip


def _named(release: Release, part: Path) -> dict[str, str]:
    return {ZST: release.zst.digest} | ({TAR: release.tar.digest} if (part / TAR).exists() else {})


def _sums(digests: Mapping[str, str]) -> bytes:
    """As sha256sum prints it and ``sha256sum -c`` reads it."""
    return "".join(f"{hashed.removeprefix('sha256:')}  {name}\n" for name, hashed in sorted(digests.items())).encode()


def _kept(folder: Path, part: Path, release: Release, *, asked: bool) -> Release | None:
    """The release that is there already, where it stays; ``asked`` is whether a sequence was."""
    if not folder.exists():
        return None
    differ = _differing(folder, part)
    if not differ:
        return release
    if not any((folder / name).exists() for name in (SUMS_SIGNATURE, MODEL_SIGNATURE)):
        return None
    if differ <= {DESCRIPTION, PROVENANCE} and not asked:
        return layout.read(folder)
    what = f"the release is signed, and now {', '.join(sorted(differ))} would have other bytes"
    why = "devices and stores may have it already, and know its bytes by the signature"
    raise OrtolanError(what, where=str(folder), why=why, hint="to release it anew remove the folder, bundle and sign again")


def _differing(folder: Path, part: Path) -> set[str]:
    """The files of a release that are not those of the new one, or are damaged."""
    new = read_sums(part)
    try:
        old = read_sums(folder)
    except OrtolanError:
        return {SUMS}
    found = {name: digest.of_file(folder / name) for name in old if (folder / name).is_file()}
    return {name for name in {*old, *new} if not old.get(name) == new.get(name) == found.get(name)}
