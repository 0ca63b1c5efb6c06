"""Who builds images here: the Docker engine that answers, else buildah."""

from __future__ import annotations

from ..errors import OrtolanError
from . import buildah, engine
from .parts import Builder

BUILDERS = ("docker", "buildah")


def pick(name: str = "") -> Builder:
    """The builder of that name, without one the first that works. OrtolanError that says what to install."""
    if name and name not in BUILDERS:
        raise OrtolanError(f"there is no builder '{name}'", hint=f"--builder {' or '.join(BUILDERS)}")
    for one in [name] if name else BUILDERS:
        found: Builder | None = engine.find() if one == "docker" else buildah.find()
        if found:
            return found
    raise OrtolanError("nothing here builds images" if not name else f"{name} does not answer", why=_why(name), hint=_hint(name))


def _why(name: str) -> str:
    socket = "no Docker engine answers at DOCKER_HOST or the default socket"
    return {"docker": socket, "buildah": "there is no buildah on PATH"}.get(name, f"{socket}, and there is no buildah")


def _hint(name: str) -> str:
    start = "start Docker, or set DOCKER_HOST"
    return {"docker": start, "buildah": "apt-get install buildah"}.get(name, f"{start}; or apt-get install buildah")
