"""What builders of images give, and what the gates need of them, whoever builds and starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol

from ..errors import OrtolanError


class BuildFailed(OrtolanError):
    """The image cannot be built from this context; ``why`` is the end of what the builder said."""


class CannotStart(OrtolanError):
    """This machine cannot start such a container: nothing is known about the image."""


@dataclass(frozen=True)
class Image:
    """An image that was built: its id (``sha256:...`` of its configuration) and sizes in bytes of its unpacked layers.

    ``config`` is the ``Config`` of its configuration: ``Entrypoint``, ``Env``, ``User``, ``Healthcheck``, ``Labels``.
    """

    id: str
    size: int
    base_size: int
    platform: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is to be built: a folder, the Dockerfile below it, the platform, build arguments, and the base it stands on."""

    context: Path
    dockerfile: str
    base: str
    platform: str
    epoch: int
    port: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    nvidia: bool = False


class Container(Protocol):
    """A running container; ``how`` it runs, in words."""

    how: str

    @property
    def enter(self) -> Sequence[str]:
        """The words before a command that is to run in its network."""

    def connect(self, limit: float) -> HTTPConnection:
        """A connection to its port, which waits ``limit`` seconds for each answer. OSError when nobody listens."""

    def address(self) -> str:
        """Host and port by which programs behind ``enter`` reach it."""

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in it: exit code and output."""

    def running(self) -> bool:
        """Whether its first process lives."""

    def log(self) -> str:
        """What it has said."""

    def stop(self) -> int | None:
        """Ask it to end as ``docker stop`` does: its exit code, or None when it had to be killed."""


class Builder(Protocol):
    """Builds images and starts them. ``varies``: why two builds cannot have the same id, empty where they must."""

    name: str
    varies: str

    def build(self, wanted: Wanted, name: str) -> Image:
        """Build and name it. BuildFailed with the log; OrtolanError when the base cannot be had."""

    def start(self, name: str, image: Image, wanted: Wanted) -> AbstractContextManager[Container]:
        """Start it, and remove the container at the end. CannotStart when this machine cannot."""

    def rename(self, name: str, to: str) -> None:
        """Give it another name instead."""

    def remove(self, name: str) -> None:
        """Remove the name, and what nothing else uses of the image."""


def last_lines(text: str, count: int = 12) -> str:
    """The end of a log."""
    return "\n".join(text.strip().splitlines()[-count:])


STRANGE = "exec format error"
"""What a kernel says of programs for another processor."""


def strange(platform: str) -> CannotStart:
    """There is no emulator for this platform's programs."""
    return CannotStart(
        f"this machine cannot run {platform} programs",
        hint="apt-get install qemu-user-static binfmt-support, or docker run --privileged --rm tonistiigi/binfmt --install all",
    )
