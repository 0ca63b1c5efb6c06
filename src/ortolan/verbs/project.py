"""``init``, ``runtime-add``, ``clean``: what changes a project or the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..cache import Cache, shipped
from ..ci.pipeline import LOCK, OWN, starter
from ..errors import OrtolanError
from ..report.tables import size
from ..runtime.lock import add


def init(folder: Path) -> None:
    """Make ``folder`` a project: the recipes that come with Ortolan, a pipeline for GitLab with the lock that it installs from.

    What is there already stays. OrtolanError when there are recipes already.
    """
    recipes = folder / "recipes"
    if recipes.exists():
        raise OrtolanError("there is a recipes folder already", where=str(recipes), hint="choose another folder")
    shutil.copytree(shipped() / "recipes", recipes, ignore=shutil.ignore_patterns("__pycache__"))
    beside = {
        ".gitignore": b"/.cache/\n/.venv/\n/build/\n/dist/\n/keys/\n",
        OWN: starter([shipped() / "templates"]),
        LOCK: (shipped() / LOCK).read_bytes(),
    }
    missing = {folder / name: data for name, data in beside.items() if not (folder / name).exists()}
    for path, data in missing.items():
        path.write_bytes(data)
    made = [*(path for path in recipes.rglob("*") if path.is_file()), *missing]
    print("\n".join(str(path) for path in sorted(made)))


def runtime_add(root: Path, package: str) -> None:
    """Lock a package as a runtime of the project."""
    spec = add(package, root / "runtimes")
    print(f"{spec.name}: {len(spec.packages())} packages locked in {spec.lock}")


def clean(cache: Cache, *, runtimes: bool) -> None:
    """Remove the store and the work folders; where asked, also the runtimes, and what reduced ones are compiled from."""
    costly = [cache.runtimes, cache.root / "reduced"] if runtimes else []
    folders = [cache.store, cache.work, cache.root / "fresh", cache.root / "images", *costly]
    freed = sum(_bytes(folder) for folder in folders)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"freed {size(freed)}")


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
