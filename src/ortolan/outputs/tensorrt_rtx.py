"""TensorRT-RTX engines, one for each compute capability, built here without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..artifact import Gate
from ..recipe.outputs import RtxEngines
from ..sources import Job
from ..step import Step
from .made import Facts, Made, Shipping, gate, unseen

RUNTIMES = ("tensorrt-rtx",)
PROVEN = "each engine is built from the whole model by TensorRT-RTX, and says of itself what was asked for"
LEFT = (
    "that the engines open and run, how exact and how fast they are: only a GPU of their compute capability loads them, by"
    " TensorRT-RTX itself; ONNX Runtime's provider opens model.onnx and builds its own"
)


def plan(given: Shipping, table: RtxEngines) -> Made:
    """What the first engine holds is what the provider takes: the parser sees no compute capability."""
    recipe = given.job.target.recipe
    provider = next(one for one in recipe.provider if one.name == table.provider)
    steps = {
        f"sm{one.replace('.', '')}": given.job.step(
            "engine_rtx",
            {"model": given.model},
            RUNTIMES[0],
            note=one,
            provider=provider.model_dump(mode="json"),
            compute_capability=f"SM{one.replace('.', '')}",
            profiles=recipe.profiles,
            workspace=table.workspace,
            tf32=table.tf32,
        )
        for one in table.compute_capabilities
    }
    files = {_file(name): step["model.engine"] for name, step in steps.items()}
    first = next(iter(steps.values()))
    return Made(files, steps, {provider.name: first["evidence.json"]}, _judge, _about)


def kits(job: Job, made: Made, tag: str) -> Mapping[str, Step]:
    """The kits that a device carries out with its own release of TensorRT-RTX, which alone opens them: ``{note: step}``."""
    return {name: _kit(job, step, tag) for name, step in made.steps.items()}


def _kit(job: Job, step: Step, tag: str) -> Step:
    """With the settings of an engine that is built here."""
    same = {name: step.params[name] for name in ("profiles", "workspace", "tf32")}
    capability = str(step.params["compute_capability"]).removeprefix("SM")
    return job.step(
        "engine_kit",
        dict(step.inputs),
        note=f"sm{capability}",
        tag=tag,
        model_file="model.onnx",
        tensorrt="",
        dla_core=None,
        gpu_fallback=False,
        timing_cache=False,
        options=dict(step.params["provider"]["options"]),
        library="tensorrt_rtx",
        compute_capability=f"{capability[:-1]}.{capability[-1]}",
        **same,
    )


def _judge(facts: Facts) -> list[Gate]:
    """The engine is there and is what was asked for; that it runs was not seen."""
    built = [_engine(name, told) for name, told in facts.items()]
    whys = dict.fromkeys(told["loads"]["why"] for told in facts.values())
    return [*built, unseen("engine-runs", "; ".join(whys))]


def _engine(name: str, told: Mapping[str, Any]) -> Gate:
    problems = told["read_back"]["problems"]
    precision = f"{told['quantised']} Q/DQ nodes" if told["quantised"] else "no Q/DQ"
    measured = f"{told['size']:,} B of {told['nodes']} nodes, {precision}, TensorRT-RTX {told['tensorrt']}"
    notes = [
        *problems,
        *told["repairs"],
        *([f"float64 becomes float32 in {', '.join(told['narrowed'])}"] if told["narrowed"] else []),
    ]
    if told["read_back"]["header"] is None and not problems:
        return unseen(f"engine@{name}", "what this version of TensorRT-RTX writes at an engine's head is not known", measured)
    return gate(f"engine@{name}", not problems, measured, "built, names what was asked", "; ".join(notes))


def _about(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    return {
        _file(name): {
            "tensorrt_rtx": told["tensorrt"],
            "compute_capability": told["compute_capability"],
            "engine": told["suffix"],
        }
        for name, told in facts.items()
    }


def _file(name: str) -> str:
    return f"model-{name}.engine"
