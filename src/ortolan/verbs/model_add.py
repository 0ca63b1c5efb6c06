"""``model-add``: write the recipe of a model from its file, with all that can be read from it."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import origins
from ..build import executor_for, failures
from ..cache import Cache
from ..disk import disk, part_of, remove, sweep, write_bytes
from ..errors import OrtolanError, RecipeError
from ..recipe.project import NamedTarget, Project, clean, named_from, offered
from ..recipe.sources import Offer, whole
from ..report.model_recipe import recipe
from ..report.progress import shown
from ..sources import Job, job
from . import pick

_USUAL = "x86-cpu"  # whose opset a model is read with where no target is given


def run(root: Path, file: str, name: str, target: str, *, as_json: bool, cache: Cache) -> None:
    """Write ``recipes/models/NAME.toml``; files from outside the project are copied beside it. Nothing is ever overwritten.

    All of it is there at the end, or none.
    """
    given, project = whole(Path(file)), Project(root)
    path = Path(os.path.abspath(given))  # noqa: PTH100 - links stay as they are
    offer, called = offered(given), name or clean(path.stem)
    if called != clean(called):
        raise RecipeError(f"{called!r} cannot be part of a tag", hint=f"--name {clean(called)}")
    written = root / "recipes" / "models" / f"{called}.toml"
    table, copies = _placed(offer.table, path.parent, written.parent, root)
    _absent(written, *(to for source, to in copies.items() if not _same(source, to)))
    device = project.target(target or _usual(project))
    facts = {} if offer.missing else _facts(job(named_from(path, offer), device), root, cache, as_json=as_json)
    with _copied(copies, written.parent):
        _absent(written)  # another model-add may have come first, while the model was read
        write_bytes(written, recipe(called, f"{offer.what}, {path.name}", table, offer.missing, facts).encode())
    _tell([written, *copies.values()], root, offer, device, as_json=as_json)


def _placed(table: Mapping[str, Any], folder: Path, to: Path, root: Path) -> tuple[dict[str, Any], dict[Path, Path]]:
    """The ``[source]`` table with paths from ``to``; what lies outside the project is copied: ``{from: to}``."""
    names = [table[key] for key in ("file", "weights") if key in table] + list(table.get("external_data", []))
    if folder.is_relative_to(root):
        moved = {name: Path(os.path.relpath(folder / name, to)).as_posix() for name in names}
        return {key: _renamed(value, moved) for key, value in table.items()}, {}
    return dict(table), {folder / name: to / name for name in names}


def _renamed(value: Any, moved: Mapping[str, str]) -> Any:
    return [moved[one] for one in value] if isinstance(value, list) else moved.get(value, value)


def _absent(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            what = f"{path.name} is there already"
            raise OrtolanError(what, where=str(path), hint="give another name with --name, or rename the file")


def _same(source: Path, to: Path) -> bool:
    """Whether a file, or a folder, is there already, byte for byte."""
    if source.is_dir() and to.is_dir():
        names = {one.name for one in source.iterdir()}
        return names == {one.name for one in to.iterdir()} and all(_same(source / one, to / one) for one in names)
    return source.is_file() and to.is_file() and filecmp.cmp(source, to, shallow=False)


@contextmanager
def _copied(copies: Mapping[Path, Path], folder: Path) -> Iterator[None]:
    """The copies, as long as all goes well; what was there before stays."""
    made = {source: to for source, to in copies.items() if not to.exists()}
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    try:
        for source, to in made.items():
            _copy(source, to)
        yield
    except BaseException:
        for to in made.values():
            remove(to)
        raise


def _copy(source: Path, to: Path) -> None:
    """In one move, so that a kill leaves no half of it."""
    part = part_of(to)
    with disk(to):
        try:
            _fill(source, part)
            part.replace(to)
        finally:
            remove(part)


def _fill(source: Path, to: Path) -> None:
    if not source.is_dir():
        shutil.copyfile(source, to)
        return
    to.mkdir()
    for one in source.iterdir():
        _fill(one, to / one.name)


def _usual(project: Project) -> str:
    names = project.targets()
    if not names:
        raise RecipeError("the project has no target", where=str(project.root), hint="ortolan init")
    return _USUAL if _USUAL in names else names[0]


def _facts(one: Job, root: Path, cache: Cache, *, as_json: bool) -> dict[str, Any]:
    """What the step says that takes the model in, in its framework's runtime."""
    step = origins.load(one)
    with shown(as_json=as_json) as emit:
        executor = executor_for([one], pick.options(root, cache), emit, lambda each: {origins.runtime(each)})
        results = executor.run([step])
    wrong = failures([step], results, set())
    if wrong:
        raise wrong[0]
    return dict(results[step.id].facts)


def _tell(files: list[Path], root: Path, offer: Offer, device: NamedTarget, *, as_json: bool) -> None:
    names, model = [path.relative_to(root).as_posix() for path in files], files[0].stem
    if as_json:
        missing = [one.lines for one in offer.missing]
        told = {"kind": "model-added", "model": model, "what": offer.what, "files": names, "missing": missing}
        print(json.dumps(told, sort_keys=True))
        return
    print("\n".join(names))
    for one in offer.missing:
        print(f"to be filled in ({one.why}):\n  {one.lines.replace(chr(10), chr(10) + '  ')}", file=sys.stderr)
    print(f"next: ./inv build --target {device.name} --model {model}", file=sys.stderr)
