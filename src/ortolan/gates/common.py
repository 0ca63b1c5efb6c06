"""What all gates are made with: subjects, outcomes from comparisons, and the gates that every candidate has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import artifact
from ..artifact import Gate, Outcome, Precision
from ..outputs.made import ROUNDING, rounded
from ..sources import Job

INT8: Precision = "int8"
FP32: Precision = artifact.FP32
_CHECKED = "onnxruntime"  # what most checks run in; other packages of a version share its graph code, not its providers


def judge(name: str, subject: str, good: bool, measured: str, limit: str, why: str = "") -> Gate:
    """A gate that passes or fails."""
    return Gate(name, subject, Outcome.PASS if good else Outcome.FAIL, measured, limit, why)


def loads(job: Job, version: str, subject: str, facts: Mapping[str, Any]) -> Gate:
    """It opened and ran; where it did not, the readable reasons (IR, opsets) stand before the runtime's own words."""
    onnx = facts["onnx"]
    package = job.target.recipe.runtime.package
    where = facts["arch"] if job.runtime(version) == f"{package}-{version}" else f"{facts['arch']}, in {_CHECKED} (not {package})"
    measured = f"runs on {where}" if onnx["runs"] else "opens, fails to run" if onnx["opens"] else "refused"
    why = "; ".join([*facts["limits"], *([onnx["error"]] if onnx["error"] else [])])
    return judge(f"load@{version}", subject, onnx["runs"], measured, "", "" if onnx["runs"] else why)


def parity(job: Job, version: str, facts: Mapping[str, Any], subject: str = FP32, *, steps: bool = False) -> Gate:
    """The outputs are those of the source framework, within the model recipe's tolerance.

    With ``steps``, of a model that comes quantised, values may also be rounded to the next step.
    """
    tolerance, onnx = job.model.recipe.parity, facts["onnx"]
    limit = f"atol {tolerance.atol:g} + rtol {tolerance.rtol:g}" + (f", or SNR ≥ {ROUNDING:g} dB" if steps else "")
    if not onnx["runs"] and " " not in version:  # where there are no sizes, the gate ``load`` says it
        return Gate(f"parity@{version}", subject, Outcome.NOT_RUN, limit=limit, why="the model did not run")
    if not onnx["runs"]:
        return judge(f"parity@{version}", subject, good=False, measured="did not run", limit=limit, why=onnx["error"])
    if steps and not onnx["close"]:
        near, seen, why = rounded(onnx["outputs"].values(), close=False)
        return judge(f"parity@{version}", subject, near, seen, limit, "" if near else "; ".join(why))
    return judge(f"parity@{version}", subject, onnx["close"], worst(onnx["outputs"]), limit, reasons(onnx["outputs"]))


def worst(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    """The largest error of several outputs, for people."""
    found = [o["max_abs"] for o in outputs.values() if o["max_abs"] is not None]
    return f"max error {number(max(found))}" if found else "no numbers to compare"


def reasons(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    """Why outputs are not close."""
    return "; ".join(f"{name}: {o['reason']}" for name, o in outputs.items() if o.get("reason"))


def shown(precision: Precision) -> str:
    """A precision at the start of a sentence, or before a noun."""
    return precision.upper() if precision == INT8 else precision


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return "–" if value is None else f"{value:.4g}"
