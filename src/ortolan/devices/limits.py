"""What benches say of a build: the newest of each device that timed the very files, judged by the recipe and its waivers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ..artifact import Gate, Outcome
from ..errors import GateError, OrtolanError
from ..gates.bench import on_device, unmeasured
from ..gates.waivers import waived
from ..manifest import Manifest
from ..recipe.project import Project
from ..recipe.schema import Target
from ..recipe.waiver import load_waivers
from .bench import MODELS, SESSION, VERSION


def kept_at(root: Path, target: str, tag: str) -> Path:
    """The folder with what benches of a build found, a file for each device."""
    return root / "build" / target / "bench" / tag


def standing(root: Path, made: Manifest, today: date | None = None) -> list[Gate]:
    """The gates of a build by its benches; those of its limits as not run where there is none. RecipeError."""
    project = Project(root)
    if made.target.name not in project.targets():
        return []
    recipe = project.target(made.target.name).recipe
    gates = [gate for path in _benches(root, made) for gate in _judged(recipe, path, made)] or _none(recipe, made)
    waivers = load_waivers(root, today or datetime.now(UTC).date())
    return waived(waivers, made.target.name, gates, made.model.hash)


def check(root: Path, made: Manifest) -> list[Gate]:
    """The same; GateError when one failed."""
    found = standing(root, made)
    failed = [f"{one.name} on {one.subject}: {one.measured}, limit {one.limit}" for one in found if one.outcome is Outcome.FAIL]
    if failed:
        where = str(kept_at(root, made.target.name, made.tag))
        hint = "make it faster, or ./inv waive the gate; a device that is gone: remove its file"
        raise GateError(f"{made.tag} is too slow for {made.target.name}", where=where, why="; ".join(failed), hint=hint)
    return found


def _none(recipe: Target, made: Manifest) -> list[Gate]:
    hint = f"./inv bench --target {made.target.name} --model {made.model.name} --host ..."
    return unmeasured(recipe, made.precision, hint)


def _benches(root: Path, made: Manifest) -> list[Path]:
    return sorted(kept_at(root, made.target.name, made.tag).glob("*.json"))


def _judged(recipe: Target, path: Path, made: Manifest) -> list[Gate]:
    """By one device, if it timed exactly the files that ship. OrtolanError for a file that no bench has written."""
    digests = {one.name: one.digest for one in made.artifacts}
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if found["bench_version"] != VERSION or not _same(found, digests):
            return []
        return on_device(recipe, found)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        hint = "bench again, or remove it"
        raise OrtolanError("not the result of a bench", where=str(path), why=repr(error), hint=hint) from error


def _same(found: Mapping[str, Any], digests: Mapping[str, str]) -> bool:
    """Whether it timed all models that ship, these and no others, as the session.json opens them that ships."""
    timed = {str(one["file"]): one["digest"] for one in found["results"] if one["ships"]}
    return timed == {name: digests[name] for name in MODELS if name in digests} and found["session"] == digests.get(SESSION)
