"""A small release that is right in every respect but unsigned: a manifest, two artifacts and the device's files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import zstandard

import releases
from manifests import manifest
from ortolan.digest import of_bytes
from ortolan.disk import json_bytes
from ortolan.manifest import ArtifactPart, PackagePart
from ortolan.release import layout

FILES = {"model.onnx": bytes(range(256)) * 40, "session.json": b'{"inputs": []}\n'}
DEVICE = {"preflight.py": b"print('fits')\n", "selftest.py": b"print('passes')\n"}


def small_release(folder: Path, *, plain: bool = False, model: bytes = FILES["model.onnx"]) -> Path:
    """Write it; ``plain`` keeps ``bundle.tar``."""
    files = FILES | {"model.onnx": model}
    made = manifest().model_copy(
        update={
            "artifacts": [
                ArtifactPart(name=n, digest=of_bytes(d), size=len(d), media_type="text/plain") for n, d in files.items()
            ],
            "packages": [PackagePart(kind="device", templates=of_bytes(b""), files={n: of_bytes(d) for n, d in DEVICE.items()})],
        }
    )
    inside = {layout.MANIFEST: made.to_bytes()} | files | {f"device/{name}": data for name, data in DEVICE.items()}
    archive = releases.tar(inside)
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(archive)
    described = releases.describe(inside, archive, packed, model=made.model.name, target=made.target.name, tag=made.tag)
    beside = {
        layout.DESCRIPTION: json_bytes(described | {"model_hash": made.model.hash}), layout.MANIFEST: inside[layout.MANIFEST],
        layout.PREFLIGHT: DEVICE["preflight.py"], layout.SBOM: b"{}\n", layout.PROVENANCE: b"{}\n", layout.ZST: packed,
    } | ({layout.TAR: archive} if plain else {})  # fmt: skip
    folder.mkdir(parents=True)
    for name, data in beside.items():
        (folder / name).write_bytes(data)
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(beside.items())]
    (folder / layout.SUMS).write_text("".join(lines))
    return folder
