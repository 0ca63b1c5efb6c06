"""``build``: run it, show its gates, remember that it is up to date."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from invoke.exceptions import Exit

from .. import carried, emulation, fresh, manifest, runtime
from ..artifact import Outcome
from ..build import Built, build
from ..cache import Cache
from ..errors import GateError
from ..place import HostError
from ..recipe.fleet import NamedDevice
from ..recipe.project import Project
from ..recipe.waiver import FOLDER
from ..report import coloured
from ..report.progress import shown
from ..report.tables import gate_table, size
from ..sources import Job
from . import pick
from .doctor import pick_devices


def run(
    root: Path,
    targets: Sequence[str],
    models: Sequence[str],
    *,
    jobs: int,
    as_json: bool,
    cache: Cache,
    record: Path,
    emulated: bool,
    hosts: Sequence[str] = (),
    python: str = "",
    limit: float = 1800.0,
) -> None:
    """Build; print one block (or one line of JSON) per job; exit with 3 for a failed gate, or the errors' own code."""
    before = _read(root)
    project = Project(root)
    picked = pick.jobs(project, targets, models)
    options = pick.options(root, cache, jobs, emulation=emulated)
    if hosts:
        devices = _for(pick_devices(project, hosts, python, targets), picked)
        options = replace(options, devices=devices, device_limit=limit)
    runtimes = [path for one in picked for path in carried.looks_at(root / "build" / one.target.name)]
    before |= _sources(picked) | fresh.look(runtimes, [])
    with shown(as_json=as_json) as emit:
        built = build(picked, options, emit)
    said = "\n".join(_json(one) if as_json else _text(one, root) for one in built)
    print(said)
    for error in dict.fromkeys(str(error) for one in built for error in one.errors):
        print(f"error: {error}", file=sys.stderr)
    judged = [gate for one in built for gate in one.gates]
    waived = any(gate.outcome is Outcome.WAIVED for gate in judged)  # tomorrow it may have expired
    stopped = any(gate.name == "recovered" and gate.varies for gate in judged)  # the next build goes on with the search
    if all(one.ok for one in built):
        if not hosts and not waived and not stopped and not emulation.unreached(judged):
            fresh.remember(record, said, before | _made(built, cache))
    else:
        raise Exit(code=max(error.exit_code for one in built if not one.ok for error in one.errors or [GateError("")]))


def _for(devices: Sequence[NamedDevice], jobs: Sequence[Job]) -> list[NamedDevice]:
    """The devices, of which those of other targets are not asked. HostError for one of these that was named by its own name."""
    targets = list(dict.fromkeys(job.target.name for job in jobs))
    for one in devices:
        if not one.group and one.target not in {"", *targets}:
            what = f"is a {one.target} (recipes/fleet.toml), not {' or '.join(targets)}"
            hint = f"./inv build --target {one.target} --host {one.name}, or change its target in the fleet file"
            raise HostError(what, where=one.name, hint=hint)
    return [replace(one, idle=one.target not in {"", *targets}) for one in devices]


def _text(one: Built, root: Path) -> str:
    lines = [one.job.name, *(f"  {line}" for line in (gate_table(one.gates, colour=coloured()) if one.gates else []))]
    if one.folder is None:
        return "\n".join([*lines, f"  not built: {_unplaced(one, root)}", ""])
    made = manifest.read(one.folder / manifest.NAME)
    files = ", ".join(f"{a.name} {size(a.size)}" for a in made.artifacts)
    return "\n".join(
        [*lines, f"  ships {one.precision}: {made.precision_reason}", f"  {one.folder.relative_to(root)}/: {files}", ""]
    )


def _unplaced(one: Built, root: Path) -> str:
    """Why nothing was put in place, and whether an earlier build with the same tag still is."""
    why = f"{'see the error' if one.errors else 'a gate failed'}; nothing was put in place"
    earlier = root / "build" / one.job.target.name / one.tag
    if not one.tag or not (earlier / manifest.NAME).is_file():
        return why
    return f"{why}\n  {earlier.relative_to(root)}/ is an earlier build of this tag, judged by other limits: do not ship it"


def _json(one: Built) -> str:
    value = {
        "kind": "built", "model": one.job.model.name, "target": one.job.target.name, "ok": one.ok, "tag": one.tag,
        "precision": one.precision, "folder": str(one.folder or ""), "gates": [asdict(gate) for gate in one.gates],
        "errors": [str(error) for error in one.errors],
    }  # fmt: skip
    return json.dumps(value, sort_keys=True)


def _read(root: Path) -> fresh.Seen:
    """The recipes, the locks of runtimes, Ortolan itself; and the folders in which a new name could change the result."""
    kinds = [root / "recipes" / "targets", root / "recipes" / "models", root / FOLDER]
    recipes = [path for folder in kinds for path in folder.glob("*.toml")]
    locked = pick.runtime_folders(root)
    templates = [path for folder in pick.template_folders(root) for path in (folder, *folder.rglob("*"))]
    locks = [path for folder in locked for path in folder.glob("*/*") if path.is_file()]
    specs = [runtime.find(name, locked) for name in runtime.known(locked)]
    programs = {Path("/usr/bin") / name for spec in specs for name in spec.programs}  # where steps look for them
    programs |= emulation.looks_for(locked)
    texts, nested = [path for path in templates if path.is_file()], [path for path in templates if path.is_dir()]
    return fresh.look([*recipes, *locks, *programs, *texts, *fresh.own()], [*kinds, *locked, *nested])


def _sources(jobs: Sequence[Job]) -> fresh.Seen:
    """The models' own files, with the digests that the jobs will be built from, and all folders that may get more of them."""
    trees = [tree for job in jobs for tree in job.trees.values()]
    files = {str(tree.paths[name]): digest for tree in trees for name, digest in tree.files.items()}
    folders = {above for tree in trees for name, path in tree.paths.items() for above in path.parents[: len(Path(name).parts)]}
    named = {folder for one in jobs for folder in one.model.files.folders}
    return fresh.Seen(files, {}) | fresh.look([], folders | named)


def _made(built: Sequence[Built], cache: Cache) -> fresh.Seen:
    """What the builds left, and the runtimes in the cache. An artifact's bytes were hashed when they were put in place."""
    folders = [one.folder for one in built if one.folder]
    known = {str(folder / one.name): one.digest for folder in folders for one in manifest.read(folder / manifest.NAME).artifacts}
    others = [path for folder in folders for path in folder.rglob("*") if path.is_file() and str(path) not in known]
    return fresh.Seen(known, {}) | fresh.look([*others, *cache.runtimes.glob("*/ortolan.json")], folders)
