"""The script that builds the target's ONNX Runtime. That it was not built here is a gate that says so."""

from __future__ import annotations

from ..artifact import Gate
from ..recipe.outputs import CustomBuild
from ..recipe.rules import CPU
from ..sources import TOOLS
from .made import Facts, Made, Shipping, unseen

RUNTIMES = (TOOLS,)
PROVEN = "the flags are those of ONNX Runtime's build.sh, and ask for the target's providers"
LEFT = "that ONNX Runtime builds with them, and runs: the build is made on the device or for it"


def plan(given: Shipping, table: CustomBuild) -> Made:
    """The flags come from the recipe, the version is the fleet's oldest."""
    providers = [one.name for one in given.job.target.recipe.provider if one.name != CPU]
    step = given.job.step("custom_build", {}, version=given.job.oldest, flags=list(table.flags), providers=providers)
    name = "build_onnxruntime.sh"
    return Made({name: step[name]}, {"script": step}, judge=_judge)


def _judge(facts: Facts) -> list[Gate]:
    told = facts["script"]
    why = "an ONNX Runtime with these flags is built on the device, by build_onnxruntime.sh"
    return [unseen("runtime", why, f"{told['version']}, {len(told['flags'])} flags")]
