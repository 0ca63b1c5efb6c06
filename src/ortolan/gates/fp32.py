"""The gates of the float candidate, and what its first diverging tensor is when parity fails."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ..artifact import Gate
from ..execute import Result, Results
from ..plan import Candidates
from ..recipe.provider_data import find
from ..recipe.rules import CPU
from ..sources import Job
from .common import FP32, judge, loads, number, parity
from .fusion import fusion
from .quantised import comes_quantised


def candidate(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Judge the float candidate: opset, shapes, validity; in every runtime, that it loads and computes as the framework does."""
    verified = {version: results[step.id].facts for version, step in found.verify.items()}
    gates = [_opset(job, results[found.normalise.id]), shapes(job, results[found.shaped.id])]
    gates.append(
        _valid(results[found.check.id], [version for version, facts in verified.items() if facts["onnx"]["runs"]], len(verified))
    )
    steps = comes_quantised(found, results)
    for version, facts in verified.items():
        gates += [loads(job, version, FP32, facts), parity(job, version, facts, steps=steps)]
    gates += fusion(job, found, results)
    if job.target.recipe.profiles.keys() & _dynamic(results[found.shaped.id]):
        edges = {f"{version} {sizes}": results[step.id].facts for (sizes, version), step in found.edges.items()}
        gates += [parity(job, name, facts, steps=steps) for name, facts in edges.items()]
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


def shapes(job: Job, result: Result, subject: str = FP32) -> Gate:
    """The axes that the target fixes are fixed, and what stays dynamic is named. A name that is nearly an axis is a slip.

    An axis that stays dynamic and that the target's first provider cannot take so fails.
    """
    facts, profiles = result.facts, job.target.recipe.profiles
    dynamic = _dynamic(result)
    unknown = {*facts["unknown"], *(profiles.keys() - dynamic)}
    slips = {name: near[0] for name in sorted(unknown) if (near := difflib.get_close_matches(name, dynamic, n=1))}
    fixed = ", ".join(f"{axis} = {size}" for axis, size in sorted(facts["fixed"].items())) or "nothing to fix"
    measured = fixed + (f"; {', '.join(_axis(axis, profiles) for axis in dynamic)} dynamic" if dynamic else "")
    why = "; ".join(f"no axis '{name}' in [shapes]. Did you mean {near}?" for name, near in slips.items())
    unmet = _unmet(job, dynamic)
    inside = [f"{node['op']} {node['node']}" for node in facts["dynamic_inside"]]
    if not slips and not unmet and inside:
        why = f"sizes that depend on data come from {', '.join(inside[:3])}"
    return judge("shapes", subject, not slips and not unmet, measured, "", "; ".join(filter(None, [why, unmet])))


def _dynamic(result: Result) -> list[str]:
    """The axes of inputs that a step left dynamic, sorted: by name, or as ``<input>.<place>``."""
    shapes = result.facts["dynamic_inputs"].items()
    axes = [(name, place, axis) for name, shape in shapes for place, axis in enumerate(shape or [])]
    return sorted({axis or f"{name}.{place}" for name, place, axis in axes if not isinstance(axis, int)})


def _axis(name: str, profiles: Mapping[str, Mapping[str, int]]) -> str:
    sizes = profiles.get(name)
    return f"{name} {sizes['min']}…{sizes['opt']}…{sizes['max']}" if sizes else name


def _unmet(job: Job, dynamic: Sequence[str]) -> str:
    """The axes to which the first provider, which should get the nodes, needs a size or a profile."""
    name, profiles = job.target.recipe.provider[0].name, job.target.recipe.profiles
    data = None if name == CPU else find(name)
    if data is None or data.shapes not in {"fixed", "profiles"}:
        return ""
    left = [axis for axis in dynamic if data.shapes == "fixed" or axis not in profiles]
    wants = "takes fixed shapes only" if data.shapes == "fixed" else "builds engines for a size or a profile"
    how = " or a profile { min = 1, opt = 4, max = 8 }" if data.shapes == "profiles" else ""
    hint = f"say {left[0]} = <size>{how} in [shapes] of {job.target.name}" if left else ""
    return f"{data.title} {wants}, and {', '.join(left)} has none: {hint}" if left else ""


def _valid(result: Result, running: Sequence[str], versions: int) -> Gate:
    """Clean for onnx's checker, or run by every runtime: many models without an output shape fail the checker and run well."""
    verdicts = {name: result.facts[name] for name in ("checker", "full_check") if result.facts[name]}
    why = "; ".join(f"{name}: {text}" for name, text in verdicts.items())
    measured = f"checker complains, runs in {len(running)} of {versions} runtimes" if verdicts else "checker clean"
    return judge("valid", FP32, not verdicts or len(running) == versions, measured, "clean, or runs everywhere", why)
