"""``build``: run it, show its gates, remember that it is up to date."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from invoke.exceptions import Exit

from .. import fresh, manifest
from ..build import Built, build
from ..cache import Cache
from ..errors import GateError
from ..plan import runtimes
from ..recipe.project import Project
from ..report.progress import shown
from ..report.tables import gate_table, size
from . import pick


def run(
    root: Path, targets: Sequence[str], models: Sequence[str], *, jobs: int, as_json: bool, cache: Cache, record: Path
) -> None:
    """Build; print one block (or one line of JSON) per job; exit with 3 for a failed gate, or the errors' own code."""
    picked = pick.jobs(Project(root), targets, models)
    with shown(as_json=as_json) as emit:
        built = build(picked, pick.options(root, cache, jobs), emit)
    said = "\n".join(_json(one) if as_json else _text(one, root) for one in built)
    print(said)
    for error in dict.fromkeys(str(error) for one in built for error in one.errors):
        print(f"error: {error}", file=sys.stderr)
    if all(one.ok for one in built):
        fresh.remember(record, said, _files(built, root, cache), _folders(built, root))
    else:
        raise Exit(code=max(error.exit_code for one in built if not one.ok for error in one.errors or [GateError("")]))


def _text(one: Built, root: Path) -> str:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    lines = [one.job.name, *(f"  {line}" for line in (gate_table(one.gates, colour=colour) if one.gates else []))]
    if one.folder is None:
        return "\n".join(
            [*lines, f"  not built: {'see the error' if one.errors else 'a gate failed'}; nothing was put in place", ""]
        )
    made = manifest.read(one.folder / manifest.NAME)
    files = ", ".join(f"{a.name} {size(a.size)}" for a in made.artifacts)
    return "\n".join(
        [*lines, f"  ships {one.precision}: {made.precision_reason}", f"  {one.folder.relative_to(root)}/: {files}", ""]
    )


def _json(one: Built) -> str:
    value = {
        "kind": "built", "model": one.job.model.name, "target": one.job.target.name, "ok": one.ok, "tag": one.tag,
        "precision": one.precision, "folder": str(one.folder or ""), "gates": [asdict(gate) for gate in one.gates],
        "errors": [str(error) for error in one.errors],
    }  # fmt: skip
    return json.dumps(value, sort_keys=True)


def _files(built: Sequence[Built], root: Path, cache: Cache) -> list[Path]:
    """Every file that the result depends on or consists of."""
    recipes = [path for kind in ("targets", "models") for path in (root / "recipes" / kind).glob("*.toml")]
    sources = [path for one in built for tree in one.job.trees.values() for path in tree.paths.values()]
    made = [path for one in built if one.folder for path in one.folder.iterdir()]
    names = {name for one in built for name in runtimes(one.job)}
    locks = [
        folder / name / file
        for folder in pick.runtime_folders(root)
        for name in names
        for file in ("requirements.txt", "runtime.toml")
    ]
    return [*recipes, *sources, *made, *locks, *cache.runtimes.glob("*/ortolan.json")]


def _folders(built: Sequence[Built], root: Path) -> list[Path]:
    """Folders in which a new name would change the result."""
    sources = {path.parent for one in built for tree in one.job.trees.values() for path in tree.paths.values()}
    return [root / "recipes" / "targets", root / "recipes" / "models", *sources, *(one.folder for one in built if one.folder)]
