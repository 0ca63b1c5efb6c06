"""The gates of what ships on another machine, a device or an emulated ARM: it opens there, and gives what it gives here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..artifact import SHIPPED, Gate, Outcome
from ..outputs.made import ROUNDING, rounded
from ..sources import Job
from .common import FP32, judge, reasons, worst


def loads(at: str, where: str, facts: Mapping[str, Any]) -> Gate:
    """It opened and ran; the readable reasons (IR, opsets) stand before the runtime's own words. ``at``: version and machine."""
    onnx = facts["onnx"]
    measured = f"runs on {where}" if onnx["runs"] else "opens, fails to run" if onnx["opens"] else "refused"
    why = "; ".join([*facts["limits"], *([onnx["error"]] if onnx["error"] else [])])
    return judge(f"load@{at}", SHIPPED, onnx["runs"], measured, "", "" if onnx["runs"] else why)


def golden(at: str, job: Job, facts: Mapping[str, Any], *, exact: bool) -> Gate:
    """What the model gives there is what it gives here as it is written. What is not ``exact`` may round to the next step."""
    name, onnx, tolerance = f"golden@{at}", facts["onnx"], job.model.recipe.parity
    limit = f"as here: atol {tolerance.atol:g} + rtol {tolerance.rtol:g}" + ("" if exact else f", or SNR ≥ {ROUNDING:g} dB")
    if not onnx["runs"]:
        return Gate(name, SHIPPED, Outcome.NOT_RUN, limit=limit, why="the model did not run")
    if onnx["close"] or exact:
        return judge(name, SHIPPED, onnx["close"], worst(onnx["outputs"]), limit, reasons(onnx["outputs"]))
    near, seen, why = rounded(onnx["outputs"].values(), close=False)
    return judge(name, SHIPPED, near, seen, limit, "" if near else "; ".join(why))


def ort(at: str, facts: Mapping[str, Any], precision: str) -> Gate:
    """The .ort file runs there and gives what the .onnx gives there."""
    found, limit, name = facts["ort"], "runs, equals .onnx", f"ort@{at}"
    if not found["runs"]:
        return judge(name, SHIPPED, good=False, measured="refused", limit=limit, why=found["error"])
    near, _, _ = rounded(found["outputs"].values(), found["close"])
    good = found["close"] or (precision != FP32 and near)
    measured = f"{worst(found['outputs'])} ({found['against']})"
    return judge(name, SHIPPED, good, measured, limit, "" if good else reasons(found["outputs"]))
