"""OpenVINO's IR, for programs without ONNX Runtime, and a blob compiled for CPUs of this kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..artifact import Gate
from ..recipe.outputs import OpenVinoIr
from .made import ROUNDING, Facts, Made, Shipping, gate, rounded

RUNTIMES = ("openvino",)
PROVEN = "the IR has the model's signature and, run by OpenVINO on this CPU, gives the model's outputs"
LEFT = "GPUs and NPUs, which are not here"


def plan(given: Shipping, table: OpenVinoIr) -> Made:
    """One step converts, reads back, runs and compares."""
    parity = given.job.model.recipe.parity
    step = given.job.step(
        "engine_openvino",
        {"model": given.model, **given.compared()},
        RUNTIMES[0],
        compress_to_fp16=table.compress_to_fp16,
        blob=table.blob,
        rtol=parity.rtol,
        atol=parity.atol,
    )
    names = ["model.xml", "model.bin"] + ["model.blob"] * table.blob
    return Made({name: step[name] for name in names}, {"ir": step}, judge=_judge, about=_about)


def _judge(facts: Facts) -> list[Gate]:
    told = facts["ir"]
    blob = [_runs("blob", told, told["blob"])] if told["blob"] else []
    return [_runs("ir", told, told["ir"]), *blob]


def _runs(name: str, told: Mapping[str, Any], ran: Mapping[str, Any]) -> Gate:
    """It opens, has the model's signature, and computes the same; where rounding is meant, nearly."""
    differences = ran.get("differences", told["differences"])
    rounds = told["fake_quantize"] > 0 or told["constants"].get("f16", 0) > 0
    near, seen, reasons = rounded(ran["outputs"].values(), bool(ran["close"]), ROUNDING if rounds else math.inf)
    measured = f"OpenVINO {told['openvino'].partition('-')[0]}, {seen}"
    limit = f"signature, SNR ≥ {ROUNDING:g} dB" if rounds else "signature, the recipe's parity"
    why = "" if near and not differences else "; ".join([*differences, *filter(None, [ran["error"]]), *reasons])
    return gate(name, ran["runs"] and near and not differences, measured, limit, why)


def _about(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    told = facts["ir"]
    made_for = {"model.blob": {key: str(value) for key, value in told["blob"]["made_for"].items()}} if told["blob"] else {}
    return {"model.xml": {"openvino": told["openvino"]}, **made_for}
