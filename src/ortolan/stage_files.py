"""The files that a stage consists of: its module, and what that imports of ``lib``. A step's folder holds no others.

A file that this overlooked is missing when the step runs, so that a key cannot leave out what a result came from.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

STAGES = Path(__file__).parent / "stages"
_LIB = STAGES / "lib"


@cache
def stage_files(name: str) -> dict[str, bytes]:
    """``{path below the step's folder: bytes}`` of the stage ``name`` and of the program that runs it."""
    own = Path(str(importlib.import_module(f"{__package__}.stages.{name}").__file__))
    found: set[Path] = set()
    new = {_LIB / "worker.py"} | _uses(own, STAGES)
    while new:
        found |= new
        new = {used for path in new if path.suffix == ".py" for used in _uses(path, path.parent)} - found
    shared = {f"stages/{path.relative_to(STAGES).as_posix()}": path.read_bytes() for path in sorted(found)}
    return {f"stages/{name}.py": own.read_bytes(), **shared}


@cache
def _uses(path: Path, folder: Path) -> frozenset[Path]:
    """What a module needs that stands in ``folder``: the packages around it, what it imports, the data files that it names."""
    tree = ast.parse(path.read_bytes())
    packages = {place / "__init__.py" for place in (folder, *folder.parents) if place.is_relative_to(STAGES)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    data = {file for file in _data(folder) if file.name in words or folder not in {STAGES, _LIB}}
    return frozenset(packages | {file for node in nodes for file in _imports(node, folder)} | data)


def _imports(node: ast.ImportFrom, folder: Path) -> Iterator[Path]:
    base = (folder, *folder.parents)[node.level - 1].joinpath(*(node.module or "").split("."))
    for place in (base, *(base / alias.name for alias in node.names)):
        yield from (file for file in (place.with_name(f"{place.name}.py"), place / "__init__.py") if file.is_file())


@cache
def _data(folder: Path) -> frozenset[Path]:
    return frozenset(file for file in folder.iterdir() if file.is_file() and file.suffix not in {".py", ".pyc"})
