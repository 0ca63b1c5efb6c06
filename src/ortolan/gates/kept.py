"""The gates on what a candidate of fewer bits keeps: that it fits its data, agrees with float, keeps its accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..artifact import Gate, Outcome
from ..platforms import host_platform
from ..recipe.schema import Accuracy
from ..sources import Job
from .common import judge, number

_CLIPPED, _USED = 0.1, 0.1  # of the evaluation data, of the quantised input's range: a factor of 255 in scaling breaks either


def kept(job: Job, evaluated: Mapping[str, Any]) -> list[Gate]:
    """Agreement with the float model, and accuracy where the model's recipe asks for it."""
    return [*_agreement(job, evaluated), *_accuracy(job, evaluated)]


def not_kept(job: Job, why: str) -> list[Gate]:
    """The same of a candidate that was not evaluated, and why it was not."""
    limit, wanted = f"≥ {job.target.recipe.gates.min_agreement:.0%}", job.model.recipe.accuracy
    agreement = Gate("agreement", job.precision, Outcome.NOT_RUN, limit=limit, why=why)
    accuracy = [Gate("accuracy", job.precision, Outcome.NOT_RUN, limit=_drop(wanted), why=why)] if wanted else []
    return [agreement, *accuracy]


def _drop(wanted: Accuracy) -> str:
    return f"drop ≤ {wanted.max_drop:g}"


def _kernels(job: Job, facts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """With exact kernels; and with this processor's own, which may saturate, when the target's are of its kind."""
    return [("", facts), *([("@this-cpu", facts["default_kernels"])] if job.runs_on(host_platform()) else [])]


def _agreement(job: Job, facts: Mapping[str, Any]) -> list[Gate]:
    data = job.model.recipe.data
    source = "samples" if data.evaluation else "calibration samples" if data.calibration else "parity samples"
    limit, gates = job.target.recipe.gates.min_agreement, []
    for where, found in _kernels(job, facts):
        snr = f", SNR {number(found['snr_db']['mean'])} dB" if found["snr_db"] else ""
        measured = f"{found['agreement']:.1%} of {facts['samples']} {source}{snr}"
        gates.append(judge(f"agreement{where}", job.precision, found["agreement"] >= limit, measured, f"≥ {limit:.0%}"))
    return gates


def _accuracy(job: Job, facts: Mapping[str, Any]) -> list[Gate]:
    wanted = job.model.recipe.accuracy
    if wanted is None:
        return []
    limit, gates = _drop(wanted), list[Gate]()
    for where, found in _kernels(job, facts):
        metric = found["metric"]
        measured = f"{wanted.metric} {number(metric['fp32'])} → {number(metric['candidate'])}"
        gates.append(judge(f"accuracy{where}", job.precision, metric["drop"] <= wanted.max_drop, measured, limit))
    return gates


def input_fit(job: Job, evaluated: Mapping[str, Any], calibrated: Mapping[str, Any]) -> list[Gate]:
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
        why = "" if good else f"{ranges}: scaled alike?"
        gates.append(judge(f"input-range {name}", job.precision, good, measured, limit, why))
    return gates


def _declared_fit(name: str, seen: Sequence[float], job: Job) -> Gate:
    """How much of the declared range the calibration data spans."""
    declared = next((one.range for one in job.model.recipe.input if one.name == name), None)
    limit, gate = f"≥ {_USED:.0%} of its range", f"input-range {name}"
    if declared is None or declared[0] == declared[1]:
        why = "there is no [data] evaluation and no range of this input to hold the calibration data against"
        return Gate(gate, job.precision, Outcome.NOT_RUN, f"{number(seen[0])} to {number(seen[1])}", limit, why)
    used = (seen[1] - seen[0]) / (declared[1] - declared[0])
    ranges = f"calibrated for {number(seen[0])} to {number(seen[1])}, declared {number(declared[0])} to {number(declared[1])}"
    why = "" if used >= _USED else f"{ranges}: scaled alike?"
    return judge(gate, job.precision, used >= _USED, f"{used:.0%} of it used", limit, why)
