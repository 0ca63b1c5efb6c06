"""Damaged runtimes, of whatever kind: looked for after a crash, and removed so that they are made again."""

from __future__ import annotations

from . import emulated, make
from .emulated import Emulated
from .make import Runtime


def broken(runtime: Runtime) -> list[str]:
    """The damaged files of a runtime; one that has some is removed, so that the next use makes it again."""
    return emulated.broken(runtime) if isinstance(runtime, Emulated) else make.broken(runtime)
