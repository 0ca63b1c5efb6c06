"""The steps that run in the framework a model comes from: load it, give reference outputs, trace its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .recipe.schema import PyTorchSource
from .sources import TOOLS, Job
from .step import Source, Step

_TORCH = "torch"


def runtime(job: Job) -> str:
    """The runtime that holds the model's framework."""
    return _TORCH if isinstance(job.model.recipe.source, PyTorchSource) else TOOLS


def load(job: Job) -> Step:
    """The step that leaves ``model.onnx`` as the framework's exporter, or the file, gives it."""
    source, recipe = job.model.recipe.source, job.model.recipe
    if not isinstance(source, PyTorchSource):
        return _step(job, "import_onnx", {}, file=source.file)
    opset = job.target.recipe.runtime.opset
    more = {"inputs": job.inputs(), "outputs": list(recipe.outputs), "axes": dict(recipe.axes)}
    return _step(job, "export_pytorch", {}, factory=source.factory, exporter=source.exporter, opset=opset, **more)


def reference(job: Job, imported: Step, samples: Step) -> Step:
    """The step that leaves ``outputs.npz``: what the framework computes from the samples."""
    source, read = job.model.recipe.source, {"samples": samples["samples.npz"]}
    if not isinstance(source, PyTorchSource):
        return _step(job, "reference_onnx", read, file=source.file)
    return _step(job, "reference_pytorch", read | {"model": imported["model.onnx"]}, factory=source.factory, inputs=job.inputs())


def trace(job: Job, imported: Step, samples: Step) -> Step:
    """The step that leaves ``tensors.npz``: the framework's values for as many of the model's tensors as can be matched."""
    source, read = job.model.recipe.source, {"samples": samples["samples.npz"]}
    if not isinstance(source, PyTorchSource):
        return _step(job, "trace_onnx", read, file=source.file)
    more = {"inputs": job.inputs(), "axes": dict(job.model.recipe.axes)}
    with_model = read | {"model": imported["model.onnx"]}
    return _step(job, "trace_pytorch", with_model, factory=source.factory, exporter=source.exporter, **more)


def _step(job: Job, stage: str, read: Mapping[str, Source], **params: Any) -> Step:
    if isinstance(job.model.recipe.source, PyTorchSource):
        own = {"code": job.trees["source"], **({"weights": job.trees["weights"]} if "weights" in job.trees else {})}
    else:
        own = {"model": job.trees["source"]}
    return job.step(stage, {**own, **read}, runtime(job), job.model.recipe.source.time_limit, **params)
