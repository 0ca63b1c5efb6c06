"""What a release consists of: ``dist/<target>/<tag>/``, a flat folder that a release manager signs and publishes as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..disk import json_bytes
from ..errors import OrtolanError
from ..manifest import NAME as MANIFEST

DESCRIPTION = "release.json"
TAR = "bundle.tar"
ZST = "bundle.tar.zst"
PREFLIGHT = "preflight.py"
SBOM = "sbom.cdx.json"
PROVENANCE = "provenance.intoto.json"
SUMS = "SHA256SUMS"
SUMS_SIGNATURE = "SHA256SUMS.sig"
MODEL_SIGNATURE = "model.sig"
NAMESPACE = "ortolan-release"
"""What ``ssh-keygen -Y`` signs for: a signature for another purpose does not count."""

BESIDE = (SUMS, SUMS_SIGNATURE, MODEL_SIGNATURE)
"""What ``SHA256SUMS`` does not list: itself, the signatures, and the files that begin with ``DELTA``."""
DELTA = "delta-"

_TAG = re.compile(r"(?P<model>.+)-(?P<hash>[0-9a-f]{12})-opset\d+-ort\d+\.\d+\.\d+(?:-.+)?")


def inside(path: str) -> str:
    """A path that stays in the folder where a bundle is unpacked, on every system; ValueError for any other."""
    parts = path.split("/")
    if not path.isprintable() or set(path) & set(':\\"<>|*?') or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{path!r} is no path inside a bundle")
    return path


def _alone(name: str) -> str:
    if "/" in inside(name):
        raise ValueError(f"{name!r} is no name of a folder")
    return name


Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]
Inside = Annotated[str, AfterValidator(inside)]
Name = Annotated[str, AfterValidator(_alone)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FilePart(_Part):
    """A file of the bundle."""

    digest: Digest
    size: Size
    executable: bool = False


class ArchivePart(_Part):
    """The bundle as one file."""

    digest: Digest
    size: Size


class Release(_Part):
    """``release.json``, version 1: what a device checks before it fetches, unpacks and installs.

    ``sequence`` grows from release to release: a device refuses a smaller one. ``files`` are the bundle's, by path; ``tar`` is
    there for every release, also where ``bundle.tar`` is not kept, since deltas are taken of it. ``revision`` is the commit.
    """

    release_version: Literal[1]
    tag: Name
    target: Name
    model: Name
    model_hash: Digest
    sequence: Size
    revision: str
    ortolan: str
    manifest: Digest
    files: dict[Inside, FilePart]
    unpacked: Size
    tar: ArchivePart
    zst: ArchivePart

    def to_bytes(self) -> bytes:
        """Indented canonical JSON with a newline at the end."""
        return json_bytes(self.model_dump(mode="json"))


def read(folder: Path) -> Release:
    """The description of the release in ``folder``; OrtolanError when there is none, or when it is not one."""
    path = folder / DESCRIPTION
    try:
        return Release.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        hint = "./inv bundle makes a release"
        raise OrtolanError("not a release", where=str(path), why=str(error).splitlines()[0], hint=hint) from error


def find(root: Path, named: str, target: str = "") -> Path:
    """The release that is meant: a folder, or a tag below ``dist/`` (of ``target``, where several have it). OrtolanError."""
    if (Path(named) / DESCRIPTION).is_file():
        return Path(named)
    found = sorted((root / "dist").glob(f"{target or '*'}/{named}/{DESCRIPTION}")) if "/" not in named else []
    if len(found) == 1:
        return found[0].parent
    if found:
        targets = ", ".join(path.parent.parent.name for path in found)
        raise OrtolanError(f"several targets have a release {named}: {targets}", hint=f"--target {found[0].parent.parent.name}")
    known = sorted({path.parent.name for path in (root / "dist").glob(f"*/*/{DESCRIPTION}")})
    why = f"there are {', '.join(known)}" if known else "nothing is bundled yet: ./inv bundle --target NAME"
    raise OrtolanError(f"no release '{named}'", where=str(root / "dist"), why=why)


def model_of(tag: str) -> str:
    """The model's name in a tag. OrtolanError when it is no tag."""
    match = _TAG.fullmatch(tag)
    if not match:
        raise OrtolanError(f"'{tag}' is not a tag", hint="tags look like digits-5f3c9a1b2c4d-opset17-ort1.20.1")
    return match["model"]


__all__ = ["MANIFEST", "ArchivePart", "FilePart", "Release", "find", "model_of", "read"]
