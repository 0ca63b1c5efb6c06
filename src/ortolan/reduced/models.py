"""What the models of a target need, of its last builds and of releases that it may go back to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from .. import digest, manifest
from ..assemble import damage
from ..errors import OrtolanError
from ..manifest import Manifest
from ..recipe.project import NamedTarget, Project, admits, takes
from ..release import layout
from ..release.check import check
from ..release.layout import DESCRIPTION, TAR, ZST, Release
from ..release.member import member
from ..release.source import builds
from . import config_failed
from .config import NAME, Config, read

ORT = "model.ort"
UNTYPED = "required_operators.config"


@dataclass(frozen=True)
class Need:
    """What one model needs; ``typed`` is whether its types are known, ``ort`` reads the ``.ort`` that it ships."""

    model: str
    tag: str
    of: Literal["build", "release"]
    config: Config
    typed: bool
    ort: Callable[[], bytes]

    @property
    def subject(self) -> str:
        """How gates and tables name it."""
        return self.model if self.of == "build" else self.tag


def needs(root: Path, target: str, models: Sequence[str] = (), also: Sequence[str] = (), store: Path | None = None) -> list[Need]:
    """Of the last builds of the named models, or else of all of the target, and of the releases ``also``, sorted by name.

    ``store`` has the results of builds that failed by the reduced runtime alone. OrtolanError where one is not built,
    its files are not those that were built, or it has no configuration with types.
    """
    project = Project(root)
    device = project.target(target)
    _check_outputs(device)
    records = builds(root / "build", target, models)
    if not models:
        _check_all(project, device, {path.stem for path in records})
    built = sorted((_of_build(record, store) for record in records), key=lambda one: one.model)
    released = [_of_release(root, named, target) for named in dict.fromkeys(also)]
    return [*built, *{(one.tag, one.config.text()): one for one in released}.values()]


def _check_outputs(device: NamedTarget) -> None:
    table = device.recipe.outputs.ort
    if table is None or not table.type_reduction:
        what = (
            "the target ships no .ort files" if table is None else "the target's .ort files come without the types that they need"
        )
        why = "a reduced runtime reads .ort files, and is made from the operators and types that these need"
        hint = "[outputs] ort = { type_reduction = true }, and build again"
        raise OrtolanError(what, where=str(device.path), why=why, hint=hint)


def _check_all(project: Project, device: NamedTarget, built: set[str]) -> None:
    """Every model that the target takes is built: a runtime without one of them would refuse it in the field."""
    wanted = [name for name in project.models() if name not in built and takes(device, name)]
    missing = [name for name in wanted if admits(device, project.model(name))]
    if missing:
        why = f"the target takes {', '.join(missing)}, and what {'they need' if len(missing) > 1 else 'it needs'} is not known"
        hint = f"./inv build --target {device.name} --model {missing[0]}, or name with --model those that count"
        raise OrtolanError(f"{', '.join(missing)}: not built for {device.name}", why=why, hint=hint)


def _of_build(record: Path, store: Path | None) -> Need:
    told = _record(record)
    folder = record.parent / told["tag"]
    if not told["ok"]:
        return _of_failed(record, told, store)
    built = told["manifest"]
    if not (folder / manifest.NAME).is_file() or digest.of_file(folder / manifest.NAME) != built:
        raise _again(
            "the manifest is not the one that was built", folder / manifest.NAME, f"{record.name} has another digest of it"
        )
    files = _digests(manifest.read(folder / manifest.NAME))
    if NAME not in files or ORT not in files:
        why = f"the build has no {NAME if NAME not in files else ORT}: the target's recipe was another one then"
        raise _again(f"{record.stem} was built without what a reduced runtime is made from", folder, why)
    for name in damage(folder, {name: files[name] for name in (NAME, ORT)}):
        raise _again(f"the build is damaged: {name} differs from the manifest", folder, "its bytes have another digest")
    text = (folder / NAME).read_text("utf-8")
    return Need(record.stem, folder.name, "build", read(text, str(folder / NAME)), typed=True, ort=(folder / ORT).read_bytes)


def _record(path: Path) -> dict[str, Any]:
    """The record of the last build, with all that is asked of it here."""
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
        wanted = {"tag": str, "manifest": str, "ok": bool, "errors": list, "gates": list}
        wrong = [name for name, kind in wanted.items() if not isinstance(told[name], kind)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _again("not the record of a build", path, f"{type(error).__name__}: {error}") from error
    if wrong:
        raise _again("not the record of a build", path, f"it has another {wrong[0]}")
    return told


def _of_failed(record: Path, told: Mapping[str, Any], store: Path | None) -> Need:
    found = config_failed.files(told, (NAME, ORT), store)
    if not found:
        failed = ", ".join(gate["name"] for gate in told["gates"] if gate["outcome"] == "fail")
        why = str(told["errors"][0]).partition("\n")[0] if told["errors"] else f"failed: {failed}"
        hint = "build it again, or name with --model those that count"
        what = f"the last build of {record.stem} for {record.parent.name} failed"
        raise OrtolanError(what, where=str(record), why=why, hint=hint)
    config = read(found[NAME].decode(), f"{told['tag']}: {NAME}")
    return Need(record.stem, told["tag"], "build", config, typed=True, ort=lambda: found[ORT])


def _digests(made: Manifest) -> dict[str, str]:
    return {one.name: one.digest for one in made.artifacts}


def _again(what: str, where: Path, why: str) -> OrtolanError:
    return OrtolanError(what, where=str(where), why=why, hint="build again")


def _of_release(root: Path, named: str, target: str) -> Need:
    """A release by tag, folder or bundle, all of whose files have been read and are those that it lists."""
    folder = layout.find(root, _folder(named), target)
    release = check(folder)
    if release.target != target:
        why = f"{release.tag} is for {release.target}"
        raise OrtolanError("a release for another target", where=str(folder), why=why, hint=f"give one of {target}")
    kind = next((name for name in (NAME, UNTYPED) if name in release.files), "")
    if not kind or ORT not in release.files:
        why = f"it has no {ORT}" if kind else "it does not say which operators it needs"
        hint = "leave it out: a device with a reduced runtime cannot go back to it"
        raise OrtolanError(f"{release.tag} does not run on a reduced runtime", where=str(folder), why=why, hint=hint)
    text = member(folder, release, kind).decode()
    return _need(folder, release, read(text, f"{folder}: {kind}"), typed=kind == NAME)


def _folder(named: str) -> str:
    """The folder of a bundle that is named as a file, which alone has the digests of what is in it."""
    path = Path(named)
    if path.name not in {ZST, TAR} or not path.is_file():
        return named
    if not (path.parent / DESCRIPTION).is_file():
        why = f"no {DESCRIPTION} lies beside it, which says what it should be"
        raise OrtolanError("the bundle cannot be verified", where=named, why=why, hint="give the release's folder, or its tag")
    return str(path.parent)


def _need(folder: Path, release: Release, config: Config, *, typed: bool) -> Need:
    return Need(release.model, release.tag, "release", config, typed, partial(member, folder, release, ORT))
