"""Where Ortolan keeps what it can make again: runtimes, the store, work folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """The cache's folders below ``root``; ``runtimes`` (one folder for each pinned environment) may lie elsewhere."""

    root: Path
    runtimes: Path

    @property
    def store(self) -> Path:
        """Objects and actions."""
        return self.root / "store"

    @property
    def work(self) -> Path:
        """One folder for each running step, and those of failed steps."""
        return self.root / "work"


def user_cache() -> Cache:
    """``$XDG_CACHE_HOME/ortolan``, or ``~/.cache/ortolan`` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return cache_at((Path(base) if base else Path.home() / ".cache") / "ortolan")


def cache_at(root: Path) -> Cache:
    """A cache with everything below one folder."""
    return Cache(root, root / "runtimes")


def shipped() -> Path:
    """The folder with the recipes and runtimes that come with Ortolan: in a wheel, or in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "_shipped"
    return inside if inside.is_dir() else package.parents[1]
