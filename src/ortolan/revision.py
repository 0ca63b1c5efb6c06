"""Which commit of a project this is."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Revision:
    """A commit: 40 hexadecimal digits, with ``-dirty`` when files differ from it; ``time`` in seconds since 1970, UTC.

    ``unknown`` and None where there is no git, or no commit.
    """

    name: str
    time: int | None


def revision(root: Path) -> Revision:
    """The project's commit."""
    name = _git(root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    time = _git(root, "log", "-1", "--format=%ct")
    return Revision(name or "unknown", int(time) if name and time.isdigit() else None)


def _git(root: Path, *words: str) -> str:
    """What git says; nothing where it fails or is missing."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *words],  # noqa: S607
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return ""
    return done.stdout.strip()
