"""What an image is made from: a finished build, and the words of its target's recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import manifest
from ..cache import Cache
from ..errors import OrtolanError
from ..manifest import Manifest
from ..package.docker import EPOCH, NVIDIA
from ..platforms import host_platform
from ..recipe.docker import Docker
from ..recipe.project import NamedTarget
from .parts import Wanted

_WEB = "web"


@dataclass(frozen=True)
class Order:
    """One image: ``folder`` is the build's, ``docker`` its target's table, ``runtimes`` where runtimes are described."""

    folder: Path
    manifest: Manifest
    docker: Docker
    cache: Cache
    runtimes: Sequence[Path]
    revision: str

    @property
    def name(self) -> str:
        """What the image is called: ``ortolan/<target>:<tag>``."""
        return f"ortolan/{self.manifest.target.name.lower()}:{self.manifest.tag}"

    @property
    def web(self) -> Mapping[str, Any] | None:
        """The contents of web.json, when it is a page."""
        return json.loads((self.folder / "web.json").read_text()) if self.manifest.target.platform == _WEB else None

    @property
    def platform(self) -> str:
        """The image's; a page is served by machines like this one."""
        return host_platform() if self.manifest.target.platform == _WEB else self.manifest.target.platform

    @property
    def nvidia(self) -> bool:
        """Whether it wants an NVIDIA GPU."""
        return bool(NVIDIA.intersection(self.manifest.target.providers))

    def wanted(self, context: Path) -> Wanted:
        """What a builder is asked for."""
        return Wanted(
            context,
            f"{self.docker.templates}/Dockerfile",
            self.docker.base,
            self.platform,
            EPOCH,
            self.docker.port,
            {"REVISION": self.revision},
            self.nvidia,
        )


def order(target: NamedTarget, folder: Path, cache: Cache, runtimes: Sequence[Path], revision: str) -> Order:
    """The order for a finished build. OrtolanError when the target's recipe asks for no image."""
    return Order(folder, manifest.read(folder / manifest.NAME), table_of(target), cache, runtimes, revision)


def table_of(target: NamedTarget) -> Docker:
    """``[outputs.docker]``. OrtolanError when the target's recipe has none."""
    table = target.recipe.outputs.docker
    if table is None:
        hint = '[outputs.docker] base = "python:3.11-slim-bookworm" in its recipe asks for one'
        raise OrtolanError(f"{target.name} has no image", hint=hint)
    return table
