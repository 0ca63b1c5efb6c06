"""A release as an OCI artifact: the CNCF ModelPack specification (github.com/modelpack/model-spec), one raw layer for each file.

Nothing in it depends on when or where it is made: publishing the same release twice gives the same digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...digest import canonical
from ...manifest import Manifest
from ..layout import DESCRIPTION, MANIFEST, SUMS, FilePart, Release
from .referrers import descriptor
from .repository import MANIFEST_TYPE

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
FILEPATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"
SEQUENCE = "dev.ortolan.sequence"
RELEASE = "dev.ortolan.release"
TARGET = "dev.ortolan.target"

_METADATA = "org.cncf.model.file.metadata+json"
_UNTESTED = "org.cncf.model.file.mediatype.untested"
_REGULAR = ord("0")
"""tar's type flag of a regular file, a byte that Go writes as a number."""
_PRECISIONS = {
    "fp32": "float32", "fp16": "float16", "int8": "int8", "int8-dynamic": "int8", "int8-weights": "int8", "int4-weights": "int4",
}  # fmt: skip
"""ModelPack's words for what models compute in, or keep their weights in."""
_LIST = ("application/json", "application/zip", "text/plain")


def manifest(
    config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], release: Release, made: Manifest, hashed: str
) -> bytes:
    """The image manifest; ``hashed`` is the digest of release.json, so that a list of tags can be read without its blobs."""
    about = {
        "org.opencontainers.image.version": release.tag, "org.opencontainers.image.revision": release.revision,
        "org.opencontainers.image.licenses": made.model.licence, TITLE: f"{release.model} for {release.target}",
        TARGET: release.target, SEQUENCE: str(release.sequence), RELEASE: hashed,
    }  # fmt: skip
    return canonical({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": ARTIFACT_TYPE, "config": dict(config),
        "layers": [dict(layer) for layer in layers], "annotations": {key: value for key, value in about.items() if value},
    })  # fmt: skip


def config(release: Release, made: Manifest, digests: Sequence[str]) -> bytes:
    """The model's configuration; ``digests`` are those of the layers, which are not compressed."""
    about = {
        "name": release.model,
        "version": release.tag,
        "title": f"{release.model} for {release.target}",
        "revision": release.revision,
    }
    licences = {"licenses": [made.model.licence]} if made.model.licence else {}
    return canonical({
        "descriptor": {**{key: value for key, value in about.items() if value}, **licences},
        "config": {"format": "onnx", "precision": _PRECISIONS[made.precision]},
        "modelfs": {"type": "layers", "diffIds": list(digests)},
    })  # fmt: skip


def layers(release: Release, made: Manifest, beside: Mapping[str, FilePart]) -> list[dict[str, Any]]:
    """Descriptors of the bundle's files in order of their paths, then of ``beside``: release.json and SHA256SUMS."""
    media = {artifact.name: artifact.media_type for artifact in made.artifacts}
    inside = [_layer(path, part, media.get(path, "")) for path, part in sorted(release.files.items())]
    return inside + [_layer(name, part, "") for name, part in beside.items()]


def _layer(path: str, part: FilePart, media: str) -> dict[str, Any]:
    kind, untested = _kind(path, media)
    metadata = {
        "name": path.rpartition("/")[2], "mode": 0o755 if part.executable else 0o644, "uid": 0, "gid": 0, "size": part.size,
        "mtime": "1970-01-01T00:00:00Z", "typeflag": _REGULAR,
    }  # fmt: skip
    return {
        "mediaType": f"application/vnd.cncf.model.{kind}.v1.raw", "digest": part.digest, "size": part.size,
        "annotations": {
            FILEPATH: path, _METADATA: canonical(metadata).decode(), _UNTESTED: "true" if untested else "false",
            TITLE: path,
        },
    }  # fmt: skip


def _kind(path: str, media: str) -> tuple[str, bool]:
    """Weights, their configuration, documents, code or data sets; and whether that is only supposed."""
    name = path.rpartition("/")[2]
    if name.startswith("golden") and "/" not in path:
        return "dataset", False
    if name.startswith(("README", "LICENSE", "NOTICE")) or path in {DESCRIPTION, SUMS, "coverage.json"}:
        return "doc", False
    if "/" in path:
        return "code", False
    if path == MANIFEST or media in _LIST or name.endswith(".config"):
        return "weight.config", False
    return "weight", not media or media == "application/octet-stream"


def described(data: bytes) -> dict[str, Any]:
    """The descriptor of a configuration."""
    return descriptor(CONFIG_TYPE, data)
