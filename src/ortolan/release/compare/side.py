"""One side of a comparison: a build or a release, with all that either keeps of it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard
from pydantic import BaseModel, ConfigDict, ValidationError

from ... import digest, manifest
from ...build import MEASUREMENTS
from ...errors import OrtolanError
from ...manifest import Manifest
from .. import layout
from ..delta import Delta, read
from ..layout import DELTA, DESCRIPTION, TAR, ZST, FilePart, Release

COVERAGE = "coverage.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Node(_Part):
    """A node of the model that ships."""

    op: str
    domain: str


class Provider(_Part):
    """What an execution provider takes: shares of nodes and of multiply-accumulates, and nodes by the evidence for them."""

    name: str
    node_share: float
    mac_share: float | None
    levels: dict[str, int]


class Coverage(_Part):
    """What is compared of ``coverage.json``."""

    nodes: list[Node]
    providers: list[Provider]
    partitions: int


@dataclass(frozen=True)
class Side:
    """``files`` are those of the bundle, by path. ``timings`` are those of ``measurements.json``, which only builds have."""

    folder: Path
    manifest: Manifest
    files: Mapping[str, FilePart]
    release: Release | None
    coverage: Coverage | None
    timings: Mapping[str, Mapping[str, str]]
    deltas: tuple[Delta, ...]


def find(root: Path, named: str, target: str = "") -> Path:
    """The build or release that is meant: a folder, or a tag below ``dist/``, else below ``build/``. OrtolanError."""
    for name in (DESCRIPTION, manifest.NAME):
        if (Path(named) / name).is_file():
            return Path(named)
    for base in ("dist", "build"):
        found = sorted((root / base).glob(f"{target or '*'}/{named}/{manifest.NAME}")) if "/" not in named else []
        if len(found) > 1:
            names = [path.parent.parent.name for path in found]
            raise OrtolanError(f"several targets have {named}: {', '.join(names)}", hint=f"--target {names[0]}")
        if found:
            return found[0].parent
    tags = sorted({path.parent.name for base in ("dist", "build") for path in (root / base).glob(f"*/*/{manifest.NAME}")})
    why = f"there are {', '.join(tags)}" if tags else "nothing is built yet"
    raise OrtolanError(f"no build and no release '{named}'", where=str(root), why=why, hint="give a tag, or a folder")


def load(root: Path, folder: Path) -> Side:
    """All that is known of the build or release in ``folder``; OrtolanError where its parts do not belong together.

    What only a build keeps is read for a release too, where the build that it was made from is still in ``build/``.
    """
    made = manifest.read(folder / manifest.NAME)
    release = layout.read(folder) if (folder / DESCRIPTION).is_file() else None
    found = digest.of_file(folder / manifest.NAME)
    if release and release.manifest != found:
        why = f"{DESCRIPTION} is of a manifest with {release.manifest}, this one has {found}"
        raise OrtolanError("the manifest is not that of the release", where=str(folder), why=why, hint="bundle or fetch it again")
    build = root / "build" / release.target / release.tag if release else folder
    timings = _timings(build) if _same(build, found) else {}
    deltas = tuple(read(path) for path in sorted(folder.glob(f"{DELTA}*.json")))
    files = release.files if release else _files(folder, made, found)
    return Side(folder, made, files, release, _coverage(folder, made, release), timings, deltas)


def _same(build: Path, wanted: str) -> bool:
    path = build / manifest.NAME
    return path.is_file() and digest.of_file(path) == wanted


def _timings(build: Path) -> dict[str, dict[str, str]]:
    """Measurements are no part of what is signed: where they cannot be read there are none."""
    try:
        found = json.loads((build / MEASUREMENTS).read_bytes())
        return {str(gate): {key: str(text) for key, text in values.items()} for gate, values in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _files(folder: Path, made: Manifest, digest_of_manifest: str) -> dict[str, FilePart]:
    """What a bundle of this build would hold; sizes of the packages' files are those on the disk, 0 where they are gone."""
    rendered = {f"{package.kind}/{name}": found for package in made.packages for name, found in package.files.items()}
    sizes = {name: (folder / name).stat().st_size if (folder / name).is_file() else 0 for name in [*rendered, manifest.NAME]}
    return {
        **{one.name: FilePart(digest=one.digest, size=one.size) for one in made.artifacts},
        **{name: FilePart(digest=found, size=sizes[name]) for name, found in rendered.items()},
        manifest.NAME: FilePart(digest=digest_of_manifest, size=sizes[manifest.NAME]),
    }


def _coverage(folder: Path, made: Manifest, release: Release | None) -> Coverage | None:
    """``coverage.json``, of the digest that the manifest says; None for a build that has none."""
    wanted = next((one.digest for one in made.artifacts if one.name == COVERAGE), None)
    if wanted is None:
        return None
    path = folder / COVERAGE
    data = path.read_bytes() if path.is_file() else _from_archive(folder, release) if release else b""
    try:
        if digest.of_bytes(data) == wanted:
            return Coverage.model_validate_json(data)
        why = f"it does not have the digest of {manifest.NAME}"
    except ValidationError as error:
        why = str(error).splitlines()[0]
    raise OrtolanError("damaged", where=str(path), why=why, hint="build again, or fetch the release again")


def _from_archive(folder: Path, release: Release) -> bytes:
    """``coverage.json`` out of the bundle, which is read no further; empty where it is not in it."""
    path = folder / (TAR if (folder / TAR).is_file() else ZST)
    try:
        with path.open("rb") as raw:
            stream: IO[bytes] = raw
            if path.name == ZST:
                stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            return _member(stream, release.files[COVERAGE].size)
    except (OSError, KeyError, tarfile.TarError, zstandard.ZstdError) as error:
        raise OrtolanError("cannot read the bundle", where=str(path), why=str(error), hint="bundle or fetch it again") from error


def _member(stream: IO[bytes], size: int) -> bytes:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for one in archive:
            if one.name == COVERAGE and (found := archive.extractfile(one)):
                return found.read(size)
    return b""
