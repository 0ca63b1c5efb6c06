"""Which jobs a change touches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..sources import Job
from .git import Change
from .inputs import Inputs, inputs


@dataclass(frozen=True)
class Touched:
    """A job, and the paths because of which it is to be built."""

    job: Job
    why: Sequence[Path]


def touched(jobs: Sequence[Job], root: Path, change: Change) -> list[Touched]:
    """The jobs that have an input among what changed, or one that git cannot compare."""
    found = [Touched(job, _why(inputs(job, root), change)) for job in jobs]
    return [one for one in found if one.why]


def _why(given: Inputs, change: Change) -> list[Path]:
    hit = {path for path in change.changed if path in given.files or not given.folders.isdisjoint([path, *path.parents])}
    return sorted({*hit, *(path for path in given.files if _moved(path, change))})


def _moved(file: Path, change: Change) -> bool:
    """Whether a folder above the file is another now (a submodule, say), or git does not know the file: it may have changed."""
    above: Iterable[Path] = (file, *file.parents)
    return any(path in change.changed for path in above) or not any(path in change.known for path in above)
