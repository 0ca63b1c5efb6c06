"""The gates of the INT8 candidate: something was quantised, it loads, fits its data, agrees, keeps its accuracy, is faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..artifact import Gate, Outcome
from ..coverage import silent
from ..execute import Results
from ..plan import Candidates
from ..platforms import host_platform
from ..sources import Job
from ..step import Step
from ..store import NOISE
from .common import INT8, judge, loads, number, reasons
from .coverage import coverage

_SILENCE = 0.0  # dB: below it the error is larger than the signal
_CLIPPED, _USED = 0.1, 0.1  # of the evaluation data, of the quantised input's range: a factor of 255 in scaling breaks either


def candidate(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Judge the INT8 candidate; none of it exists under the policy ``never``."""
    if job.target.recipe.quantize.policy == "never":
        return []
    if found.calibrate is None or found.quantise is None or found.evaluate is None:
        why = "the model recipe has no [data] calibration"
        return [Gate("quantised", INT8, Outcome.NOT_RUN, limit=_shares(job), why=why)]
    quantised = results[found.quantise.id]
    if quantised.refused:
        return [Gate("quantised", INT8, Outcome.FAIL, "refused", _shares(job), quantised.refused["what"])]
    if trees := _trees(results[found.normalise.id].facts, quantised.facts):
        why = f"nothing in it multiplies: {', '.join(trees)} compares and adds, and has no form in 8 bits"
        return [Gate("quantised", INT8, Outcome.NOT_RUN, limit=_shares(job), why=why)]
    gates = [_quantised(job, quantised.facts)]
    for version, step in (found.verify_int8 or {}).items():
        facts = results[step.id].facts
        gates += [loads(job, version, INT8, facts), *([_sane(version, facts)] if facts["onnx"]["runs"] else [])]
    if found.coverage and results[found.coverage.id].ok:
        gates += coverage(job.target.recipe.gates, results[found.coverage.id].facts, silent(job), INT8)
    evaluated = results[found.evaluate.id]
    if not evaluated.ok:
        return gates
    return [
        *gates,
        *_input_fit(job, evaluated.facts, results[found.calibrate.id].facts),
        *_agreement(job, evaluated.facts),
        *_accuracy(job, evaluated.facts),
        _faster(job, found.latency, results),
    ]


def _trees(model: Mapping[str, Any], quantised: Mapping[str, Any]) -> list[str]:
    """The ensembles of trees of a model that has nothing else to quantise."""
    if quantised["qdq"] or quantised["macs"] or quantised["macs_uncounted"]:
        return []
    return [name.partition(":")[2] for name in model["operators"] if "TreeEnsemble" in name]


def _shares(job: Job) -> str:
    return f"≥ {job.target.recipe.gates.min_quantized_macs:.0%} of MACs"


def _quantised(job: Job, facts: Mapping[str, Any]) -> Gate:
    nodes, share = facts["qdq"], facts["macs_share"]
    unknown = len(facts["macs_uncounted"])
    good = nodes > 0 and not unknown and share >= job.target.recipe.gates.min_quantized_macs
    why = "" if good else "nothing was quantised" if not nodes else "too little was quantised"
    if nodes and unknown:
        why = f"{unknown} multiplying nodes have unknown shapes, so the share is not known: fix their axes in [shapes]"
    if not good and facts["half_precision"]:
        why += f": {len(facts['half_precision'])} tensors are in half precision, which ONNX Runtime does not quantise"
    if facts["unknown_exclude"]:
        why = "; ".join(filter(None, [why, f"[quantize] exclude names no node: {', '.join(facts['unknown_exclude'])}"]))
    return judge("quantised", INT8, good, f"{nodes} Q/DQ nodes, {share:.1%} of MACs", _shares(job), why)


