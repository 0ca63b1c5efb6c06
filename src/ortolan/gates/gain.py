"""The gates on what a candidate of fewer bits gains: speed, and size where that is what its scheme is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..artifact import Gate, Outcome
from ..execute import Results
from ..platforms import host_platform
from ..recipe.quantize import DYNAMIC, FP16, WEIGHTS
from ..sources import Job
from ..step import Step
from ..store import NOISE
from .common import judge, shown

_SLOW = 0.1  # of the multiply-accumulates: so many in ConvInteger would need a speed-up that was seen
_FOR_SIZE = (FP16, WEIGHTS)


def gain(job: Job, quantised: Mapping[str, Any], latency: Step | None, results: Results) -> list[Gate]:
    """``quantised``: what the step told that made the candidate."""
    scheme, faster = job.target.recipe.quantize.scheme, _faster(job, latency, results)
    gates = [_smaller(job, quantised)] if scheme in _FOR_SIZE else []
    return [*gates, *([_convolutions(job, quantised, faster)] if scheme == DYNAMIC else []), faster]


def _smaller(job: Job, facts: Mapping[str, Any]) -> Gate:
    share, limit = facts["size"] / facts["float_size"], job.target.recipe.gates.max_relative_size
    measured = f"{facts['float_size']:,} → {facts['size']:,} B ({share:.0%})"
    return judge("smaller", job.precision, share <= limit, measured, f"≤ {limit:.0%} of fp32's")


def _convolutions(job: Job, facts: Mapping[str, Any], faster: Gate) -> Gate:
    """Dynamic convolutions run ConvInteger, at 0.15× the speed of float on x86 (ResNet-18, onnxruntime 1.31.1)."""
    share, limit = facts["convolution_share"], f"≤ {_SLOW:.0%} of MACs, or seen to be faster"
    good = share <= _SLOW or faster.outcome is Outcome.PASS
    why = "ConvInteger ran at 0.15× the speed of float for ResNet-18: leave out convolutions = true, or say scheme = static"
    return judge("convolutions", job.precision, good, f"{share:.1%} of MACs in ConvInteger", limit, "" if good else why)


def _faster(job: Job, step: Step | None, results: Results) -> Gate:
    gates, name = job.target.recipe.gates, f"{job.precision}-faster"
    told = job.target.recipe.quantize.scheme in _FOR_SIZE and "min_speedup" not in gates.model_fields_set
    limit = "" if told else f"≥ {gates.min_speedup:g}×"
    if step is None:
        first, platform = job.target.recipe.provider[0].name, job.target.recipe.platform
        why = f"this machine is {host_platform()}, the target is {platform}"
        if platform == host_platform():
            why = f"what is timed here are kernels of the CPU, not those of {first}"
        return Gate(name, job.precision, Outcome.NOT_RUN, limit=limit, why=why)
    timed = results[step.id]
    if timed.refused:
        return Gate(name, job.precision, Outcome.NOT_RUN, limit=limit, why=timed.refused["what"])
    facts, noise = timed.facts, timed.facts[NOISE]
    measured = f"{noise['speedup']:.2f}× ({noise['fp32_ms']:.3f} → {noise['candidate_ms']:.3f} ms)"
    if told:
        why = "told and not judged: what this scheme is for is size. [gates] min_speedup judges it"
        return Gate(name, job.precision, Outcome.NOT_RUN, measured, limit, why, varies=True)
    why = "" if facts["faster"] else f"{shown(job.precision)} ran at {noise['speedup']:.2f}× the speed of fp32 here"
    return replace(judge(name, job.precision, facts["faster"], measured, limit, why), varies=True)
