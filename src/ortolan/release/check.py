"""Check a release folder against itself: SHA256SUMS over its files, release.json over the bundle and each file in it.

This says that the files belong together. Who made them is said by the signature over ``SHA256SUMS``.
"""

from __future__ import annotations

import re
from pathlib import Path

from .. import digest, manifest
from ..errors import OrtolanError
from ..manifest import Manifest
from . import layout
from .layout import BESIDE, DELTA, DESCRIPTION, MANIFEST, PREFLIGHT, PROVENANCE, SBOM, SUMS, TAR, ZST, Release
from .unpack import check_archive

PREFLIGHT_INSIDE = f"device/{PREFLIGHT}"
_LISTED = {DESCRIPTION, MANIFEST, PREFLIGHT, SBOM, PROVENANCE, ZST}
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)")


def check(folder: Path) -> Release:
    """The release in ``folder``, all of whose files have been read. OrtolanError naming the first file that differs.

    Archives are read as streams, so that memory stays flat; nothing is written.
    """
    sums = read_sums(folder)
    _check_names(folder, sums)
    for name in sorted(sums.keys() - {ZST, TAR}):
        _same(folder / name, digest.of_file(folder / name), sums[name], SUMS)
    release = layout.read(folder)
    _check_parts(folder, release, sums)
    for name in sorted(sums.keys() & {ZST, TAR}):
        check_archive(folder / name, release, packed=name == ZST)
    return release


def read_sums(folder: Path) -> dict[str, str]:
    """``{name: sha256:...}`` of ``SHA256SUMS``; OrtolanError when it is missing, not as sha256sum writes it, or names others."""
    path = folder / SUMS
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    found = [_LINE.fullmatch(line) for line in lines]
    named = [match["name"] for match in found if match]
    if len(named) != len(found) or named != sorted(set(named)) or not _LISTED <= set(named) <= _LISTED | {TAR}:
        raise _damaged(path, f"it should have one line for each of {', '.join(sorted(_LISTED))}, maybe {TAR}, and no other")
    return {match["name"]: f"sha256:{match['digest']}" for match in found if match}


def _check_names(folder: Path, sums: dict[str, str]) -> None:
    """Every listed file is there, nothing that is not listed, and all are files of their own: what lies elsewhere is not sent."""
    for name in sums:
        if not (folder / name).is_file():
            raise _damaged(folder / name, f"{SUMS} lists it, and there is no such file")
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise OrtolanError(
                "is no file of its own", where=str(path), why="a release has no links and no folders", hint="remove it"
            )
        if path.name not in {*sums, *BESIDE} and not path.name.startswith(DELTA):
            raise OrtolanError("is no part of the release", where=str(path), why=f"{SUMS} does not list it", hint="remove it")


def _check_parts(folder: Path, release: Release, sums: dict[str, str]) -> None:
    """release.json, SHA256SUMS and the manifest say the same."""
    for name, wanted in _told(release).items():
        if name in sums:
            _same(folder / name, sums[name], wanted, DESCRIPTION)
    made = manifest.read(folder / MANIFEST)
    told = (release.tag, release.target, release.model, release.model_hash)
    if told != (made.tag, made.target.name, made.model.name, made.model.hash):
        raise _damaged(folder / DESCRIPTION, f"{MANIFEST} is that of {made.tag} for {made.target.name}, not {' '.join(told)}")
    if {path: part.digest for path, part in release.files.items()} != contents(made) | {MANIFEST: release.manifest}:
        raise _damaged(folder / DESCRIPTION, f"its files are not those of {MANIFEST}")
    if release.unpacked != sum(part.size for part in release.files.values()):
        raise _damaged(folder / DESCRIPTION, "its size unpacked is not the sum of its files")


def _told(release: Release) -> dict[str, str]:
    """What release.json says of the files beside it."""
    preflight = release.files.get(PREFLIGHT_INSIDE)
    told = {MANIFEST: release.manifest, ZST: release.zst.digest, TAR: release.tar.digest}
    return told | {PREFLIGHT: preflight.digest if preflight else "none"}


def contents(made: Manifest) -> dict[str, str]:
    """``{path: digest}`` of the files of a build beside its manifest."""
    artifacts = {artifact.name: artifact.digest for artifact in made.artifacts}
    return artifacts | {f"{one.kind}/{name}": hashed for one in made.packages for name, hashed in one.files.items()}


def _same(path: Path, found: str, wanted: str, whose: str) -> None:
    if found != wanted:
        raise _damaged(path, f"its digest is {found}, {whose} says {wanted}")


def _damaged(path: Path, why: str) -> OrtolanError:
    return OrtolanError("is not that of this release", where=str(path), why=why, hint="fetch it again, or bundle again")
