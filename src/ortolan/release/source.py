"""What a bundle is made from: a build that ended well, whose files are all there and nothing beside them. Nothing is built."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from .. import manifest
from ..artifact import SHIPPED, Outcome
from ..build import MEASUREMENTS
from ..digest import of_bytes
from ..errors import GateError, OrtolanError
from ..manifest import Manifest
from .check import PREFLIGHT_INSIDE, contents
from .layout import MANIFEST, inside, model_of
from .tarball import Member

_IMAGE = ".image.json"


@dataclass(frozen=True)
class Source:
    """A build's folder, its manifest, and the digests of its files by path, the manifest's own among them."""

    folder: Path
    manifest: Manifest
    written: bytes
    digests: dict[str, str]

    def members(self) -> list[Member]:
        """The files as an archive takes them, sorted by path; a file that begins with ``#!`` is a program."""
        return [_member(self.folder / path, path) for path in sorted(self.digests)]


def records(output: Path) -> list[Path]:
    """The records of the last builds, ``<target>/<model>.json``, sorted; those of images, which lie beside them, are none."""
    return [path for path in sorted(output.glob("*/*.json")) if not _of_image(path)]


def _of_image(path: Path) -> bool:
    """Whether it is ``<tag>.image.json``; a model may be called anything.image, but no tag."""
    try:
        return path.name.endswith(_IMAGE) and bool(model_of(path.name.removesuffix(_IMAGE)))
    except OrtolanError:
        return False


def builds(output: Path, target: str, models: Iterable[str]) -> list[Path]:
    """The records of the last builds for ``target``, of the named models or else of all; OrtolanError for one that is not."""
    known = {path.stem: path for path in records(output) if path.parent.name == target}
    targets = sorted({path.parent.name for path in records(output)})
    if not known:
        raise _unbuilt(f"nothing is built for '{target}'", output, target, targets)
    for model in models:
        if model not in known:
            raise _unbuilt(f"'{model}' is not built for {target}", output / target, model, sorted(known))
    return [known[model] for model in dict.fromkeys(models)] or list(known.values())


def _unbuilt(what: str, where: Path, name: str, known: list[str]) -> OrtolanError:
    near = difflib.get_close_matches(name, known, n=1)
    why = f"built are {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "") if known else "nothing is built yet"
    return OrtolanError(what, where=str(where), why=why, hint="./inv build --target NAME --model NAME")


def source(record: Path, today: date) -> Source:
    """The build that a record tells of. Files' bytes are compared while they are bundled, all else here.

    OrtolanError when the build did not end well, or its folder is not what its manifest says; GateError for a gate that failed
    and a waiver that has expired.
    """
    told = _record(record)
    folder = record.parent / str(told.get("tag"))
    written, made = _manifest(folder / MANIFEST)
    if told.get("manifest") != of_bytes(written):
        raise _again("the manifest is not the one that was built", folder / MANIFEST, f"{record.name} has another digest of it")
    if (made.tag, made.target.name, made.model.name) != (folder.name, record.parent.name, record.stem):
        raise _again("the manifest is that of another build", folder / MANIFEST, f"of {made.tag} for {made.target.name}")
    _check_gates(made, folder)
    _check_waivers(made, folder, today)
    found = Source(folder, made, written, contents(made) | {MANIFEST: of_bytes(written)})
    _check_files(found)
    return found


