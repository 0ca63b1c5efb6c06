"""The gates on how fast what ships runs on a device, judged by what ``bench`` measured there. No manifest has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..artifact import FP32, Gate, Outcome
from ..recipe.quantize import FP16, WEIGHTS
from ..recipe.schema import Target
from .common import judge, shown

Result = Mapping[str, Any]
"""What was measured of one file, as ``bench`` keeps it."""
Bench = Mapping[str, Any]
"""The document of a bench: one build on one device."""
_SUSTAINED, _LEAST = "sustained", 30.0
"""The gate on how much of its speed a device keeps, and the seconds that it is advised to run at the least."""


@dataclass(frozen=True)
class _Limit:
    """A limit that the recipe sets: ``slack`` of a value is 0 or more where it is kept."""

    name: str
    text: str
    value: Callable[[Result], float]
    said: str
    slack: Callable[[float], float]


def on_device(recipe: Target, found: Bench) -> list[Gate]:
    """What the recipe limits, judged by a bench; the device is the subject. The slowest of the files that ship counts."""
    why = _unfit(found)
    gates = [_judged(limit, found, why) for limit in _limits(recipe)]
    return [*gates, *_gains(recipe, found, str(found["device"]["name"]), why)]


def unmeasured(recipe: Target, precision: str, hint: str) -> list[Gate]:
    """The same where there was no bench: what the recipe limits was not seen."""
    named = [(one.name, one.text) for one in _limits(recipe)]
    if precision != FP32 and "min_speedup" in recipe.gates.model_fields_set:
        named.append((f"{precision}-faster", f"≥ {recipe.gates.min_speedup:g}×"))
    return [Gate(name, "device", Outcome.NOT_RUN, limit=text, why=hint, varies=True) for name, text in named]


def _limits(recipe: Target) -> Iterator[_Limit]:
    latency, rate, kept = recipe.gates.max_latency_ms, recipe.gates.min_fps, recipe.gates.min_sustained
    if latency is not None:
        yield _Limit("latency", f"p95 ≤ {latency:g} ms", lambda one: float(one["sustained"]["p95_ms"]), "p95 {:.4g} ms",
                     lambda value: latency - value)  # fmt: skip
    if rate is not None:
        yield _Limit("throughput", f"≥ {rate:g} runs/s", lambda one: float(one["sustained"]["late_per_second"]), "{:.4g} runs/s",
                     lambda value: value - rate)  # fmt: skip
    if kept is not None:
        yield _Limit(_SUSTAINED, f"≥ {kept:.0%} of the burst", lambda one: 1 / float(one["sustained"]["of_burst"]),
                     "{:.0%} of the burst", lambda value: value - kept)  # fmt: skip


def _unfit(found: Bench) -> str:
    """Why the numbers say nothing of the target; empty where they do."""
    wanted, seen = found["platform"]["wanted"], found["platform"]["found"]
    if found["device"].get("emulated"):
        return "emulated: says nothing of speed"
    return "" if wanted == seen else f"{seen} is not the target's platform, {wanted}"


def _judged(limit: _Limit, found: Bench, why: str) -> Gate:
    device, ships = str(found["device"]["name"]), [one for one in found["results"] if one["ships"]]
    failed = [f"{one['file']}: {one['error']}" for one in ships if "error" in one]
    if why or failed or not ships:
        told = why or "; ".join(failed) or "nothing that ships was timed"
        return Gate(limit.name, device, Outcome.NOT_RUN, limit=limit.text, why=told, varies=True)
    values = {str(one["file"]): limit.value(one) for one in ships}
    file = min(values, key=lambda name: limit.slack(values[name]))
    measured = f"{limit.said.format(values[file])} ({file})"
    good = limit.slack(values[file]) >= 0
    if good and limit.name == _SUSTAINED and (early := _early(found)):
        return Gate(limit.name, device, Outcome.NOT_RUN, measured, limit.text, early, varies=True)
    return _timed(judge(limit.name, device, good, measured, limit.text, _ended(ships, file)))


def _early(found: Bench) -> str:
    """What to do where the time was over before a file was steady or throttled: then it may still get slower."""
    if all(one["sustained"]["ended"] != "time" for one in found["results"] if one["ships"]):
        return ""
    wanted = max(_LEAST, 2 * float(found["seconds"]))
    return f"neither steady nor throttled when the time was over: --seconds {wanted:g} or more"


def _ended(ships: Sequence[Result], file: str) -> str:
    """How the sustained run ended, and what it ran without."""
    one = next(one for one in ships if one["file"] == file)
    lacking = f", without {', '.join(one['lacking'])}" if one["lacking"] else ""
    return f"{one['sustained']['ended']} after {one['sustained']['seconds']:.0f} s{lacking}"


def _gains(recipe: Target, found: Bench, device: str, why: str) -> Iterator[Gate]:
    """Whether the precision that ships is really faster than fp32 there."""
    ships = next((str(one["precision"]) for one in found["results"] if one["ships"]), FP32)
    if ships == FP32:
        return
    told = recipe.quantize.scheme in {FP16, WEIGHTS} and "min_speedup" not in recipe.gates.model_fields_set
    name, limit = f"{ships}-faster", "" if told else f"≥ {recipe.gates.min_speedup:g}×"
    one = next((one for one in found["comparisons"] if (one["than"], one["precision"]) == (FP32, ships)), None)
    if why or one is None:
        lacking = "there was no fp32 to compare with: the store has it no more, or it did not run"
        yield Gate(name, device, Outcome.NOT_RUN, limit=limit, why=why or lacking, varies=True)
        return
    measured = f"{one['median']:.2f}× ({one['low']:.2f} to {one['high']:.2f})"
    if told:
        what = "told and not judged: what this scheme is for is size. [gates] min_speedup judges it"
        yield Gate(name, device, Outcome.NOT_RUN, measured, limit, what, varies=True)
        return
    good = one["median"] >= recipe.gates.min_speedup
    slow = "" if good else f"{shown(one['precision'])} ran at {one['median']:.2f}× the speed of fp32 there"
    yield _timed(judge(name, device, good, measured, limit, slow))


def _timed(gate: Gate) -> Gate:
    return Gate(gate.name, gate.subject, gate.outcome, gate.measured, gate.limit, gate.why, varies=True)
