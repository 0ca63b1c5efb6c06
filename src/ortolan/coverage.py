"""The steps that ask which nodes each provider of a target takes, and the one that puts the answers together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import origins
from .contract import contract
from .recipe.provider_data import FLEET, Asked, find
from .recipe.schema import Provider
from .sources import TOOLS, Job
from .step import Ref, Source, Step


def plan(job: Job, model: Ref, samples: Ref, proven: Mapping[str, Ref], left: Sequence[str] = ()) -> Step:
    """The ``coverage`` step of a model. ``proven``: evidence that engines of this build gave already, by provider.

    ``left``: the nodes that were left in float.
    """
    asked = _asked(job)
    wanted = [one for one in job.target.recipe.provider if one.name in asked]
    known = {one.name: proven.get(one.name) or _ask(job, one, asked[one.name], model, samples) for one in wanted}
    read: dict[str, Source] = {"model": model, **{f"evidence:{name}": ref for name, ref in known.items()}}
    return job.step("coverage", read, providers=list(known), left_in_float=list(left))


@dataclass(frozen=True)
class Survey:
    """The steps that a model needs before it can be asked about, and the one that says what became of it."""

    fixed: Step
    covered: Step


def normalised(job: Job) -> Step:
    """The model at the target's opset, as a build would ask about it; some models cannot be brought there."""
    return job.step("normalise", {"model": origins.load(job)["model.onnx"]}, opset=job.target.recipe.runtime.opset)


def survey(job: Job, results: Mapping[str, Any]) -> Survey:
    """A model with the target's shapes: normalised where ``results`` say that this went well, else as it came."""
    wanted = normalised(job)
    model = wanted if results[wanted.id].ok else origins.load(job)
    fixed = job.step("fix_shapes", {"model": model["model.onnx"]}, shapes=job.target.recipe.sizes)
    axes = dict(job.model.recipe.axes) | job.target.recipe.examples
    samples = job.step("make_samples", {"model": fixed["model.onnx"]}, inputs=job.inputs(), axes=axes, count=1, data=None)
    return Survey(fixed, plan(job, fixed["model.onnx"], samples["samples.npz"], {}))


def runtimes(job: Job) -> set[str]:
    """The runtimes that are asked."""
    return {_runtime(job, asked) for asked in _asked(job).values()}


def survey_runtimes(job: Job) -> set[str]:
    """The runtimes that the steps of a survey run in."""
    return {origins.runtime(job), TOOLS, *runtimes(job)}


def silent(job: Job) -> list[str]:
    """Providers of the target of which nothing can be asked: plug-ins without a data file."""
    asked = _asked(job)
    return [one.name for one in job.target.recipe.provider if one.name not in asked]


def _told(job: Job, provider: str) -> dict[str, str]:
    """What the outputs for a provider say of the device that is not here."""
    tables = [one for one in job.target.recipe.outputs.tables().values() if one.provider == provider]
    return {key: value for table in tables for key, value in table.options.items()}


def _asked(job: Job) -> dict[str, Asked]:
    recipe = job.target.recipe
    known = {one.name: data.asked(recipe.platform) for one in recipe.provider if (data := find(one.name))}
    return {name: asked for name, asked in known.items() if asked}


def _runtime(job: Job, asked: Asked) -> str:
    return job.runtime(job.oldest) if asked.runtime == FLEET else asked.runtime


def _ask(job: Job, provider: Provider, asked: Asked, model: Ref, samples: Ref) -> Ref:
    """One provider's evidence; each stage gets of these what it declares."""
    params: dict[str, Any] = {
        "provider": {"name": provider.name, "options": dict(provider.options) | _told(job, provider.name)},
        "version": job.oldest,
        "session": job.opened()["session"],
    }
    read: dict[str, Source] = {"model": model, "samples": samples}
    if asked.table:
        read["table"] = job.trees[f"kernels:{provider.name}"]
    takes = contract(asked.stage)
    wanted = {name: source for name, source in read.items() if name in takes.inputs}
    given = {name: value for name, value in params.items() if name in takes.params}
    step = job.step(asked.stage, wanted, _runtime(job, asked), note=provider.name, **given)
    return step["evidence.json"]