def _record(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _again("not the record of a build", path, str(error)) from error
    name = f"{path.stem} for {path.parent.name}"
    failed = [f"{gate['name']} ({gate['subject']})" for gate in told.get("gates", []) if gate["outcome"] == Outcome.FAIL]
    if told.get("ok") is True:
        return told
    if told.get("errors"):
        raise _again(f"the last build of {name} failed", path, str(told["errors"][0]))
    hint = "./inv build shows the gates"
    raise GateError(f"gates of the last build of {name} failed", where=str(path), why=", ".join(failed), hint=hint)


def _manifest(path: Path) -> tuple[bytes, Manifest]:
    try:
        written = path.read_bytes()
        version = json.loads(written)["manifest_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _again("not the manifest of a build", path, str(error)) from error
    if version != manifest.VERSION:
        raise _again(f"a manifest of version {version}", path, f"this ortolan reads version {manifest.VERSION}")
    try:
        made = manifest.read(path)
    except OrtolanError as error:
        raise _again("not a manifest that this ortolan reads", path, "another ortolan built it, or it is damaged") from error
    if PREFLIGHT_INSIDE not in contents(made):
        raise _again(f"the build has no {PREFLIGHT_INSIDE}", path, "an older ortolan built it")
    return written, made


def _check_gates(made: Manifest, folder: Path) -> None:
    """No gate of what ships failed; of a candidate that does not ship one may have."""
    ships = {"fp32", SHIPPED, made.precision}
    failed = [f"{gate.name} ({gate.subject})" for gate in made.gates if gate.outcome is Outcome.FAIL and gate.subject in ships]
    if failed:
        raise GateError("gates of this build failed", where=str(folder), why=", ".join(failed), hint="build again")


def _check_waivers(made: Manifest, folder: Path, today: date) -> None:
    """Every waived gate has a waiver, and every waiver still counts."""
    named = {(one.gate, one.subject) for one in made.waivers}
    open_ = [gate.name for gate in made.gates if gate.outcome is Outcome.WAIVED and (gate.name, gate.subject) not in named]
    if open_:
        why = f"{', '.join(open_)}: nobody answers for it in the manifest"
        raise GateError("a gate was waived without a waiver", where=str(folder), why=why, hint="build again")
    for one in made.waivers:
        if not _counts(one.expires, today):
            why = f"{one.who} answered for {one.gate} ({one.subject}) until {one.expires}; today is {today}"
            hint = "make the gate pass, or renew the waiver in waivers/, and build again"
            raise GateError(f"the waiver for {one.gate} has expired", where=str(folder), why=why, hint=hint)


def _counts(expires: str, today: date) -> bool:
    try:
        return today <= date.fromisoformat(expires)
    except ValueError:
        return False


def _check_files(found: Source) -> None:
    """The folder holds exactly the manifest's files, as files of their own, and the timings that are no part of a release."""
    entries = {path.relative_to(found.folder).as_posix(): path for path in found.folder.rglob("*")}
    links = [name for name, path in entries.items() if path.is_symlink() or not (path.is_dir() or path.is_file())]
    files = {name for name, path in entries.items() if path.is_file()} - {MEASUREMENTS}
    for what, names in (
        ("is no file of its own", links),
        ("is missing", found.digests.keys() - files),
        ("is not in the manifest", files - found.digests.keys()),
        ("is no path inside a bundle", [name for name in found.digests if not _inside(name)]),
    ):
        if names:
            raise _again(f"the build is damaged: {min(names)} {what}", found.folder, "its folder is not what its manifest says")
    for one in found.manifest.artifacts:
        size = (found.folder / one.name).stat().st_size
        if size != one.size:
            raise damaged(found.folder, one.name, f"it has {size} bytes, the manifest says {one.size}")


def _inside(path: str) -> bool:
    try:
        return bool(inside(path))
    except ValueError:
        return False


def damaged(folder: Path, name: str, why: str) -> OrtolanError:
    """A file's bytes are not those of the manifest."""
    return _again(f"the build is damaged: {name} differs from the manifest", folder, why)


def _again(what: str, where: Path, why: str) -> OrtolanError:
    return OrtolanError(what, where=str(where), why=why, hint="build again")


def _member(file: Path, path: str) -> Member:
    with file.open("rb") as stream:
        program = stream.read(2) == b"#!"

    def opened() -> AbstractContextManager[BinaryIO]:
        return file.open("rb")

    return Member(path, file.stat().st_size, program, opened)
