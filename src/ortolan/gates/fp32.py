"""The gates of the float candidate, and what its first diverging tensor is when parity fails."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ..artifact import Gate
from ..execute import Result, Results
from ..plan import Candidates
from ..sources import Job
from .common import FP32, judge, loads, number, parity


def candidate(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Judge the float candidate: opset, shapes, validity; in every runtime, that it loads and computes as the framework does."""
    verified = {version: results[step.id].facts for version, step in found.verify.items()}
    gates = [_opset(job, results[found.normalise.id]), _shapes(results[found.fixed.id])]
    gates.append(
        _valid(results[found.check.id], [version for version, facts in verified.items() if facts["onnx"]["runs"]], len(verified))
    )
    for version, facts in verified.items():
        gates += [loads(job, version, FP32, facts), parity(job, version, facts)]
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


def _shapes(result: Result) -> Gate:
    """The axes that the target fixes are fixed, and what stays dynamic is named. A name that is nearly an axis is a slip."""
    facts = result.facts
    dynamic = sorted({str(axis) for shape in facts["dynamic_inputs"].values() for axis in shape if not isinstance(axis, int)})
    slips = {name: near[0] for name in facts["unknown"] if (near := difflib.get_close_matches(name, dynamic, n=1))}
    fixed = ", ".join(f"{axis} = {size}" for axis, size in sorted(facts["fixed"].items())) or "nothing to fix"
    measured = fixed + (f"; {', '.join(dynamic)} dynamic" if dynamic else "")
    why = "; ".join(f"no axis '{name}' in [shapes]. Did you mean {near}?" for name, near in slips.items())
    inside = [f"{node['op']} {node['node']}" for node in facts["dynamic_inside"]]
    if not slips and inside:
        why = f"sizes that depend on data come from {', '.join(inside[:3])}"
    return judge("shapes", FP32, not slips, measured, "", why)


def _valid(result: Result, running: Sequence[str], versions: int) -> Gate:
    """Clean for onnx's checker, or run by every runtime: many models without an output shape fail the checker and run well."""
    verdicts = {name: result.facts[name] for name in ("checker", "full_check") if result.facts[name]}
    why = "; ".join(f"{name}: {text}" for name, text in verdicts.items())
    measured = f"checker complains, runs in {len(running)} of {versions} runtimes" if verdicts else "checker clean"
    return judge("valid", FP32, not verdicts or len(running) == versions, measured, "clean, or runs everywhere", why)
