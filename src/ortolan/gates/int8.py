"""The gates of the candidate of fewer bits: something was quantised, it loads, is sane, keeps its accuracy, gains something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..artifact import Gate, Outcome
from ..coverage import silent
from ..execute import Result, Results
from ..plan import Candidates
from ..quantising import Recovery
from ..recipe.quantize import DYNAMIC, FP16, STATIC, WEIGHTS
from ..sources import Job
from .common import judge, loads, number, reasons
from .coverage import coverage
from .gain import gain
from .kept import input_fit, kept, not_kept

_NAMED = 12  # layers that a line names
_SILENCE = 0.0  # dB: below it the error is larger than the signal
_WORDS = {
    DYNAMIC: "nodes with 8-bit weights and dynamic ranges",
    FP16: "nodes in half precision",
    WEIGHTS: "matrix products with {}-bit weights",
}


def candidate(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Judge the candidate; none of it exists under the policy ``never``."""
    if job.target.recipe.quantize.policy == "never":
        return []
    if found.quantise is None or found.evaluate is None:
        why = "the model recipe has no [data] calibration"
        return [Gate("quantised", job.precision, Outcome.NOT_RUN, limit=_shares(job), why=why)]
    quantised = results[found.quantise.id]
    if quantised.refused:
        return [Gate("quantised", job.precision, Outcome.FAIL, "refused", _shares(job), quantised.refused["what"])]
    if trees := _trees(results[found.normalise.id].facts, quantised.facts):
        why = f"nothing in it multiplies: {', '.join(trees)} compares and adds, and has no form in 8 bits"
        return [Gate("quantised", job.precision, Outcome.NOT_RUN, limit=_shares(job), why=why)]
    gates = [_quantised(job, quantised.facts)]
    for version, step in (found.verify_int8 or {}).items():
        facts = results[step.id].facts
        gates += [loads(job, version, job.precision, facts)]
        gates += [_sane(job, version, facts)] if facts["onnx"]["runs"] else []
    if found.coverage and results[found.coverage.id].ok:
        gates += coverage(job.target.recipe.gates, results[found.coverage.id].facts, silent(job), job.precision)
    evaluated = results[found.evaluate.id]
    if not evaluated.ok:
        return [*gates, *not_kept(job, _unevaluated(evaluated))]
    fit = found.calibrate if job.target.recipe.quantize.scheme == STATIC else None
    return [
        *gates,
        *(input_fit(job, evaluated.facts, results[fit.id].facts) if fit else []),
        *kept(job, evaluated.facts),
        *([_recovered(job, found.recovery)] if found.recovery else []),
        *gain(job, quantised.facts, found.latency, results),
    ]


def _unevaluated(result: Result) -> str:
    return result.refused["what"] if result.refused else "the candidate was not evaluated"


def _trees(model: Mapping[str, Any], quantised: Mapping[str, Any]) -> list[str]:
    """The ensembles of trees of a model that has nothing else to quantise."""
    if quantised.get("qdq", quantised.get("low")) or quantised["macs"] or quantised["macs_uncounted"]:
        return []
    return [name.partition(":")[2] for name in model["operators"] if "TreeEnsemble" in name]


def _shares(job: Job) -> str:
    return f"≥ {job.target.recipe.gates.min_quantized_macs:.0%} of MACs"


def _quantised(job: Job, facts: Mapping[str, Any]) -> Gate:
    quantize, share = job.target.recipe.quantize, facts["macs_share"]
    nodes, unknown = facts.get("qdq", facts.get("low", 0)), len(facts["macs_uncounted"])
    good = nodes > 0 and not unknown and share >= job.target.recipe.gates.min_quantized_macs
    why = "" if good else "nothing was quantised" if not nodes else "too little was quantised"
    if nodes and unknown:
        why = f"{unknown} multiplying nodes have unknown shapes, so the share is not known: fix their axes in [shapes]"
    elif not good and (hint := _hint(job)):
        why += f": {hint}"
    if not good and facts["half_precision"]:
        why += f": {len(facts['half_precision'])} tensors are in half precision, which ONNX Runtime does not quantise"
    if facts["unknown_exclude"]:
        why = "; ".join(filter(None, [why, f"[quantize] exclude names no node: {', '.join(facts['unknown_exclude'])}"]))
    if good and quantize.scheme == FP16 and facts["left_in_float"]:
        why = "; ".join(filter(None, [why, _floats(facts["left_in_float"])]))
    words = _WORDS.get(quantize.scheme, "Q/DQ nodes").format(quantize.bits)
    return judge("quantised", job.precision, good, f"{nodes} {words}, {share:.1%} of MACs", _shares(job), why)


def _hint(job: Job) -> str:
    """Why little may be left for a scheme that is for some operators alone."""
    quantize = job.target.recipe.quantize
    if quantize.scheme == DYNAMIC and not quantize.convolutions:
        return 'convolutions stay in float, as ConvInteger is slower; scheme = "static" quantises them'
    return (
        "MatMul and Gemm with constant weights have a form with fewer bits, and nothing else"
        if quantize.scheme == WEIGHTS
        else ""
    )


def _floats(left: Mapping[str, str]) -> str:
    """The nodes of a model in half precision that stay in float32, by reason."""
    name, why = next(iter(left.items()))
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return f"in float32 stay {name} ({why}){more}"


def _recovered(job: Job, found: Recovery) -> Gate:
    """Whether leaving some layers in float brought back what the gates on agreement and accuracy want."""
    limit, more = f"≤ {found.most}, by min_quantized_macs", len(found.left) - _NAMED
    names = ", ".join(found.left[:_NAMED]) + (f" and {more} more, in coverage.json" if more > 0 else "")
    measured = f"{len(found.left)} of {found.layers} layers in float: {names}" if found.left else "no such layers found"
    why = "; ".join(filter(None, [f"{found.evaluations} evaluations", found.ended]))
    return replace(judge("recovered", job.precision, bool(found.left), measured, limit, why), varies=found.timed)


def _sane(job: Job, version: str, facts: Mapping[str, Any]) -> Gate:
    """In every runtime it is nearer to the framework's outputs than silence is; how near, the agreement tells."""
    name, limit, outputs = f"sane@{version}", f"SNR ≥ {_SILENCE:g} dB", facts["onnx"]["outputs"].values()
    known = [o["snr_db"] for o in outputs if o["snr_db"] is not None]
    good = all(o["close"] or (o["snr_db"] is not None and o["snr_db"] >= _SILENCE) for o in outputs)
    measured = f"SNR {number(min(known))} dB on the parity samples" if known else "equal on the parity samples"
    whys = [] if good else [reasons(facts["onnx"]["outputs"])]
    if not good and job.precision == "fp16" and job.target.recipe.session.enable_mem_pattern:
        whys.append("ONNX Runtime 1.17.3 mixes up the memory of half precision: try enable_mem_pattern = false in [session]")
    return judge(name, job.precision, good, measured if good or known else "not comparable", limit, "; ".join(whys))
