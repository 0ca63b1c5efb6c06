"""A PyTorch module, made by a callable or whole in a file: exported at the target's opset, run and traced by PyTorch itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..recipe.files import staged
from ..recipe.sources import PyTorchSource
from ..sources import Job
from ..step import Source, Step
from .step import on_source

RUNTIME: str = PyTorchSource.model_fields["runtime"].default


def load(job: Job, source: PyTorchSource) -> Step:
    """``model.onnx``: as the exporter gives it, at exactly the opset that was asked for."""
    recipe, opset = job.model.recipe, job.target.recipe.runtime.opset
    more = {"inputs": job.inputs(), "outputs": list(recipe.outputs), "axes": dict(recipe.axes)}
    return _step(job, source, "export_pytorch", {}, exporter=source.exporter, opset=opset, **more)


def reference(job: Job, source: PyTorchSource, imported: Step, samples: Step) -> Step:
    """``outputs.npz``: what the module's forward returns."""
    return _step(job, source, "reference_pytorch", _read(imported, samples), inputs=job.inputs())


def trace(job: Job, source: PyTorchSource, imported: Step, samples: Step) -> Step:
    """``tensors.npz``: what happens inside the module, under the exported names."""
    more = {"inputs": job.inputs(), "axes": dict(job.model.recipe.axes)}
    return _step(job, source, "trace_pytorch", _read(imported, samples), exporter=source.exporter, **more)


def _read(imported: Step, samples: Step) -> dict[str, Source]:
    return {"model": imported["model.onnx"], "samples": samples["samples.npz"]}


def _step(job: Job, source: PyTorchSource, stage: str, read: Mapping[str, Source], **params: Any) -> Step:
    own = {"code": job.trees["source"], **({"weights": job.trees["weights"]} if "weights" in job.trees else {})}
    file = staged(source.file) if source.file else None
    return on_source(job, stage, source.runtime, own, read, factory=source.factory, file=file, trust=source.trust, **params)
