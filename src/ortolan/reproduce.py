"""Build twice, in two empty stores from two different folders, and grade every artifact."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import digest
from .build import MEASUREMENTS, Built, Options, build
from .cache import Cache
from .errors import OrtolanError
from .events import Emit
from .sources import Job
from .step import Tree, tree
from .store import Store


@dataclass(frozen=True)
class Grade:
    """One artifact of two builds: ``bit-identical``, or what differs."""

    model: str
    target: str
    artifact: str
    verdict: str

    @property
    def same(self) -> bool:
        """Whether both builds gave the same bytes."""
        return self.verdict == "bit-identical"


def reproduce(jobs: Sequence[Job], options: Options, emit: Emit) -> list[Grade]:
    """Copy all files of the jobs' models to two folders, build from each with a store of its own, compare all files.

    Timings are the one thing that cannot come out twice: the second build takes
    those of the first, where both came to the very same models. OrtolanError when either build fails.
    """
    with tempfile.TemporaryDirectory(prefix="ortolan-") as scratch:
        first, second = Path(scratch) / "a", Path(scratch) / "somewhere" / "quite" / "else"
        one = _build(jobs, first, options, emit)
        _hand_on_timings(Store(_cache(first, options).store), Store(_cache(second, options).store))
        other = _build(jobs, second, options, emit)
        return [grade for pair in zip(one, other, strict=True) for grade in _grades(*pair)]


def _cache(where: Path, options: Options) -> Cache:
    return Cache(where / "cache", options.cache.runtimes)


def _build(jobs: Sequence[Job], where: Path, options: Options, emit: Emit) -> list[Built]:
    moved = [_moved(job, where / "sources") for job in jobs]
    built = build(moved, replace(options, cache=_cache(where, options), output=where / "build"), emit)
    for one in built:
        if not one.ok:
            why = "; ".join(f"{error.where}: {error.what}" for error in one.errors) or "a gate failed"
            hint = "./inv build says more"
            raise OrtolanError(f"{one.job.name} does not build, so there is nothing to compare", why=why, hint=hint)
    return built


def _moved(job: Job, where: Path) -> Job:
    """The job with copies of its model's files below ``where``, wherever in the project or beside it they are."""
    trees = {role: _copied(found, where / job.model.name / role) for role, found in job.trees.items()}
    return replace(job, trees=trees)


def _copied(found: Tree, where: Path) -> Tree:
    paths = {name: where / name for name in found.paths}
    for name, path in paths.items():
        if not path.exists():  # targets share their models
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.paths[name], path)
    return tree(paths, single=found.single)


def _hand_on_timings(first: Store, second: Store) -> None:
    for action in first.measurements():
        second.record(action)


def _grades(first: Built, second: Built) -> list[Grade]:
    model, target = first.job.model.name, first.job.target.name
    if first.tag != second.tag or first.folder is None or second.folder is None:
        return [Grade(model, target, "tag", f"{first.tag} and {second.tag}")]
    one, other = _files(first.folder), _files(second.folder)
    return [Grade(model, target, path, _verdict(one.get(path), other.get(path))) for path in sorted(one.keys() | other.keys())]


def _files(folder: Path) -> dict[str, Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != MEASUREMENTS)
    return {path.relative_to(folder).as_posix(): path for path in found}


def _verdict(one: Path | None, other: Path | None) -> str:
    if one is None or other is None:
        return "only one of the builds has it"
    if digest.of_file(one) == digest.of_file(other):
        return "bit-identical"
    a, b = one.read_bytes(), other.read_bytes()
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"differs from byte {at} on ({len(a)} and {len(b)} bytes)"
