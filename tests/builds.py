"""Builds as ``./inv build`` leaves them, made by hand: for releases that are made without a build."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import manifests
from ortolan.digest import of_bytes
from ortolan.disk import json_bytes
from ortolan.manifest import NAME, ArtifactPart, Manifest, PackagePart

FILES: Mapping[str, bytes] = {
    "model.onnx": bytes(range(256)) * 300,
    "session.json": b'{"inputs": []}\n',
    "golden.bin": bytes(640),
    "c/model.h": b"#define MODEL_ORT_API_VERSION 17\n",
    "device/preflight.py": b'#!/usr/bin/env python3\n"""Tells whether the bundle fits."""\n',
    "device/selftest.py": b"#!/usr/bin/env python3\n",
}


def described(files: Mapping[str, bytes], **changes: Any) -> Manifest:
    """The manifest of a build of ``net`` for ``device`` with these files; those in folders are packages."""
    artifacts = [
        ArtifactPart(name=name, digest=of_bytes(data), size=len(data), media_type="application/octet-stream")
        for name, data in sorted(files.items()) if "/" not in name
    ]  # fmt: skip
    kinds = sorted({name.partition("/")[0] for name in files if "/" in name})
    packages = [
        PackagePart(
            kind=kind,
            templates="tree:0",
            files={name.removeprefix(f"{kind}/"): of_bytes(data) for name, data in files.items() if name.startswith(f"{kind}/")},
        )
        for kind in kinds
    ]
    return manifests.manifest().model_copy(update={"artifacts": artifacts, "packages": packages, **changes})


def built(root: Path, files: Mapping[str, bytes] = FILES, **changes: Any) -> Path:
    """Put the build below ``root`` in ``build/device/``; its record."""
    made = described(files, **changes)
    folder = root / "build" / made.target.name / made.tag
    for name, data in {**files, NAME: made.to_bytes(), "measurements.json": b"{}\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return recorded(root, made)


def recorded(root: Path, made: Manifest, **changes: Any) -> Path:
    """Write the record of a build that ended well."""
    path = root / "build" / made.target.name / f"{made.model.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"tag": made.tag, "ok": True, "manifest": of_bytes(made.to_bytes()), "gates": [], "errors": []}
    path.write_bytes(json_bytes(told | changes))
    return path
