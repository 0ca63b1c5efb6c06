"""The engine kit of a Jetson: scripts that build its TensorRT engine there, and the settings that ONNX Runtime needs for it."""

from __future__ import annotations

from collections.abc import Mapping

from ..artifact import Gate
from ..recipe.outputs import EngineKit
from ..sources import TOOLS, Job
from ..step import Step
from .made import Facts, Made, Shipping, gate, unseen

RUNTIMES = (TOOLS,)
PROVEN = "the kit suits the model and the fleet's TensorRT: Q/DQ that it does not misread, a profile for each dynamic axis"
LEFT = "the engine itself: it depends on the GPU, on TensorRT's version and on clocks, so only the device builds it"
_FILES = ("build_engine.sh", "build_engine.py", "engine.json")


def plan(given: Shipping, table: EngineKit) -> Made:
    """The kit reads the model that ships beside it."""
    provider = next(one for one in given.job.target.recipe.provider if one.name == table.provider)
    step = given.job.step(
        "engine_kit",
        {"model": given.model},
        tag=given.tag,
        model_file="model.onnx",
        tensorrt=table.version,
        profiles=given.job.target.recipe.profiles,
        workspace=table.workspace,
        tf32=table.tf32,
        dla_core=table.dla_core,
        gpu_fallback=table.gpu_fallback,
        timing_cache=table.timing_cache,
        options=dict(provider.options),
        library="tensorrt",
        compute_capability=None,
    )
    return Made({name: step[name] for name in _FILES}, {"kit": step}, judge=_judge, about=_about)


def kits(_: Job, made: Made, __: str) -> Mapping[str, Step]:
    """The kits that a device carries out for an engine: that which ships. ``{note: step}``."""
    return {"": made.steps["kit"]}


def _about(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    return {"engine.json": {"tensorrt": facts["kit"]["tensorrt"]}}


def _judge(facts: Facts) -> list[Gate]:
    """A model that does not fit is refused by the step; the engine is the device's to build."""
    told = facts["kit"]
    doubts = f"quantised scalars, which TensorRT-RTX refuses: {', '.join(told['doubtful'])}" if told["doubtful"] else ""
    measured = f"TensorRT {told['tensorrt']}, {told['typing']} typing, settings {told['settings_digest'][:12]}"
    kit = gate("engine-kit", not doubts, measured, "fits model and TensorRT", doubts)
    return [kit, unseen("engine", told["engine"]["why"])]
