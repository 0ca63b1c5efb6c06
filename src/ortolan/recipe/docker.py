"""``[outputs.docker]``: the container image that a device runs, or that serves a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator

from .base import SIZE_SCHEMA, Strict, in_bytes
from .rules import Mistake, check

IMAGE = r"^[a-z0-9][a-z0-9._/:-]*(@sha256:[0-9a-f]{64})?$"
FOLDER = r"^[a-z0-9][a-z0-9_-]*$"
PYTHON = r"^3\.(9|1\d)$"

WHEELS = {"linux/amd64": "x86_64-manylinux_2_28", "linux/arm64": "aarch64-manylinux_2_28"}
"""Platforms that PyPI has wheels of ONNX Runtime for, as uv calls them: Linux with glibc 2.28 (Debian 10, 2019) or newer."""

_PLATFORMS = (*WHEELS, "linux/arm/v7", "web")


class Docker(Strict):
    """``[outputs.docker]``: what a container image is built from; ``./inv image`` builds and tries it."""

    base: str = Field(pattern=IMAGE, description="image that it stands on, with its tag, and best with @sha256:<digest>")
    templates: str = Field(default="docker", pattern=FOLDER, description="folder of templates/ that it is rendered from")
    port: int = Field(default=8080, ge=1024, le=65535, description="where the entry point answers; below 1024 is root's")
    python: str = Field(default="3.11", pattern=PYTHON, description="version of the base's python3; the wheels are chosen for it")
    runtime: Literal["wheels", "base"] = Field(
        default="wheels", description="where ONNX Runtime and numpy come from: hash-locked wheels, or the base has them"
    )
    user: int = Field(default=10001, ge=1, le=2**31 - 1, description="id of the user and group that it runs as; 0 is root's")
    max_body: int = Field(
        default=64 * 10**6, description="largest request that it reads, like '64 MB'", json_schema_extra=SIZE_SCHEMA
    )

    _size = field_validator("max_body", mode="before")(in_bytes)

    @field_validator("base")
    @classmethod
    def _pinned(cls, base: str) -> str:
        name, _, digest = base.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        if not digest and tag in {"", "latest"}:
            check([Mistake((), f'"{base}" is another image tomorrow', "Name a tag like debian:12-slim, or a digest.")])
        return base


def docker_mistakes(docker: Docker | None, platform: str) -> Iterator[Mistake]:
    """Images are for Linux, and wheels for the processors that PyPI has them for; a page's image is for this machine."""
    if docker is None:
        return
    at: tuple[str, ...] = ("outputs", "docker")
    if platform not in _PLATFORMS:
        yield Mistake(at, f"there are no images for {platform}", f"Platforms with images: {', '.join(_PLATFORMS)}.")
    elif docker.runtime == "wheels" and platform not in (*WHEELS, "web"):
        what = f"PyPI has no wheels of ONNX Runtime for {platform}"
        yield Mistake(at, what, 'Name a base that holds ONNX Runtime and numpy, and say runtime = "base".')


def wheels_for(platform: str) -> str:
    """The platform as uv names it, empty where there are no wheels."""
    return WHEELS.get(platform, "")
