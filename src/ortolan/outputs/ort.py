"""The ``.ort`` file of ORT Mobile, and the operators that a reduced runtime needs. Its gates are those of ``verify``."""

from __future__ import annotations

from ..artifact import Gate
from ..recipe.outputs import OrtFormat
from .made import Facts, Made, Shipping, gate

RUNTIMES = ()
PROVEN = "the .ort file gives in every version of the fleet what the .onnx gives"
LEFT = "that a runtime reduced to its operators runs it"


def plan(given: Shipping, table: OrtFormat) -> Made:
    """Converted in the oldest runtime of the fleet, which all others read."""
    recipe = given.job.target.recipe
    convert = given.job.step(
        "ort_convert",
        {"model": given.model},
        given.job.runtime(given.job.oldest),
        style=table.style,
        type_reduction=table.type_reduction,
        platform=recipe.platform,
    )
    names = ["model.ort", "required_operators.config"] + ["required_operators_and_types.config"] * table.type_reduction
    return Made({name: convert[name] for name in names}, {"convert": convert}, judge=_judge)


def _judge(facts: Facts) -> list[Gate]:
    """A gate for what there is to tell only: it never fails, for such a file is right and merely slower."""
    version, unfused = facts["convert"]["onnxruntime"], facts["convert"]["unfused"]
    why = f"ONNX Runtime {version} does not open an .ort in which they are fused; the .onnx runs them in 8 bits"
    measured = f"{unfused} quantised matrix products run in float"
    return [gate("ort-fused", good=True, measured=measured, limit="", why=why)] if unfused else []