def _kernels(job: Job, facts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """With exact kernels; and with this processor's own, which may saturate, when the target's are of its kind."""
    return [("", facts), *([("@this-cpu", facts["default_kernels"])] if job.runs_on(host_platform()) else [])]


def _sane(version: str, facts: Mapping[str, Any]) -> Gate:
    """In every runtime INT8 is nearer to the framework's outputs than silence is; how near, the agreement tells."""
    name, limit, outputs = f"sane@{version}", f"SNR ≥ {_SILENCE:g} dB", facts["onnx"]["outputs"].values()
    known = [o["snr_db"] for o in outputs if o["snr_db"] is not None]
    good = all(o["close"] or (o["snr_db"] is not None and o["snr_db"] >= _SILENCE) for o in outputs)
    measured = f"SNR {number(min(known))} dB on the parity samples" if known else "equal on the parity samples"
    return judge(
        name,
        INT8,
        good,
        measured if good or known else "not comparable",
        limit,
        "" if good else reasons(facts["onnx"]["outputs"]),
    )


def _input_fit(job: Job, evaluated: Mapping[str, Any], calibrated: Mapping[str, Any]) -> list[Gate]:
    """Calibration data scaled otherwise than the evaluation data: it clips, or the data spans a sliver of the range.

    Without evaluation data the recipe's ``range`` of an input is what the calibration data is held against.
    """
    if job.model.recipe.data.evaluation is None:
        return [_declared_fit(name, seen, job) for name, seen in calibrated["inputs"].items() if seen]
    gates = []
    for name, fit in evaluated["inputs"].items():
        (low, high), seen = fit["observed"], fit.get("quantised") or calibrated["inputs"].get(name)
        if seen is None or seen[0] == seen[1]:
            continue
        inside = max(0.0, min(high, seen[1]) - max(low, seen[0]))
        used = inside / (seen[1] - seen[0])
        clipped = fit.get("clipped", 1 - inside / (high - low) if high > low else 0.0)
        good = clipped <= _CLIPPED and used >= _USED
        ranges = f"calibrated for {number(seen[0])} to {number(seen[1])}, evaluated with {number(low)} to {number(high)}"
        measured, limit = f"{clipped:.0%} clipped, {used:.0%} of it used", f"≤ {_CLIPPED:.0%}, ≥ {_USED:.0%}"
        gates.append(judge(f"input-range {name}", INT8, good, measured, limit, "" if good else f"{ranges}: scaled alike?"))
    return gates


def _declared_fit(name: str, seen: Sequence[float], job: Job) -> Gate:
    """How much of the declared range the calibration data spans."""
    declared = next((one.range for one in job.model.recipe.input if one.name == name), None)
    limit = f"≥ {_USED:.0%} of its range"
    if declared is None or declared[0] == declared[1]:
        why = "there is no [data] evaluation and no range of this input to hold the calibration data against"
        return Gate(f"input-range {name}", INT8, Outcome.NOT_RUN, f"{number(seen[0])} to {number(seen[1])}", limit, why)
    used = (seen[1] - seen[0]) / (declared[1] - declared[0])
    ranges = f"calibrated for {number(seen[0])} to {number(seen[1])}, declared {number(declared[0])} to {number(declared[1])}"
    why = f"{ranges}: scaled alike?"
    return judge(f"input-range {name}", INT8, used >= _USED, f"{used:.0%} of it used", limit, "" if used >= _USED else why)


def _agreement(job: Job, facts: Mapping[str, Any]) -> list[Gate]:
    limit, gates = job.target.recipe.gates.min_agreement, []
    for where, found in _kernels(job, facts):
        snr = f", SNR {number(found['snr_db']['mean'])} dB" if found["snr_db"] else ""
        source = "samples" if job.model.recipe.data.evaluation else "calibration samples"
        measured = f"{found['agreement']:.1%} of {facts['samples']} {source}{snr}"
        gates.append(judge(f"agreement{where}", INT8, found["agreement"] >= limit, measured, f"≥ {limit:.0%}"))
    return gates


def _accuracy(job: Job, facts: Mapping[str, Any]) -> list[Gate]:
    wanted = job.model.recipe.accuracy
    if wanted is None:
        return []
    limit, gates = f"drop ≤ {wanted.max_drop:g}", []
    for where, found in _kernels(job, facts):
        metric = found["metric"]
        measured = f"{wanted.metric} {number(metric['fp32'])} → {number(metric['int8'])}"
        gates.append(judge(f"accuracy{where}", INT8, metric["drop"] <= wanted.max_drop, measured, limit))
    return gates


def _faster(job: Job, step: Step | None, results: Results) -> Gate:
    limit = f"≥ {job.target.recipe.gates.min_speedup:g}×"
    if step is None:
        first, platform = job.target.recipe.provider[0].name, job.target.recipe.platform
        why = f"this machine is {host_platform()}, the target is {platform}"
        if platform == host_platform():
            why = f"what is timed here are kernels of the CPU, not those of {first}"
        return Gate("int8-faster", INT8, Outcome.NOT_RUN, limit=limit, why=why)
    timed = results[step.id]
    if timed.refused:
        return Gate("int8-faster", INT8, Outcome.NOT_RUN, limit=limit, why=timed.refused["what"])
    facts, noise = timed.facts, timed.facts[NOISE]
    measured = f"{noise['speedup']:.2f}× ({noise['fp32_ms']:.3f} → {noise['int8_ms']:.3f} ms)"
    why = "" if facts["faster"] else f"INT8 ran at {noise['speedup']:.2f}× the speed of fp32 here"
    return replace(judge("int8-faster", INT8, facts["faster"], measured, limit, why), varies=True)
