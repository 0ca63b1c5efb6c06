"""A libonnxruntime that holds what the target's models need and no more, as ``./inv runtime-build`` left it."""

from __future__ import annotations

from functools import partial

from ..artifact import Gate
from ..recipe.outputs import ReducedRuntime
from .made import Facts, Made, Shipping, unseen

RUNTIMES = ()
PROVEN = "the library has the size, the needs and the architecture that the target wants, and runs the model's golden samples"
LEFT = "how fast the library is on the device"


def plan(given: Shipping, table: ReducedRuntime) -> Made:  # noqa: ARG001  every output is planned with its table
    """Where none was built yet, a gate says how to."""
    return Made({}, judge=partial(_judge, target=given.job.target.name))


def _judge(facts: Facts, target: str = "") -> list[Gate]:  # noqa: ARG001  there are no steps
    return [unseen("reduced-runtime", f"none was built for this target yet: ./inv runtime-build --target {target}")]
