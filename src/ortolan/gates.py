"""From facts to gates: what each candidate and each shipped file may claim. Pure; limits come from the recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .artifact import Artifact, Gate, Outcome, Precision
from .execute import Result, Results
from .plan import Candidates, Shipment
from .platforms import host_platform
from .sources import Job
from .step import Step
from .store import NOISE

INT8: Precision = "int8"
FP32: Precision = "fp32"
SHIPPED = "shipped"
_CLIPPED, _USED = 0.1, 0.1  # of the evaluation data, of the quantised input's range: a factor of 255 in scaling breaks either
_ROUNDING = 30.0  # dB: what one step of rounding in INT8 kernels of another fusion costs at most (seen: 35 to infinity)


def candidates(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Judge the float candidate and, where there is one, the INT8 candidate."""
    gates = [_opset(job, results[found.normalise.id]), _checker(results[found.check.id])]
    for version, step in found.verify.items():
        gates += [_loads(version, FP32, results[step.id].facts), _parity(job, version, results[step.id].facts)]
    return gates + _int8(job, found, results)


def choose(job: Job, judged: Sequence[Gate]) -> tuple[Precision, str]:
    """The precision that ships and the reason: INT8 when the policy wants it and none of its gates failed or could not run."""
    policy = job.target.recipe.quantize.policy
    if policy == "never":
        return FP32, "the target's policy is never to quantise"
    about = [gate for gate in judged if gate.subject == INT8]
    against = [
        gate for gate in about if gate.outcome is Outcome.FAIL or (gate.name == "quantised" and gate.outcome is not Outcome.PASS)
    ]
    if not against:
        return INT8, f"policy {policy}: every INT8 gate that ran passed"
    because = "; ".join(f"{g.name}: {_short_of(g)}" for g in against)
    return (INT8 if policy == "require" else FP32), because


def tolerated(found: Candidates, results: Results) -> set[str]:
    """Steps whose refusal speaks against INT8 and does not stop a build: quantising, and what an unloadable result refuses."""
    if found.quantise is None:
        return set()
    opens = all(results[step.id].facts["onnx"]["runs"] for step in (found.verify_int8 or {}).values() if results[step.id].ok)
    return {found.quantise.id} if opens else {step.id for step in (found.quantise, found.evaluate, found.latency) if step}


def stopping(judged: Sequence[Gate], precision: str, job: Job) -> list[Gate]:
    """The gates that stop a build: every failed one but those of an INT8 candidate that does not ship."""
    required = job.target.recipe.quantize.policy == "require"
    ships = {FP32, SHIPPED, precision} | ({INT8} if required else set())
    stop = [gate for gate in judged if gate.outcome is Outcome.FAIL and gate.subject in ships]
    missing = [gate for gate in judged if required and gate.name == "quantised" and gate.outcome is Outcome.NOT_RUN]
    return stop + missing


def shipped(job: Job, ship: Shipment, artifacts: Sequence[Artifact], results: Results, precision: str) -> list[Gate]:
    """Judge the files that would ship."""
    gates: list[Gate] = []
    for version, step in ship.verify.items():
        facts = results[step.id].facts
        gates.append(_loads(version, SHIPPED, facts))
        gates += [_parity(job, version, facts, SHIPPED)] if precision == FP32 else []
        gates += [_ort(version, precision, facts)] if facts.get("ort") else []
        gates.append(_providers(job, version, facts))
    gates.append(_size(job, artifacts))
    return gates + _device(job)


def diverging(result: Result) -> str:
    """What a ``locate`` step found, in words."""
    if not result.ok:
        cause = result.refused["what"] if result.refused else str(result.error)
        return f"the first diverging tensor could not be looked for: {cause}"
    first: Mapping[str, Any] | None = result.facts.get("first")
    if not first:
        return f"none of the {result.facts.get('compared', 0)} tensors that both sides have diverges by itself"
    made, off = f"made by {first['op']} node {first['node']}", _number(first["max_abs"])
    return f"first diverging tensor: {first['tensor']}, {made}, off by {off}"


def because(gate: Gate, more: str) -> Gate:
    """The gate with one more reason."""
    return replace(gate, why=f"{gate.why}; {more}" if gate.why else more)


def _gate(name: str, subject: str, good: bool, measured: str, limit: str, why: str = "") -> Gate:
    return Gate(name, subject, Outcome.PASS if good else Outcome.FAIL, measured, limit, why)


def _opset(job: Job, result: Result) -> Gate:
    found = result.facts["found"]
    wanted = job.target.recipe.runtime.opset
    return _gate("opset", FP32, found == wanted, f"{found}, IR {result.facts['ir']}", f"= {wanted}")


def _checker(result: Result) -> Gate:
    """Read both verdicts: many models without an output shape fail the checker and run well; a session decides."""
    verdicts = {name: result.facts[name] for name in ("checker", "full_check") if result.facts[name]}
    why = "; ".join(f"{name}: {text}" for name, text in verdicts.items())
    return Gate("checker", FP32, Outcome.NOT_RUN if verdicts else Outcome.PASS, "complains" if verdicts else "clean", "", why)


