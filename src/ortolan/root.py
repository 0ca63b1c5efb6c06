"""Which folder is the project: the nearest one with ``recipes/``."""

from __future__ import annotations

from pathlib import Path

from .errors import RecipeError


def find_root(start: Path) -> Path:
    """The nearest folder, from ``start`` upwards, that holds ``recipes/``. Raises RecipeError."""
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / "recipes").is_dir():
            return folder
    what = f"there is no recipes/ in {start.absolute()}, nor in any folder above it"
    raise RecipeError(what, hint="ortolan init makes one here")
