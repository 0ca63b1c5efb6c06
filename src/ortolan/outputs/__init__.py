"""What ships beside the ``.onnx``: one module for each table of ``[outputs]``, with its steps and its gates."""

from __future__ import annotations

from ..sources import Job
from . import custom_build, openvino, ort, qnn, reduced_runtime, tensorrt, tensorrt_rtx, web
from .made import Made, Shipping

KINDS = {
    "custom_build": custom_build,
    "openvino": openvino,
    "ort": ort,
    "qnn": qnn,
    "reduced_runtime": reduced_runtime,
    "tensorrt": tensorrt,
    "tensorrt_rtx": tensorrt_rtx,
    "web": web,
}
"""The module of each output, by its key in ``[outputs]``.

Each has ``plan``, the ``RUNTIMES`` that its steps run in beside the fleet's, and in words what a build has ``PROVEN`` of it
and what is ``LEFT`` to the device.
"""


def runtimes(job: Job) -> set[str]:
    """The runtimes that the outputs of a target need beside those of its fleet."""
    return {name for kind in job.target.recipe.outputs.tables() for name in KINDS[kind].RUNTIMES}


def plan(given: Shipping) -> list[Made]:
    """The outputs that a target asks for."""
    return [KINDS[name].plan(given, table) for name, table in given.job.target.recipe.outputs.tables().items()]


__all__ = ["KINDS", "Made", "Shipping", "plan", "runtimes"]
