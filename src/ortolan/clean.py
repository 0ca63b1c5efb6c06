"""Remove what can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path

from .cache import Cache


def clean(cache: Cache, *, runtimes: bool) -> int:
    """Remove the store and the work folders, and the runtimes too where asked; the bytes that this freed."""
    folders = [cache.store, cache.work, *([cache.runtimes] if runtimes else [])]
    freed = sum(_size(folder) for folder in folders)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
