"""Make a project folder with the recipes that come with Ortolan."""

from __future__ import annotations

import shutil
from pathlib import Path

from .cache import shipped
from .errors import OrtolanError


def init(folder: Path) -> list[Path]:
    """Copy ``recipes/`` into ``folder`` and return the new files; OrtolanError when there is one already."""
    recipes = folder / "recipes"
    if recipes.exists():
        raise OrtolanError("there is a recipes folder already", where=str(recipes), hint="choose another folder")
    shutil.copytree(shipped() / "recipes", recipes, ignore=shutil.ignore_patterns("__pycache__"))
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("/build/\n")
    return sorted(path for path in recipes.rglob("*") if path.is_file())
