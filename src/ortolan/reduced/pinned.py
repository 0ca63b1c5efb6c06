"""What a reduced runtime is built from: the pinned sources and the root file system, as ``runtimes/reduced`` describes them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RuntimeSetupError

FOLDER, SOURCES, ROOT = "reduced", "sources.toml", "rootfs.toml"


@dataclass(frozen=True)
class Pinned:
    """A source: ``path`` of its tarball on a Debian mirror, ``digest`` of that, and what tells a tree's version.

    ``skip``: folders that no reduced runtime is made of. ``licences``: files with the texts of its ``licence``.
    """

    name: str
    version: str
    path: str
    digest: str
    licence: str
    licences: tuple[str, ...]
    told: tuple[str, str]
    skip: tuple[str, ...]

    @property
    def file(self) -> str:
        """The tarball's name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Platform:
    """A platform that can be compiled for: GNU's triple, and the processor as the kernel spells it."""

    triple: str
    processor: str


@dataclass(frozen=True)
class RootSpec:
    """The root file system in which is compiled; ``headers`` are packages that leave code in the library, with licences."""

    description: str
    suite: str
    mirror: str
    keyring: Path
    packages: tuple[str, ...]
    platforms: Mapping[str, Platform]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Pins:
    """Everything that is pinned, and the mirrors that hold the tarballs."""

    onnxruntime: str
    sources: tuple[Pinned, ...]
    mirrors: tuple[str, ...]
    root: RootSpec


def load(folders: Iterable[Path]) -> Pins:
    """The nearest ``reduced`` below ``folders``. RuntimeSetupError when there is none or it is not complete."""
    places = [folder / FOLDER for folder in folders]
    place = next((one for one in places if (one / SOURCES).is_file() and (one / ROOT).is_file()), None)
    if place is None:
        raise RuntimeSetupError(f"there is no {FOLDER}/{SOURCES}", where=", ".join(map(str, places)))
    try:
        told, root = (tomllib.loads((place / name).read_text()) for name in (SOURCES, ROOT))
        sources = tuple(_pinned(one) for one in told["source"])
        return Pins(told["onnxruntime"], sources, tuple(told["mirrors"]), _root(root))
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise RuntimeSetupError("what reduced runtimes are built from is not told", where=str(place), why=repr(error)) from error


def _pinned(told: Mapping[str, Any]) -> Pinned:
    return Pinned(
        name=told["name"],
        version=told["version"],
        path=told["path"],
        digest=f"sha256:{told['sha256']}",
        licence=told["licence"],
        licences=tuple(told["licences"]),
        told=(told["told"]["file"], told["told"]["pattern"]),
        skip=tuple(told["skip"]),
    )


def _root(told: Mapping[str, Any]) -> RootSpec:
    return RootSpec(
        description=told["description"],
        suite=told["suite"],
        mirror=told["mirror"],
        keyring=Path(told["keyring"]),
        packages=tuple(told["packages"]),
        platforms={name: Platform(**one) for name, one in told["platform"].items()},
        headers=dict(told["headers"]),
    )
