"""All that a release becomes in an OCI registry: its manifest, what refers to it, and the blobs of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import digest as digests
from .. import delta
from ..layout import DESCRIPTION, MODEL_SIGNATURE, PROVENANCE, SBOM, SUMS, SUMS_SIGNATURE, FilePart
from . import modelpack
from .outgoing import Outgoing
from .referrers import EMPTY, Referrer, descriptor
from .repository import MANIFEST_TYPE

SIGNATURE_TYPE = "application/vnd.ortolan.ssh-signature.v1"
DELTA_TYPE = "application/vnd.ortolan.delta.v1"
DELTA_FROM = "dev.ortolan.delta.from"
TYPES = {
    SUMS_SIGNATURE: SIGNATURE_TYPE,
    MODEL_SIGNATURE: "application/vnd.dev.sigstore.bundle.v0.3+json",
    SBOM: "application/vnd.cyclonedx+json",
    PROVENANCE: "application/vnd.in-toto+json",
}
"""What of a release folder refers to the model, and as which type of artifact."""


@dataclass(frozen=True)
class Piece:
    """A blob: its name for people, and where it comes from; without a source it is in the release's archive."""

    name: str
    digest: str
    size: int
    source: Path | bytes | None


@dataclass(frozen=True)
class Artifact:
    """``data`` is the manifest. ``pieces`` are all different blobs, those of ``referrers`` too."""

    data: bytes
    pieces: Sequence[Piece]
    referrers: Sequence[Referrer]

    @property
    def digest(self) -> str:
        """The manifest's."""
        return digests.of_bytes(self.data)


def artifact(release: Outgoing) -> Artifact:
    """The artifact; the same for the same release folder."""
    beside = {name: _part(release.folder / name) for name in (DESCRIPTION, SUMS)}
    layers = modelpack.layers(release.release, release.manifest, beside)
    config = modelpack.config(release.release, release.manifest, [str(layer["digest"]) for layer in layers])
    data = modelpack.manifest(modelpack.described(config), layers, release.release, release.manifest, release.digest)
    subject = descriptor(MANIFEST_TYPE, data)
    attached = [name for name in TYPES if name in release.files] + sorted(_of_deltas(release))
    pieces = [Piece(path, one.digest, one.size, None) for path, one in release.release.files.items()]
    pieces += [_file(release.folder / name) for name in (*beside, *attached)]
    pieces += [_bytes("configuration of the model", config), _bytes("empty configuration", EMPTY)]
    referrers = [_attached(release.folder / name, TYPES[name], subject) for name in attached if name in TYPES]
    referrers += [_delta(release, name, subject) for name in release.deltas]
    return Artifact(data, _different(pieces), referrers)


def _different(pieces: Iterable[Piece]) -> list[Piece]:
    return list({one.digest: one for one in reversed(list(pieces))}.values())[::-1]


def _of_deltas(release: Outgoing) -> set[str]:
    return {part for name in release.deltas for part in (name, delta.read(release.folder / name).file)}


def _delta(release: Outgoing, name: str, subject: dict[str, object]) -> Referrer:
    about = delta.read(release.folder / name)
    layers = [_layer(release.folder / name, "application/json"), _layer(release.folder / about.file, DELTA_TYPE)]
    return Referrer(DELTA_TYPE, layers, {DELTA_FROM: about.old}, subject)


def _attached(path: Path, kind: str, subject: dict[str, object]) -> Referrer:
    return Referrer(kind, [_layer(path, kind)], {modelpack.TITLE: path.name}, subject)


def _layer(path: Path, kind: str) -> dict[str, object]:
    part = _part(path)
    return {"mediaType": kind, "digest": part.digest, "size": part.size, "annotations": {modelpack.TITLE: path.name}}


def _part(path: Path) -> FilePart:
    return FilePart(digest=digests.of_file(path), size=path.stat().st_size)


def _file(path: Path) -> Piece:
    part = _part(path)
    return Piece(path.name, part.digest, part.size, path)


def _bytes(name: str, data: bytes) -> Piece:
    return Piece(name, digests.of_bytes(data), len(data), data)