def _loads(version: str, subject: str, facts: Mapping[str, Any]) -> Gate:
    """It opened and ran; where it did not, the readable reasons (IR, opsets) stand before the runtime's own words."""
    onnx = facts["onnx"]
    measured = f"runs on {facts['arch']}" if onnx["runs"] else "opens, fails to run" if onnx["opens"] else "refused"
    why = "; ".join([*facts["limits"], *([onnx["error"]] if onnx["error"] else [])])
    return _gate(f"load@{version}", subject, onnx["runs"], measured, "", "" if onnx["runs"] else why)


def _parity(job: Job, version: str, facts: Mapping[str, Any], subject: str = FP32) -> Gate:
    parity, onnx = job.model.recipe.parity, facts["onnx"]
    limit = f"atol {parity.atol:g} + rtol {parity.rtol:g}"
    if not onnx["runs"]:
        return Gate(f"parity@{version}", subject, Outcome.NOT_RUN, limit=limit, why="the model did not run")
    return _gate(f"parity@{version}", subject, onnx["close"], _worst(onnx["outputs"]), limit, _reasons(onnx["outputs"]))


def _ort(version: str, precision: str, facts: Mapping[str, Any]) -> Gate:
    """The .ort file runs and gives what the .onnx gives in the same runtime; INT8 kernels may round to the next step."""
    ort, limit, name = facts["ort"], "runs, equals .onnx", f"ort@{version}"
    if not ort["runs"]:
        return _gate(name, SHIPPED, good=False, measured="refused", limit=limit, why=ort["error"])
    good = ort["close"] or (precision == INT8 and bool(ort["outputs"]) and all(map(_near, ort["outputs"].values())))
    measured, why = f"{_worst(ort['outputs'])} ({ort['against']})", _reasons(ort["outputs"])
    return _gate(name, SHIPPED, good, measured, limit, "" if good else why)


def _near(output: Mapping[str, Any]) -> bool:
    """Close, or one step of rounding away. A wrong shape and NaN have no SNR and are neither."""
    return bool(output["close"] or (output["snr_db"] is not None and output["snr_db"] >= _ROUNDING))


def _providers(job: Job, version: str, facts: Mapping[str, Any]) -> Gate:
    missing = facts["providers"]["missing"]
    why = (
        f"{', '.join(missing)}: not in this build of onnxruntime {version}; needs the device, or a build that has it"
        if missing
        else ""
    )
    have = ", ".join(p.name for p in job.target.recipe.provider if p.name not in missing)
    return Gate(f"providers@{version}", SHIPPED, Outcome.NOT_RUN if missing else Outcome.PASS, have, "", why)


def _size(job: Job, artifacts: Sequence[Artifact]) -> Gate:
    models = [a for a in artifacts if a.name.endswith((".onnx", ".ort"))]
    largest, limit = max(a.size for a in models), job.target.recipe.gates.max_size
    if limit is None:
        return Gate("size", SHIPPED, Outcome.NOT_RUN, f"{largest:,} B", why="the target sets no max_size")
    return _gate("size", SHIPPED, largest <= limit, f"{largest:,} B", f"≤ {limit:,} B")


def _device(job: Job) -> list[Gate]:
    """What only the device can prove."""
    gates = []
    if job.target.recipe.engine == "tensorrt":
        gates.append(
            Gate("engine", SHIPPED, Outcome.NOT_RUN, why="no Jetson given: only the device can build its TensorRT engine")
        )
    if job.target.recipe.platform != host_platform():
        why = f"all of this was seen on {host_platform()}, not on {job.target.recipe.platform}"
        gates.append(Gate("on-device", SHIPPED, Outcome.NOT_RUN, why=why))
    return gates


def _int8(job: Job, found: Candidates, results: Results) -> list[Gate]:
    if job.target.recipe.quantize.policy == "never":
        return []
    if found.calibrate is None or found.quantise is None or found.evaluate is None:
        why = "the model recipe has no [data] calibration"
        return [Gate("quantised", INT8, Outcome.NOT_RUN, limit=_shares(job), why=why)]
    quantised = results[found.quantise.id]
    if quantised.refused:
        return [Gate("quantised", INT8, Outcome.FAIL, "refused", _shares(job), quantised.refused["what"])]
    loads = [_loads(version, INT8, results[step.id].facts) for version, step in (found.verify_int8 or {}).items()]
    gates = [_quantised(job, quantised.facts), *loads]
    evaluated = results[found.evaluate.id]
    if not evaluated.ok:
        return gates
    return [
        *gates,
        *_input_fit(evaluated.facts, results[found.calibrate.id].facts),
        *_agreement(job, evaluated.facts),
        *_accuracy(job, evaluated.facts),
        _faster(job, found.latency, results),
    ]


