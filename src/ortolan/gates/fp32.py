"""The gates of the float candidate, and what its first diverging tensor is when parity fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..artifact import Gate, Outcome
from ..execute import Result, Results
from ..plan import Candidates
from ..sources import Job
from .common import FP32, judge, loads, number, parity


def candidate(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Judge the float candidate: opset, checker, and in every runtime that it loads and computes what the framework does."""
    gates = [_opset(job, results[found.normalise.id]), _checker(results[found.check.id])]
    for version, step in found.verify.items():
        gates += [loads(version, FP32, results[step.id].facts), parity(job, version, results[step.id].facts)]
    return gates


def diverging(result: Result) -> str:
    """What a ``locate`` step found, in words."""
    if not result.ok:
        cause = result.refused["what"] if result.refused else str(result.error)
        return f"the first diverging tensor could not be looked for: {cause}"
    first: Mapping[str, Any] | None = result.facts.get("first")
    if not first:
        return f"none of the {result.facts.get('compared', 0)} tensors that both sides have diverges by itself"
    made, off = f"made by {first['op']} node {first['node']}", number(first["max_abs"])
    return f"first diverging tensor: {first['tensor']}, {made}, off by {off}"


def _opset(job: Job, result: Result) -> Gate:
    found = result.facts["found"]
    wanted = job.target.recipe.runtime.opset
    return judge("opset", FP32, found == wanted, f"{found}, IR {result.facts['ir']}", f"= {wanted}")


def _checker(result: Result) -> Gate:
    """Read both verdicts: many models without an output shape fail the checker and run well; a session decides."""
    verdicts = {name: result.facts[name] for name in ("checker", "full_check") if result.facts[name]}
    why = "; ".join(f"{name}: {text}" for name, text in verdicts.items())
    return Gate("checker", FP32, Outcome.NOT_RUN if verdicts else Outcome.PASS, "complains" if verdicts else "clean", "", why)
