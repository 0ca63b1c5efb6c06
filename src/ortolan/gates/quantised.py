"""The gates of a model that comes quantised: its Q/DQ nodes are kept, and held against what the target takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..artifact import Gate, Outcome
from ..execute import Results
from ..plan import Candidates
from ..recipe.provider_data import Scheme, find
from ..recipe.rules import CPU
from ..sources import Job
from .common import FP32, judge

_NAME = "quantised"
_FACTS = "quantised"  # of ``normalise``


def comes_quantised(found: Candidates, results: Results) -> bool:
    """Whether the model that was given holds quantised operators."""
    return bool(results[found.normalise.id].facts.get(_FACTS))


def kept_as_given(judged: Sequence[Gate]) -> str:
    """What the gate of a model that comes quantised says; empty for others."""
    return next((gate.measured for gate in judged if (gate.name, gate.subject) == (_NAME, FP32)), "")


def as_given(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """That it is not quantised again, and whether the target takes the scheme that it is quantised by."""
    facts = results[found.normalise.id].facts[_FACTS]
    several = [f"{facts['nodes']} Q/DQ nodes"] if facts["nodes"] else []
    several += [f"{count} {name}" for name, count in facts["operators"].items()]
    kept = Gate(_NAME, FP32, Outcome.PASS, f"already quantised: {', '.join(several)}, kept")
    return [kept, _scheme(job, facts)]


def _scheme(job: Job, facts: Mapping[str, Any]) -> Gate:
    """Fails where a provider takes no other Q/DQ; where it would only leave nodes to the next, or be slower, the gate says so."""
    needs, wishes = list(_needed(job, facts)), list(_wished(job, facts))
    why = "; ".join([*needs, *(one for one in wishes if one not in needs)])
    return judge("qdq-scheme", FP32, not needs, _words(facts), _limit(job), why)


def _needed(job: Job, facts: Mapping[str, Any]) -> Iterator[str]:
    for provider in job.target.recipe.provider:
        data = find(provider.name)
        if data and data.qdq and data.qdq.required:
            yield from (f"{data.title} cannot run {text}" for text in _misfits(data.qdq, facts))


def _wished(job: Job, facts: Mapping[str, Any]) -> Iterator[str]:
    for provider in job.target.recipe.provider:
        data = find(provider.name)
        if data and data.qdq and not data.qdq.required:
            yield from (f"{data.title} leaves to the next provider {text}" for text in _misfits(data.qdq, facts))
    quantize = job.target.recipe.quantize
    if job.target.recipe.provider[0].name == CPU:
        own = Scheme((quantize.activations,), (quantize.weights,), required=False)
        yield from (f"{job.target.name} would quantise otherwise, for speed: {text}" for text in _misfits(own, facts))


def _misfits(scheme: Scheme, facts: Mapping[str, Any]) -> Iterator[str]:
    """What of a model a scheme does not take, each with what to change."""
    for what in ("activations", "weights"):
        takes = getattr(scheme, what)
        other = [kind for kind in facts[what] if kind not in takes]
        if other:
            yield f"{' and '.join(other)} {what}: quantise with {' or '.join(takes)}"
    if scheme.symmetric_activations and facts["asymmetric"]:
        such = ", ".join(facts["such_as"])
        yield f"{facts['asymmetric']} asymmetric activations ({such}): quantise with a symmetric scheme, zero points 0"
    if scheme.quantized_bias is False and facts["biases"]:
        yield f"{facts['biases']} quantised biases: leave the bias in float"


def _words(facts: Mapping[str, Any]) -> str:
    parts = [f"{'/'.join(facts[what])} {what}" for what in ("activations", "weights") if facts[what]]
    zero = [f"{facts['asymmetric']} asymmetric"] if facts["asymmetric"] else []
    return ", ".join([*parts, *zero]) or "no Q/DQ nodes"


def _limit(job: Job) -> str:
    """What the target's first provider wants, or the target's own scheme."""
    first, quantize = job.target.recipe.provider[0], job.target.recipe.quantize
    data = find(first.name)
    scheme = data.qdq if data and data.qdq else Scheme((quantize.activations,), (quantize.weights,), required=False)
    who = data.title if data and data.qdq else job.target.name
    return f"{who}: {'/'.join(scheme.activations)} activations, {'/'.join(scheme.weights)} weights"