def _shares(job: Job) -> str:
    return f"≥ {job.target.recipe.gates.min_quantized_macs:.0%} of MACs"


def _quantised(job: Job, facts: Mapping[str, Any]) -> Gate:
    nodes, share = facts["qdq"], facts["macs_share"]
    good = nodes > 0 and share >= job.target.recipe.gates.min_quantized_macs
    why = "" if good else "nothing was quantised" if not nodes else "too little was quantised"
    if not good and facts["half_precision"]:
        why += f": {len(facts['half_precision'])} tensors are in half precision, which ONNX Runtime does not quantise"
    if facts["unknown_exclude"]:
        why = "; ".join(filter(None, [why, f"[quantize] exclude names no node: {', '.join(facts['unknown_exclude'])}"]))
    return _gate("quantised", INT8, good, f"{nodes} Q/DQ nodes, {share:.1%} of MACs", _shares(job), why)


def _kernels(job: Job, facts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """With exact kernels; and with this processor's own, which may saturate, when the target's are of its kind."""
    return [("", facts), *([("@this-cpu", facts["default_kernels"])] if job.target.recipe.platform == host_platform() else [])]


def _input_fit(evaluated: Mapping[str, Any], calibrated: Mapping[str, Any]) -> list[Gate]:
    """Calibration data scaled otherwise than the evaluation data: it clips, or the data spans a sliver of the range."""
    gates = []
    for name, fit in evaluated["inputs"].items():
        (low, high), seen = fit["observed"], fit.get("quantised") or calibrated["inputs"].get(name)
        if seen is None or seen[0] == seen[1]:
            continue
        inside = max(0.0, min(high, seen[1]) - max(low, seen[0]))
        used = inside / (seen[1] - seen[0])
        clipped = fit.get("clipped", 1 - inside / (high - low) if high > low else 0.0)
        good = clipped <= _CLIPPED and used >= _USED
        ranges = f"calibrated for {_number(seen[0])} to {_number(seen[1])}, evaluated with {_number(low)} to {_number(high)}"
        measured, limit = f"{clipped:.0%} clipped, {used:.0%} of it used", f"≤ {_CLIPPED:.0%}, ≥ {_USED:.0%}"
        gates.append(_gate(f"input-range {name}", INT8, good, measured, limit, "" if good else f"{ranges}: scaled alike?"))
    return gates


def _agreement(job: Job, facts: Mapping[str, Any]) -> list[Gate]:
    limit, gates = job.target.recipe.gates.min_agreement, []
    for where, found in _kernels(job, facts):
        snr = f", SNR {_number(found['snr_db']['mean'])} dB" if found["snr_db"] else ""
        measured = f"{found['agreement']:.1%} of {facts['samples']} samples{snr}"
        gates.append(_gate(f"agreement{where}", INT8, found["agreement"] >= limit, measured, f"≥ {limit:.0%}"))
    return gates


def _accuracy(job: Job, facts: Mapping[str, Any]) -> list[Gate]:
    wanted = job.model.recipe.accuracy
    if wanted is None:
        return []
    limit, gates = f"drop ≤ {wanted.max_drop:g}", []
    for where, found in _kernels(job, facts):
        metric = found["metric"]
        measured = f"{wanted.metric} {_number(metric['fp32'])} → {_number(metric['int8'])}"
        gates.append(_gate(f"accuracy{where}", INT8, metric["drop"] <= wanted.max_drop, measured, limit))
    return gates


def _faster(job: Job, step: Step | None, results: Results) -> Gate:
    limit = f"≥ {job.target.recipe.gates.min_speedup:g}×"
    if step is None:
        why = f"this machine is {host_platform()}, the target is {job.target.recipe.platform}"
        return Gate("int8-faster", INT8, Outcome.NOT_RUN, limit=limit, why=why)
    timed = results[step.id]
    if timed.refused:
        return Gate("int8-faster", INT8, Outcome.NOT_RUN, limit=limit, why=timed.refused["what"])
    facts, noise = timed.facts, timed.facts[NOISE]
    measured = f"{noise['speedup']:.2f}× ({noise['fp32_ms']:.3f} → {noise['int8_ms']:.3f} ms)"
    why = "" if facts["faster"] else f"INT8 ran at {noise['speedup']:.2f}× the speed of fp32 here"
    return replace(_gate("int8-faster", INT8, facts["faster"], measured, limit, why), varies=True)


def _worst(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    found = [o["max_abs"] for o in outputs.values() if o["max_abs"] is not None]
    return f"max error {_number(max(found))}" if found else "no numbers to compare"


def _reasons(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(f"{name}: {o['reason']}" for name, o in outputs.items() if o.get("reason"))


def _short_of(gate: Gate) -> str:
    """Why a gate speaks against INT8, without what differs from run to run: it stands in the manifest."""
    if gate.varies:
        return f"not {gate.limit} the speed of fp32"
    return gate.why or f"{gate.measured}, wanted {gate.limit}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
