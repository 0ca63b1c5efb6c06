"""``sensitivity``: which layers of a model cost most when they are quantised."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from .. import plan, quantising
from ..build import executor_for, failures
from ..cache import Cache
from ..errors import OrtolanError
from ..execute import Results
from ..platforms import host_platform
from ..recipe.project import Project
from ..report.progress import shown
from ..report.tables import table
from ..sources import Job
from ..step import Step
from . import pick

_SHOWN = 30  # layers; --json has all


def run(root: Path, targets: Sequence[str], models: Sequence[str], cache: Cache, *, jobs: int, as_json: bool) -> None:
    """One block, or one line of JSON, for each model and target; the exit code is that of the first error."""
    picked = pick.jobs(Project(root), targets, models)
    asked = [(job, _ranking(job)) for job in picked]
    with shown(as_json=as_json) as emit:
        executor = executor_for(picked, pick.options(root, cache, jobs), emit)
        results = executor.run(step for _, step in asked if step)
    print("\n".join(_said(job, step, results, as_json=as_json) for job, step in asked))
    wrong = [error for job, step in asked for error in _errors(job, step, results)]
    for text in dict.fromkeys(map(str, wrong)):
        print(f"error: {text}", file=sys.stderr)
    if wrong:
        raise Exit(code=max(error.exit_code for error in wrong))


def _ranking(job: Job) -> Step | None:
    """The step that ranks a job's layers; none where the recipes make no candidate."""
    found = plan.candidates(job, host=host_platform())
    return quantising.sensitivity(job, plan.base(found), found.lowered) if found.lowered else None


def _errors(job: Job, step: Step | None, results: Results) -> list[OrtolanError]:
    if step is not None:
        return failures([step], results, set())
    never = job.target.recipe.quantize.policy == "never"
    why = "the target's policy is never to quantise" if never else "the model recipe has no [data] calibration"
    return [OrtolanError("there is nothing to rank", where=job.name, why=why, hint="see [quantize] in docs/quantisation.md")]


def _said(job: Job, step: Step | None, results: Results, *, as_json: bool) -> str:
    facts = results[step.id].facts if step else {}
    if as_json:
        errors = [str(error) for error in _errors(job, step, results)]
        scheme = job.target.recipe.quantize.scheme
        told = {"kind": "sensitivity", "model": job.model.name, "target": job.target.name, "scheme": scheme, "errors": errors}
        return json.dumps({**told, **facts}, sort_keys=True)
    return "\n".join([f"{job.name}: {job.precision}", *(f"  {line}".rstrip() for line in _lines(facts)), ""])


def _lines(facts: Mapping[str, Any]) -> list[str]:
    if not facts:
        return ["not known: see the error"]
    layers = facts["layers"]
    rows = [
        (str(rank), one["node"], one["op"], f"{one['snr_db']:.1f} dB", f"{one['mac_share']:.1%}")
        for rank, one in enumerate(layers[:_SHOWN], 1)
    ]
    more = [f"… and {len(layers) - _SHOWN} more (--json)"] if len(layers) > _SHOWN else []
    whole = f"all {len(layers)} quantised: {facts['snr_db']:.1f} dB, on {facts['samples']} samples, without labels"
    return [*table(("rank", "layer", "operator", "SNR alone", "MACs"), rows), *more, "", whole]
