"""``sensitivity``: which layers of a model cost most when they are quantised."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from .. import gates, plan, quantising
from ..build import executor_for, failures
from ..cache import Cache
from ..errors import OrtolanError
from ..execute import Executor, Results
from ..platforms import host_platform
from ..recipe.project import Project
from ..report.progress import shown
from ..report.tables import table
from ..sources import Job
from ..step import Step
from . import pick

_SHOWN = 30  # layers; --json has all


@dataclass(frozen=True)
class _Asked:
    """A job, the step that ranks its layers, and where there is none the reason."""

    job: Job
    step: Step | None
    why: str = ""


def run(root: Path, targets: Sequence[str], models: Sequence[str], cache: Cache, *, jobs: int, as_json: bool) -> None:
    """One block, or one line of JSON, for each model and target; the exit code is the largest of the errors'."""
    picked = pick.jobs(Project(root), targets, models)
    with shown(as_json=as_json) as emit:
        executor = executor_for(picked, pick.options(root, cache, jobs), emit)
        asked, results = _rankings(picked, executor)
        results = executor.run((one.step for one in asked if one.step), results)
    print("\n".join(_said(one, results, as_json=as_json) for one in asked))
    wrong = [error for one in asked for error in _errors(one, results)]
    for text in dict.fromkeys(map(str, wrong)):
        print(f"error: {text}", file=sys.stderr)
    if wrong:
        raise Exit(code=max(error.exit_code for error in wrong))


def _rankings(jobs: Sequence[Job], executor: Executor) -> tuple[list[_Asked], Results]:
    """What is asked of each job, once it is known which models come quantised; and the results of that."""
    found = [plan.candidates(job, host=host_platform()) for job in jobs]
    results = executor.run(one.normalise for one in found)
    return [_ranking(job, one, results) for job, one in zip(jobs, found, strict=True)], results


def _ranking(job: Job, found: plan.Candidates, results: Results) -> _Asked:
    if gates.comes_quantised(found, results):
        return _Asked(job, None, "the model comes quantised, and is not quantised again")
    if found.lowered:
        return _Asked(job, quantising.sensitivity(job, plan.base(found), found.lowered))
    never = job.target.recipe.quantize.policy == "never"
    return _Asked(
        job, None, "the target's policy is never to quantise" if never else "the model recipe has no [data] calibration"
    )


def _errors(one: _Asked, results: Results) -> list[OrtolanError]:
    if one.step is not None:
        return failures([one.step], results, set())
    hint = "see [quantize] in docs/quantisation.md"
    return [OrtolanError("there is nothing to rank", where=one.job.name, why=one.why, hint=hint)]


def _said(one: _Asked, results: Results, *, as_json: bool) -> str:
    job, facts = one.job, results[one.step.id].facts if one.step else {}
    if as_json:
        errors = [str(error) for error in _errors(one, results)]
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
