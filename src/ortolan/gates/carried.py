"""The gates of what a model's C program saw of the ONNX Runtime that its build carries."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any

from ..artifact import SHIPPED, Gate, Outcome
from ..execute import Result, Results
from ..outputs.made import gate, unseen
from ..step import Step
from ..store import NOISE

SLACK_US = 10.0
"""So many microseconds more than the stock library's do not make a run too slow, whatever the recipe's ``max_latency``: in the
smallest models a run is the library's overhead alone, which is a little larger in one that was compiled for size."""
GOLDEN, REFUSES, SPEED = "reduced-golden", "reduced-refuses", "reduced-speed"
_LARGEST = re.compile(r"largest error (\S+)")
_WITH = re.compile(r"^ONNX Runtime (\S+) with (.*), golden samples of (\S+)$", re.MULTILINE)
_AGREE = "all golden samples agree"
"""The C program's last line where every output is near enough."""
_NOT_LOADED = "cannot load the model: "
"""How the C program begins what ONNX Runtime says to a model that it does not open."""


def unrun(why: str, untimed_why: str) -> list[Gate]:
    """The gates where no program ran."""
    return [unseen(GOLDEN, why), unseen(REFUSES, why), untimed(untimed_why)]


def untimed(why: str) -> Gate:
    """Where nothing was timed."""
    return unseen(SPEED, why)


def ran(results: Results, step: Step, operator: str, place: str) -> list[Gate]:
    """Of the step that ran the golden samples and a model with ``operator``; ``place`` says on which machine, in words."""
    result = results[step.id]
    if not result.ok:
        why, known = _trouble(result, results)
        return [_unknown(name, why, known) for name in (GOLDEN, REFUSES)]
    return [_golden(result.facts["golden"], place), _refuses(result.facts["outside"], operator)]


def _unknown(name: str, why: str, known: bool) -> Gate:
    """Without a compiler nothing was seen; a step that broke is a failure."""
    return unseen(name, why) if known else gate(name, good=False, measured="did not run", limit="", why=why)


def _trouble(result: Result, results: Results) -> tuple[str, bool]:
    """Why a step has no facts, and whether that is a verdict: not of the library, but of what this machine has."""
    cause = results[result.skipped.id] if result.skipped else result
    if cause.error:
        return f"{cause.error.what}; {cause.error.why}", False
    told = cause.refused or {}
    return "; ".join(part for part in (told.get("what"), told.get("why"), told.get("hint")) if part), True


def _golden(told: Mapping[str, Any], place: str) -> Gate:
    """Every golden sample, twice, near enough to what the stock runtime gave."""
    limit = "as the stock runtime: near for every sample"
    head = _WITH.search(told["said"])
    errors = [float(text) for text in _LARGEST.findall(told["said"])]
    count = len(errors) + told["said"].count(": equal")
    if told["code"] != 0 or head is None:
        return gate(GOLDEN, good=False, measured=_ended(told), limit=limit, why=_words(told))
    if not count or _AGREE not in told["said"].splitlines():
        return gate(GOLDEN, good=False, measured=f"{count} outputs", limit=limit, why=f"the program did not say '{_AGREE}'")
    seen = f"{count} outputs, largest error {max(errors, default=0.0):.4g}"
    return gate(GOLDEN, good=True, measured=f"{seen}, ONNX Runtime {head[1]} beside {head[3]}{place}", limit=limit)


def _refuses(told: Mapping[str, Any] | None, operator: str) -> Gate:
    """A model outside is refused by ONNX Runtime itself, by its operator's name, and the program goes on to say so."""
    limit = "refused in the runtime's own words, no crash"
    if told is None:
        return unseen(REFUSES, "no operator is left that the library was not built for")
    words = _words(told)
    good = told["code"] == 1 and _NOT_LOADED in words and operator in words
    measured = words.partition(_NOT_LOADED)[2] if good else f"{operator}: {_ended(told)}"
    return gate(REFUSES, good, measured, limit, "" if good else words or f"a model with {operator} was taken")


def _ended(told: Mapping[str, Any]) -> str:
    code = told["code"]
    if code is None:
        return "was ended"
    if code < 0:
        return f"died of {signal.Signals(-code).name}"
    return "ran" if code == 0 else "samples differ" if "DIFFERS" in told["said"] else "failed"


def _words(told: Mapping[str, Any]) -> str:
    """The program's last words, on one line."""
    lines = [line.strip() for line in told["errors"].splitlines() if line.strip()]
    differ = [line.strip() for line in told["said"].splitlines() if "DIFFERS" in line or "another shape" in line]
    return "; ".join((lines or differ)[-3:])


def timed(results: Results, step: Step) -> Gate:
    """Of the step that timed it beside the stock library."""
    result = results[step.id]
    most = {name: step.params[name] for name in ("max_session", "max_latency", "slack_us")}
    limit = "session ≤ {max_session:g}×, run ≤ {max_latency:g}× or {slack_us:g} µs more than the stock library".format(**most)
    if not result.ok:
        return untimed(_trouble(result, results)[0])
    facts, noise = result.facts, result.facts[NOISE]
    session = f"session {noise['session']:.2f}× ({noise['session_stock']:.2f} → {noise['session_reduced']:.2f} ms)"
    run = f"run {noise['latency']:.2f}× ({noise['latency_stock']:.1f} → {noise['latency_reduced']:.1f} µs)"
    slow = [name for name, word in (("session", "session"), ("run", "latency")) if not facts[word]]
    why = (
        f"slower than the library of onnxruntime {facts['stock']} in three quarters of the pairs: {', '.join(slow)}"
        if slow
        else ""
    )
    measured = f"{session}, {run} of onnxruntime {facts['stock']}"
    return Gate(SPEED, SHIPPED, Outcome.FAIL if slow else Outcome.PASS, measured, limit, why, varies=True)
