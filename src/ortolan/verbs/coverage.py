"""``coverage``: which provider of a target gets which node of a model, and how that is known."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from invoke.exceptions import Exit

from .. import coverage
from ..artifact import Gate, Outcome
from ..build import executor_for, failures
from ..cache import Cache
from ..errors import GateError, OrtolanError
from ..execute import Result, Results
from ..gates.coverage import coverage as coverage_gates
from ..gates.fp32 import shapes
from ..recipe.project import Project
from ..report import coloured
from ..report.coverage import coverage_lines
from ..report.progress import shown
from ..report.tables import gate_table
from ..sources import Job
from . import pick


def run(root: Path, model: str, targets: Sequence[str], cache: Cache, *, jobs: int, as_json: bool) -> None:
    """One block, or one line of JSON, for each target; exit with 3 when a gate failed."""
    project = Project(root)
    picked = pick.jobs(project, targets or project.targets(), [model])
    with shown(as_json=as_json) as emit:
        executor = executor_for(picked, pick.options(root, cache, jobs), emit, coverage.survey_runtimes)
        results = executor.run(coverage.normalised(job) for job in picked)
        surveys = [coverage.survey(job, results) for job in picked]
        results = executor.run(one.covered for one in surveys)
    said = [_said(job, one, results, as_json=as_json) for job, one in zip(picked, surveys, strict=True)]
    print("\n".join(text for text, _ in said))
    for error in dict.fromkeys(str(error) for one in surveys for error in failures([one.covered], results, set())):
        print(f"error: {error}", file=sys.stderr)  # targets share a model and its mistakes
    codes = [code for _, code in said if code]
    if codes:
        raise Exit(code=max(codes))


def _said(job: Job, survey: coverage.Survey, results: Results, *, as_json: bool) -> tuple[str, int]:
    """The block of one target and its exit code."""
    errors = failures([survey.covered], results, set())
    if errors:
        code = max(error.exit_code for error in errors)
        return (_json(job, None, [], errors) if as_json else f"{job.name}\n  not known: see the error\n"), code
    result = results[survey.covered.id]
    judged = [shapes(job, results[survey.fixed.id], job.model.name)]
    judged += coverage_gates(job.target.recipe.gates, result.facts, coverage.silent(job), job.model.name)
    code = GateError.exit_code if any(gate.outcome is Outcome.FAIL for gate in judged) else 0
    return (_json(job, result, judged, []) if as_json else _text(job, result, judged)), code


def _text(job: Job, result: Result, judged: Sequence[Gate]) -> str:
    lines = [*coverage_lines(result.facts), "", *gate_table(judged, colour=coloured())]
    return "\n".join([job.name, *(f"  {line}".rstrip() for line in lines), ""])


def _json(job: Job, result: Result | None, judged: Sequence[Gate], errors: Sequence[OrtolanError]) -> str:
    value = {
        "kind": "coverage", "model": job.model.name, "target": job.target.name, "gates": [asdict(gate) for gate in judged],
        "errors": [str(error) for error in errors], **(result.facts if result else {}),
    }  # fmt: skip
    return json.dumps(value, sort_keys=True)
