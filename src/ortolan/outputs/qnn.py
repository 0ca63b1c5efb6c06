"""A QNN context binary for one Snapdragon, compiled here and run on QNN's emulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..artifact import Gate
from ..recipe.outputs import QnnContext
from .made import Facts, Made, Shipping, gate, rounded, unseen

RUNTIMES = ("qnn",)
PROVEN = "the context binary is compiled for the SoC that was asked for, and gives on QNN's emulator what the model gives"
LEFT = "speed and power, and that the device's driver is new enough for the binary"
_FILE = "model_ctx.onnx"
_NEAR = 20.0  # dB against the CPU as written: HTP rounds otherwise, and computes float in half precision (seen: 28 and more)


def plan(given: Shipping, table: QnnContext) -> Made:
    """One step compiles, reads back, emulates and compares."""
    recipe = given.job.target.recipe
    provider = next(one for one in recipe.provider if one.name == table.provider)
    step = given.job.step(
        "engine_qnn",
        {"model": given.model, **given.compared()},
        RUNTIMES[0],
        note=table.soc,
        soc=table.soc,
        options=dict(provider.options),
    )
    return Made({_FILE: step[_FILE]}, {"context": step}, judge=partial(_judge, fleet=recipe.runtime.versions), about=_about)


def _judge(facts: Facts, fleet: Sequence[str] = ()) -> list[Gate]:
    """The binary is for the asked SoC and has the model's signature; the emulator gives the model's outputs."""
    told = facts["context"]
    made_by = told["versions"].get("onnxruntime", "")
    asked, found = ([one["soc"], f"HTP {one['htp_arch']}"] for one in (told["asked"], told["found"]))
    rest = ", ".join(f"{count} {op}" for op, count in told["on_cpu"].items())
    measured = f"{', '.join(found)}, {told['bytes']:,} B, {told['partitions']} partition(s)"
    other = [f"compiled for {', '.join(found)}, not for {', '.join(asked)}"] if asked != found else []
    if fleet and made_by not in fleet:
        other.append(f"was made by ONNX Runtime {made_by}, the fleet has {', '.join(fleet)}")
    why = "; ".join([*other, *told["signature"], *([f"left to the CPU: {rest}"] if rest else [])])
    built = gate("engine", not other and not told["signature"], measured, f"{', '.join(asked)}, signature", why)
    runs = unseen("engine-runs", "no Snapdragon here: the emulator tells nothing of speed")
    return [built, _same_bytes(told), _emulated(told["emulator"]), runs]


def _same_bytes(told: Mapping[str, Any]) -> Gate:
    """QNN's compiler gives some recurrent models other bytes in each process; then nobody can build this file again."""
    good = bool(told["reproducible"])
    measured, why = (
        ("compilations agree", "") if good else ("compilations differ", "QNN's compiler gives this model other bytes each time")
    )
    return gate("engine-bytes", good, measured, "the same bytes again", why)


def _emulated(ran: Mapping[str, Any]) -> Gate:
    near, seen, reasons = rounded(ran["cpu"].values(), close=False, least=_NEAR)
    good = ran["runs"] and near
    why = "" if good else "; ".join(filter(None, [ran["error"], *reasons]))
    return gate("emulator", good, f"{seen} on {ran['samples']} samples", f"SNR ≥ {_NEAR:g} dB against the CPU", why)


def _about(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    told = facts["context"]
    return {_FILE: {**told["found"], **told["versions"], "compatibility": told["compatibility"]}}
