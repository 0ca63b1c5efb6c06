"""The gates of what ships on an emulated ARM: it opens there, gives what it gives here, and which providers the wheel offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..artifact import SHIPPED, Gate
from ..execute import Result
from ..outputs.made import unseen
from ..recipe.provider_data import find
from ..recipe.rules import CPU
from ..sources import Job
from . import elsewhere
from .common import FP32, judge

MARK = " arm64"
"""Behind a version in a gate's name."""
ON_DEVICE = "on-device"
_LATE = "time limit"


def emulated(job: Job, version: str, result: Result, precision: str) -> list[Gate]:
    """The gates of one version, of a step that ran ``verify`` there on what ships."""
    name = f"load@{version}{MARK}"
    if result.error and _LATE in result.error.what:
        return [unseen(name, "the model takes too long under emulation, which is hundreds of times slower than the device")]
    if not result.ok:
        return [judge(name, SHIPPED, good=False, measured="did not run", limit="", why=_trouble(result))]
    facts = result.facts
    at = f"{version}{MARK}"
    gates = [elsewhere.loads(at, f"emulated {facts['arch']}", facts), elsewhere.golden(at, job, facts, exact=precision == FP32)]
    gates += [elsewhere.ort(at, facts, precision)] if facts.get("ort") else []
    return [*gates, _providers(job, version, facts)]


def summed_up(gates: Sequence[Gate], versions: Sequence[str], missing: str) -> list[Gate]:
    """The gates of what ships, of which ``on-device`` tells what emulation showed, or why there was none."""
    return [_told(gate, versions, missing) if gate.name == ON_DEVICE else gate for gate in gates]


def _told(gate: Gate, versions: Sequence[str], missing: str) -> Gate:
    if versions:
        seen = f"emulated: {', '.join(versions)}"
        return replace(
            gate, measured=seen, why="speed, memory and the board's own libraries were not seen: emulation shows results only"
        )
    return replace(gate, why=f"{gate.why}; {missing}") if missing else gate


def _trouble(result: Result) -> str:
    if result.error:
        return f"{result.error.what}; {result.error.why} (--no-emulation builds without this check)"
    return result.refused["what"] if result.refused else "its step was skipped"


def _providers(job: Job, version: str, facts: Mapping[str, Any]) -> Gate:
    """A provider that the recipe asks for and the wheel for the device does not offer is named, with how to have it."""
    name, offered = f"providers@{version}{MARK}", facts["offered"]
    measured = f"the wheel offers {', '.join(one.removesuffix('ExecutionProvider') for one in offered)}"
    missing = [one.name for one in job.target.recipe.provider if one.name not in offered]
    if not missing:
        return judge(name, SHIPPED, good=True, measured=measured, limit="")
    takes = "every node runs on the CPU" if _all_else_is_cpu(job, missing) else "the next provider takes its nodes"
    lacks = f"no {', '.join(missing)} in the aarch64 wheel of onnxruntime {version}"
    why = f"{lacks}: with it, {takes} on the device; {_how(job, missing)}"
    return unseen(name, why, measured)


def _all_else_is_cpu(job: Job, missing: Sequence[str]) -> bool:
    return all(one.name in {*missing, CPU} for one in job.target.recipe.provider)


def _how(job: Job, missing: Sequence[str]) -> str:
    """How a device gets the providers that the wheel lacks."""
    if job.target.recipe.outputs.custom_build:
        return "build_onnxruntime.sh of this build makes one that has it"
    if job.target.recipe.runtime.package != "onnxruntime":
        return f"the target's package is {job.target.recipe.runtime.package}, which has no wheel to emulate"
    flags = [data.build_flag for one in missing if (data := find(one)) and data.build_flag]
    wanted = ", ".join(f'"{flag}"' for flag in ("--config", "Release", "--build_shared_lib", "--parallel", *flags))
    return f"[outputs] custom_build = {{ flags = [{wanted}] }} gives the script that builds an ONNX Runtime with it"
