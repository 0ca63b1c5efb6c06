"""Build twice, in two empty stores from two different folders, and grade every artifact."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import digest
from .assemble import MEASUREMENTS
from .build import Built, Options, build
from .cache import Cache
from .errors import OrtolanError
from .events import Emit
from .sources import Job


@dataclass(frozen=True)
class Grade:
    """One artifact of two builds: ``bit-identical``, or what differs."""

    model: str
    artifact: str
    verdict: str

    @property
    def same(self) -> bool:
        """Whether both builds gave the same bytes."""
        return self.verdict == "bit-identical"


Load = Callable[[Path], Sequence[Job]]


def reproduce(project: Path, load: Load, options: Options, emit: Emit) -> list[Grade]:
    """Copy the project's recipes to two folders, build each with a store of its own, compare all files.

    ``load`` reads the jobs of a project folder. OrtolanError when either build fails.
    """
    with tempfile.TemporaryDirectory(prefix="ortolan-") as scratch:
        first, second = Path(scratch) / "a", Path(scratch) / "somewhere" / "quite" / "else"
        builds = [_build(project, where, load, options, emit) for where in (first, second)]
        return [grade for pair in zip(*builds, strict=True) for grade in _grades(*pair)]


def _build(project: Path, where: Path, load: Load, options: Options, emit: Emit) -> list[Built]:
    shutil.copytree(project / "recipes", where / "recipes")
    own = replace(options, cache=Cache(where / "cache", options.cache.runtimes), output=where / "build")
    built = build(load(where), own, emit)
    for one in built:
        if not one.ok:
            raise OrtolanError(f"{one.job.name} does not build, so there is nothing to compare", why="; ".join(map(str, one.errors)))
    return built


def _grades(first: Built, second: Built) -> list[Grade]:
    assert first.folder and second.folder
    one, other = _files(first.folder), _files(second.folder)
    name = first.job.model.name
    if first.tag != second.tag:
        return [Grade(name, "tag", f"{first.tag} and {second.tag}")]
    return [Grade(name, path, _verdict(one.get(path), other.get(path))) for path in sorted(one.keys() | other.keys())]


def _files(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path for name, path in found.items() if name != MEASUREMENTS}


def _verdict(one: Path | None, other: Path | None) -> str:
    if one is None or other is None:
        return "only one of the builds has it"
    if digest.of_file(one) == digest.of_file(other):
        return "bit-identical"
    a, b = one.read_bytes(), other.read_bytes()
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"differs from byte {at} on ({len(a)} and {len(b)} bytes)"
