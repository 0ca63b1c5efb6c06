"""The edits that pinned sources need before they compile: ``patches/*.patch``, each with why, of what, and for which versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import digest

FOLDER = Path(__file__).parent / "patches"


@dataclass(frozen=True)
class Patch:
    """A patch of the source ``source`` in some of its versions."""

    path: Path
    why: str
    source: str
    versions: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The digest of its file."""
        return digest.of_file(self.path)


def edits(versions: Mapping[str, str], folder: Path = FOLDER) -> list[Patch]:
    """The patches for these versions of sources, in the order in which they are applied."""
    found = [read(path) for path in sorted(folder.glob("*.patch"))]
    return [patch for patch in found if versions.get(patch.source) in patch.versions]


def read(path: Path) -> Patch:
    """A patch by its head: lines ``Why:``, ``Source:`` and ``Versions:``, then an empty one. KeyError without one of them."""
    head, _, _ = path.read_text().partition("\n\n")
    told = {key: value.strip() for key, _, value in (line.partition(":") for line in head.splitlines())}
    return Patch(path, told["Why"], told["Source"], tuple(told["Versions"].replace(",", " ").split()))
