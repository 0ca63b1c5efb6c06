"""Real releases for tests of publishing: a build made by hand, bundled as ./inv bundle does, signed with a throw-away key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import builds
from ortolan import digest
from ortolan.events import Event
from ortolan.release import layout
from ortolan.release.bundle import Options, bundle
from ortolan.release.publish.channel import Promotion
from ortolan.release.source import source
from ortolan.revision import Revision
from releases import Key, make_key

TARGET, MODEL = "device", "net"
TAG = "net-0123456789ab-opset17-ort1.17.3"
LATER = "net-ba9876543210-opset17-ort1.17.3"
_DAY = date(2024, 1, 1)


def release(
    root: Path, files: Mapping[str, bytes] = builds.FILES, *, sequence: int = 10, signed: bool = True, **changes: Any
) -> Path:
    """A release folder below ``root``."""
    made = bundle(
        source(builds.built(root, files, **changes), _DAY),
        Options(root / "dist", Revision("0" * 40, None), sequence, plain=False),
    )
    shutil.rmtree(root / "build")  # publishing needs the release alone
    if signed:
        key(root).sign(made.folder / layout.SUMS)
    return made.folder


def delta(folder: Path, to: str) -> Path:
    """A description of a delta that leads ``to`` an archive, and the patch beside it, as devices fetch them."""
    patch = folder / "delta-0123456789ab.zst"
    patch.write_bytes(b"patch")
    told = {
        "delta_version": 1, "from": "sha256:" + "0123456789ab" + "0" * 52, "to": to, "method": "zstd", "file": patch.name,
        "digest": digest.of_bytes(b"patch"), "size": 5, "old_size": 1, "new_size": 1,
    }  # fmt: skip
    patch.with_suffix(".json").write_text(json.dumps(told))
    return patch


def promotion(tag: str = TAG, channel: str = "stable", hour: int = 0, **more: Any) -> Promotion:
    """What is asked for when a release is promoted, at an hour of one day."""
    return Promotion(tag, TARGET, MODEL, channel, "maintainer@example.org", datetime(2024, 5, 1, hour, tzinfo=UTC), **more)


def key(root: Path) -> Key:
    """The key of a folder of releases."""
    folder = root / "keys"
    return make_key(folder) if not folder.exists() else Key(folder / "key", folder / "allowed_signers", "release@example.org")


def quiet(_: Event) -> None:
    """Progress that nobody looks at."""
