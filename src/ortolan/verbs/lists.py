"""``targets``, ``models``, ``runtimes``, ``schema``, ``show``: what there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import manifest, runtime
from ..assemble import damage
from ..cache import Cache
from ..recipe.jsonschema import DIALECT, schemas
from ..recipe.project import Project
from ..report.manifest import told
from ..report.tables import table
from . import pick


def targets(root: Path, *, as_json: bool) -> None:
    """One line for each target."""
    project = Project(root)
    recipes = {name: project.target(name).recipe for name in project.targets()}
    rows = [(n, r.platform, ", ".join(r.runtime.versions), str(r.runtime.opset), r.description) for n, r in recipes.items()]
    listed(("target", "platform", "onnxruntime", "opset", "description"), rows, as_json=as_json)


def models(root: Path, *, as_json: bool) -> None:
    """One line for each model."""
    project = Project(root)
    recipes = {name: project.model(name).recipe for name in project.models()}
    rows = [(n, r.source.kind, ", ".join(i.name for i in r.input), r.description) for n, r in recipes.items()]
    listed(("model", "source", "inputs", "description"), rows, as_json=as_json)


def runtimes(root: Path, cache: Cache, *, as_json: bool, check: bool) -> None:
    """One line for each runtime, with its state on this machine."""
    folders = pick.runtime_folders(root)
    specs = [runtime.find(name, folders) for name in sorted(runtime.known(folders))]
    rows = [(s.name, s.python, runtime.state(s, cache.runtimes, check=check), s.description) for s in specs]
    listed(("runtime", "python", "state", "description"), rows, as_json=as_json)


def schema(out: Path | None) -> None:
    """Print the schemas, or write each to a file."""
    found = {**schemas(), "manifest": {"$schema": DIALECT, **manifest.Manifest.model_json_schema()}}
    if out is None:
        print(json.dumps(found, indent=1))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, value in found.items():
        (out / f"{name}.schema.json").write_text(json.dumps(value, indent=1) + "\n")
        print(out / f"{name}.schema.json")


def show(root: Path, tag: str, *, as_json: bool) -> None:
    """The manifests of a tag, of every target that has it; artifacts that are damaged are marked. As JSON several are a list."""
    found = {path.parent: manifest.read(path) for path in manifest.find(root / "build", tag)}
    if as_json:
        several = [one.model_dump(mode="json") for one in found.values()]
        dump(several if len(several) > 1 else several[0])
        return
    for folder, one in found.items():
        damaged = damage(folder, {artifact.name: artifact.digest for artifact in one.artifacts})
        print("\n".join(told(one, damaged)))


def listed(header: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """A table, or the same as a JSON list of objects."""
    if as_json:
        dump([dict(zip(header, row, strict=True)) for row in rows])
    else:
        print("\n".join(table(header, rows)))


def dump(value: Any) -> None:
    """JSON for other programs."""
    print(json.dumps(value, indent=1, sort_keys=True))
