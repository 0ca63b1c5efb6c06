"""What the gates decide: which precision ships, and whether anything does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..artifact import SHIPPED, Gate, Outcome, Precision
from ..execute import Results
from ..plan import Candidates
from ..sources import Job
from .common import FP32, INT8, shown
from .quantised import kept_as_given

_NEEDED = frozenset({"quantised", "agreement", "accuracy"})
"""Gates of a candidate that must have run: no waiver for another gate stands for them."""


def choose(job: Job, judged: Sequence[Gate]) -> tuple[Precision, str]:
    """What ships and why: the candidate's precision when the policy wants it and no gate of it failed or could not run."""
    policy = job.target.recipe.quantize.policy
    if kept := kept_as_given(judged):
        return INT8, kept
    if policy == "never":
        return FP32, "the target's policy is never to quantise"
    about = [gate for gate in judged if gate.subject == job.precision]
    against = [
        gate for gate in about if gate.outcome is Outcome.FAIL or (gate.name in _NEEDED and gate.outcome is Outcome.NOT_RUN)
    ]
    if not against:
        waived = ", ".join(gate.name for gate in about if gate.outcome is Outcome.WAIVED)
        floats = "".join(f", with {gate.measured}" for gate in about if gate.name == "recovered")
        passed = f"policy {policy}: every {shown(job.precision)} gate that ran passed{floats}"
        return job.precision, passed + (f", or is waived: {waived}" if waived else "")
    because = "; ".join(f"{g.name}: {_short_of(g)}" for g in against)
    return (job.precision if policy == "require" else FP32), because


def tolerated(found: Candidates, results: Results) -> set[str]:
    """Steps whose refusal speaks against the candidate alone: quantising, and what an unloadable result refuses."""
    if found.quantise is None:
        return set()
    opens = all(results[step.id].facts["onnx"]["runs"] for step in (found.verify_int8 or {}).values() if results[step.id].ok)
    return {found.quantise.id} if opens else {step.id for step in (found.quantise, found.evaluate, found.latency) if step}


def stopping(judged: Sequence[Gate], precision: str, job: Job) -> list[Gate]:
    """The gates that stop a build: every failed one but those of a candidate that does not ship."""
    required = job.target.recipe.quantize.policy == "require"
    ships = {FP32, SHIPPED, precision} | ({job.precision} if required else set())
    stop = [gate for gate in judged if gate.outcome is Outcome.FAIL and gate.subject in ships]
    missing = [gate for gate in judged if required and gate.name in _NEEDED and gate.outcome is Outcome.NOT_RUN]
    return stop + missing


def because(gate: Gate, more: str) -> Gate:
    """The gate with one more reason."""
    return replace(gate, why=f"{gate.why}; {more}" if gate.why else more)


def _short_of(gate: Gate) -> str:
    """Why a gate speaks against a candidate, without what differs from run to run: it stands in the manifest."""
    if gate.varies:
        return f"not {gate.limit} the speed of fp32"
    return gate.why or f"{gate.measured}, wanted {gate.limit}"
