"""``reproduce``: build twice and grade every artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..cache import Cache
from ..errors import GateError
from ..recipe.project import Project
from ..report.progress import shown
from ..reproduce import reproduce
from . import pick
from .lists import listed


def run(root: Path, targets: Sequence[str], models: Sequence[str], cache: Cache, *, jobs: int, as_json: bool) -> None:
    """One line for each artifact. GateError when any differs."""
    picked = pick.jobs(Project(root), targets, models)
    with shown(as_json=False) as emit:
        grades = reproduce(picked, pick.options(root, cache, jobs), emit)
    listed(
        ("model", "target", "artifact", "grade"), [(g.model, g.target, g.artifact, g.verdict) for g in grades], as_json=as_json
    )
    if not all(grade.same for grade in grades):
        raise GateError(
            "two builds of the same sources differ", hint="a stage or a callable in the recipe depends on more than its inputs"
        )
