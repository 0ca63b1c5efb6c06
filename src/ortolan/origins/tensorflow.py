"""TensorFlow's SavedModels and graphs, Keras's models and TFLite's: converted by tf2onnx, run by the framework itself."""

from __future__ import annotations

from typing import Any

from ..recipe.files import staged
from ..recipe.sources import KerasSource, TensorFlowSource, TFLiteSource
from ..sources import Job
from ..step import Step
from .step import on_source

RUNTIME = "tensorflow"

Framework = TensorFlowSource | KerasSource | TFLiteSource


def load(job: Job, source: Framework) -> Step:
    """``model.onnx``: as tf2onnx gives it, under the names of the signature, with the axes named."""
    opset = job.target.recipe.runtime.opset
    return _step(job, source, "export_tensorflow", opset=opset, outputs=list(job.model.recipe.outputs))


def reference(job: Job, source: Framework, imported: Step, samples: Step) -> Step:
    """``outputs.npz``: what TensorFlow, Keras or LiteRT computes."""
    return _step(job, source, "reference_tensorflow", model=imported["model.onnx"], samples=samples["samples.npz"])


def trace(job: Job, source: Framework, imported: Step, samples: Step) -> Step:
    """``tensors.npz``: the framework's own tensors, under the names that they keep in the converted model."""
    return _step(job, source, "trace_tensorflow", model=imported["model.onnx"], samples=samples["samples.npz"])


def _step(job: Job, source: Framework, stage: str, **given: Any) -> Step:
    """``given`` holds what the step reads of other steps, and parameters."""
    read = {name: value for name, value in given.items() if name in {"model", "samples"}}
    params = {name: value for name, value in given.items() if name not in read}
    more = {"kind": source.kind, "file": staged(source.file), "how": _how(source), "inputs": job.inputs()}
    return on_source(job, stage, RUNTIME, {"source": job.trees["source"]}, read, **more, layout=source.layout, **params)


def _how(source: Framework) -> dict[str, Any]:
    """What only this kind of source is asked."""
    return source.model_dump(mode="json", exclude={"kind", "file", "layout", "time_limit"})
