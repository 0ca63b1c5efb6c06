"""The ``.ort`` file of ORT Mobile, and the operators that a reduced runtime needs. Its gates are those of ``verify``."""

from __future__ import annotations

from ..recipe.outputs import OrtFormat
from .made import Made, Shipping

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
    return Made({name: convert[name] for name in names})
