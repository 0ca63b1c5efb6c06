"""``ci-jobs``: which jobs a change touches, as a pipeline of GitLab."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..ci.git import Unknown, change
from ..ci.pipeline import pipeline
from ..ci.touched import Touched, touched
from ..disk import write_bytes
from ..recipe.project import Project
from ..report.tables import table
from ..sources import Job
from . import pick
from .lists import dump

_FEW = 3


@dataclass(frozen=True)
class _Picked:
    """The jobs, what the paths are relative to, and in words which they are."""

    jobs: Sequence[Touched]
    said: str


def run(root: Path, targets: Sequence[str], *, since: str, image: str, out: Path | None, as_json: bool) -> None:
    """Write or print the pipeline; the jobs go to stdout where the pipeline goes to a file."""
    root = root.resolve()  # git's paths know of no link to the project
    project = Project(root)
    jobs = pick.jobs(project, targets or project.targets(), [])
    picked = _pick(jobs, root, since)
    print(picked.said, file=sys.stderr)
    chosen = [one.job for one in picked.jobs]
    text = pipeline(chosen, root, pick.template_folders(root), pick.runtime_folders(root), image)
    if out:
        write_bytes(out, text)
    if as_json:
        dump([{"target": one.job.target.name, "model": one.job.model.name, "why": _paths(one, root)} for one in picked.jobs])
    elif out:
        print("\n".join(_table(picked.jobs, root)))
    else:
        print(text.decode(), end="")


def _pick(jobs: Sequence[Job], root: Path, since: str) -> _Picked:
    """The jobs that the change touches, and all of them where it cannot be told."""
    every = [Touched(job, ()) for job in jobs]
    if not since:
        return _Picked(every, f"all {len(every)} jobs: no revision to compare with is given")
    try:
        found = touched(jobs, root, change(root, since))
    except Unknown as unknown:
        return _Picked(every, f"all {len(every)} jobs: what changed since {since} cannot be told: {unknown}")
    return _Picked(found, f"{len(found)} of {len(every)} jobs are touched by what changed since {since}")


def _table(jobs: Sequence[Touched], root: Path) -> list[str]:
    rows = [(one.job.target.name, one.job.model.name, _few(_paths(one, root))) for one in jobs]
    return table(("target", "model", "touched by"), rows)


def _few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _FEW} more" if len(paths) > _FEW else ""
    return ", ".join(paths[:_FEW]) + more


def _paths(one: Touched, root: Path) -> list[str]:
    top = root.resolve()
    return [str(path.relative_to(top) if path.is_relative_to(top) else path) for path in one.why]
