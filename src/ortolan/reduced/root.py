"""The root file system in which a reduced runtime is compiled: unpacked from Debian's packages on first use."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import digest
from ..disk import disk, part_of, remove, sweep
from ..errors import RuntimeSetupError
from ..platforms import host_platform
from ..runtime import apt, kept
from ..runtime.make import only_one
from . import enter
from .flags import BUILD
from .pinned import Platform, RootSpec

_MARKER, _PACKAGES = "ortolan.json", "apt"
_INSTALL = "on Debian or Ubuntu: apt-get install util-linux debian-archive-keyring"
_ARCHITECTURES = {"linux/amd64": "amd64", "linux/arm64": "arm64"}


@dataclass(frozen=True)
class Root:
    """A root file system that exists. ``packages``: name to version and digest of what was unpacked."""

    place: Path
    platform: Platform
    cross: bool
    packages: Mapping[str, Mapping[str, str]]

    @property
    def digest(self) -> str:
        """The digest of its packages' names, versions and bytes."""
        return digest.of_json("packages", dict(self.packages))

    @property
    def compiler(self) -> str:
        """The C++ compiler's name."""
        return f"{self.platform.triple}-g++"

    @property
    def version(self) -> str:
        """The compiler's version."""
        major = re.search(r"^g\+\+-(\d+)-", "\n".join(self.packages), re.MULTILINE)
        found = self.packages.get(f"g++-{major[1]}-{_dashed(self.platform)}") if major else None
        return found["version"] if found else ""

    def licence(self, package: str) -> Path | None:
        """The file in which Debian tells a package's licence."""
        path = self.place / "usr/share/doc" / package / "copyright"
        return path if path.is_file() else None


def ensure(spec: RootSpec, name: str, folder: Path, say: Callable[[str], object] = str) -> Root:
    """The root file system for compiling for the platform ``name``, made when it is missing or visibly broken.

    RuntimeSetupError when it cannot be made or entered here, or has no compiler; nothing half-made is left then.
    """
    host = host_platform()
    if host not in _ARCHITECTURES:
        why = f"it holds Debian's packages, which run on {' and '.join(_ARCHITECTURES)}; this is {host}"
        raise RuntimeSetupError(
            "no root file system to compile in can be made here", why=why, hint="use a Linux machine or container"
        )
    platform = spec.platforms[name]
    place = folder / f"{name.replace('/', '-')}-{digest.short(_identity(spec, platform, host))}"
    if _sound(place) is None:
        with disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder / f"{place.name}.lock"):
            if _sound(place) is None:
                say(f"making the root file system for {name}, once: {spec.description}; about 150 MB of packages, a minute")
                _make(spec, platform, _ARCHITECTURES[host], place)
    found = _sound(place) or {}
    root = Root(place, platform, host != name, found["packages"])
    _compiles(root)
    return root


def _identity(spec: RootSpec, platform: Platform, host: str) -> str:
    return digest.of_json("root", {"host": host, "suite": spec.suite, "packages": _wanted(spec, platform)})


def _wanted(spec: RootSpec, platform: Platform) -> list[str]:
    return sorted({*spec.packages, *spec.headers, f"g++-{_dashed(platform)}"})


def _dashed(platform: Platform) -> str:
    return platform.triple.replace("_", "-")


def _sound(place: Path) -> dict[str, Any] | None:
    try:
        marker: dict[str, Any] = json.loads((place / _MARKER).read_text())
    except (OSError, ValueError):
        return None
    return marker if "packages" in marker and (place / "usr/bin/env").exists() else None


def _make(spec: RootSpec, platform: Platform, architecture: str, place: Path) -> None:
    sweep(place.parent)
    lacking = ", ".join([*apt.missing(), *enter.missing(), *([] if spec.keyring.is_file() else [str(spec.keyring)])])
    if lacking:
        what = "the root file system to compile in cannot be made here"
        raise RuntimeSetupError(what, why=f"there is no {lacking}", hint=_INSTALL)
    part = part_of(place)
    with disk(place.parent):
        try:
            part.mkdir()
            packages = _unpacked(
                spec, apt.Source(architecture, spec.suite, spec.mirror, spec.keyring), _wanted(spec, platform), part
            )
            (part / BUILD.strip("/")).mkdir()
            kept.remember(part)
            (part / _MARKER).write_text(json.dumps({"packages": packages}, sort_keys=True))
            remove(place)
            part.rename(place)
        finally:
            remove(part)


def _unpacked(spec: RootSpec, source: apt.Source, wanted: list[str], part: Path) -> dict[str, Mapping[str, str]]:
    fetched = part / _PACKAGES
    packages: dict[str, Mapping[str, str]] = {}
    try:
        for path in apt.fetch(source, wanted, fetched):
            name, version = apt.unpack(path, part)
            licence = {"licence": spec.headers[name]} if name in spec.headers else {}
            packages[name] = {"version": version, "digest": digest.of_file(path), "file": path.name, **licence}
    finally:
        remove(fetched)
    return packages


def _compiles(root: Root) -> None:
    """The compiler is there. Whether it starts is seen when a tree is configured."""
    if not (root.place / "usr/bin" / root.compiler).exists():
        why = f"there is no usr/bin/{root.compiler}"
        hint = "remove that folder to make it again; packages are named in runtimes/reduced/rootfs.toml"
        raise RuntimeSetupError("the root file system has no compiler", where=str(root.place), why=why, hint=hint)
