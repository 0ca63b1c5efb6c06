"""The gates of the files that ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..artifact import SHIPPED, Artifact, Gate, Outcome
from ..contract import BESIDE
from ..coverage import silent
from ..execute import Results
from ..outputs.made import ROUNDING
from ..plan import Shipment
from ..platforms import host_platform
from ..sources import Job
from .common import FP32, judge, loads, parity, reasons, worst
from .coverage import coverage

_CPU = "CPUExecutionProvider"
_LOADED = (".onnx", ".ort", ".engine", ".bin", ".blob")  # what a device loads


def shipped(job: Job, ship: Shipment, artifacts: Sequence[Artifact], results: Results, precision: str) -> list[Gate]:
    """Judge the files that would ship."""
    gates: list[Gate] = []
    for version, step in ship.verify.items():
        facts = results[step.id].facts
        gates.append(loads(job, version, SHIPPED, facts))
        gates += [parity(job, version, facts, SHIPPED)] if precision == FP32 else []
        gates += [_ort(version, precision, facts)] if facts.get("ort") else []
        gates.append(_providers(job, version, facts))
    gates += coverage(job.target.recipe.gates, results[ship.coverage.id].facts, silent(job))
    for made in ship.made:
        gates += made.judge({name: results[step.id].facts for name, step in made.steps.items()})
    gates.append(_size(job, artifacts))
    return gates + _device(job)


def _ort(version: str, precision: str, facts: Mapping[str, Any]) -> Gate:
    """The .ort file runs and gives what the .onnx gives in the same runtime; kernels of fewer bits may round to the next step."""
    ort, limit, name = facts["ort"], "runs, equals .onnx", f"ort@{version}"
    if not ort["runs"]:
        return judge(name, SHIPPED, good=False, measured="refused", limit=limit, why=ort["error"])
    good = ort["close"] or (precision != FP32 and bool(ort["outputs"]) and all(map(_near, ort["outputs"].values())))
    measured, why = f"{worst(ort['outputs'])} ({ort['against']})", reasons(ort["outputs"])
    return judge(name, SHIPPED, good, measured, limit, "" if good else why)


def _near(output: Mapping[str, Any]) -> bool:
    """Close, or one step of rounding away. A wrong shape and NaN have no SNR and are neither."""
    return bool(output["close"] or (output["snr_db"] is not None and output["snr_db"] >= ROUNDING))


def _providers(job: Job, version: str, facts: Mapping[str, Any]) -> Gate:
    """Every provider before the CPU is there and took nodes; what the runtime cannot tell was not seen."""
    missing, placed = facts["providers"]["missing"], facts["placed"]
    wanted = [provider.name for provider in job.target.recipe.provider if provider.name != _CPU]
    there = [name for name in wanted if name not in missing]
    idle = [name for name in there if placed is not None and not placed.get(name)]
    whys = [
        (missing, f"not in this build of onnxruntime {version}; needs the device, or a build that has it"),
        (idle, "is there, and took no node"),
        (there if placed is None else [], f"onnxruntime {version} does not tell which nodes it took"),
    ]
    why = "; ".join(f"{', '.join(names)}: {reason}" for names, reason in whys if names)
    took = ", ".join(f"{name} {count} nodes" for name, count in (placed or {}).items()) or ", ".join([*there, _CPU])
    return Gate(f"providers@{version}", SHIPPED, Outcome.NOT_RUN if why else Outcome.PASS, took, "", why)


def _size(job: Job, artifacts: Sequence[Artifact]) -> Gate:
    sizes = {a.name: a.size for a in artifacts}
    models = [a for a in artifacts if a.name.endswith(_LOADED) and not a.name.startswith("golden")]
    largest, limit = max(a.size + sizes.get(a.name + BESIDE, 0) for a in models), job.target.recipe.gates.max_size
    if limit is None:
        return Gate("size", SHIPPED, Outcome.NOT_RUN, f"{largest:,} B", why="the target sets no max_size")
    return judge("size", SHIPPED, largest <= limit, f"{largest:,} B", f"≤ {limit:,} B")


def _device(job: Job) -> list[Gate]:
    """What only the device can prove."""
    gates = []
    if job.target.recipe.platform != host_platform():
        why = f"all of this was seen on {host_platform()}, not on {job.target.recipe.platform}"
        gates.append(Gate("on-device", SHIPPED, Outcome.NOT_RUN, why=why))
    return gates
