"""``why``: which key field changed since the last build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..build import emulated, executor_for
from ..cache import Cache
from ..recipe.project import Project
from ..report.progress import shown
from ..why import Change, judged_by, last_build, summary, why
from . import pick
from .lists import dump


def run(root: Path, targets: Sequence[str], models: Sequence[str], cache: Cache, *, as_json: bool, emulation: bool) -> None:
    """One block for each job: the steps that are not as they were, and the fields that make the difference."""
    picked, options = pick.jobs(Project(root), targets, models), pick.options(root, cache, emulation=emulation)
    last = [last_build(options.output, one) for one in picked]
    with shown(as_json=False) as emit:
        executor = executor_for(picked, options, emit)
        emulated(picked, options, executor)
    found = [
        (one.name, [*judged_by(one, record["limits"]), *why(one, record["steps"], executor)])
        for one, record in zip(picked, last, strict=True)
    ]
    if as_json:
        dump([{"job": name, "steps": [asdict(change) for change in changes]} for name, changes in found])
        return
    for name, changes in found:
        print(f"{name}: {summary(changes)}")
        for change in changes:
            print("".join(f"{line}\n" for line in _lines(change)), end="")


def _lines(change: Change) -> list[str]:
    if change.state == "same":
        return []
    if change.state == "waits":
        return [f"  waits  {change.label} (for {', '.join(change.fields)})"]
    return [f"  {change.state:7}{change.label}", *(f"           {field}" for field in change.fields)]
