"""The steps that run in the framework a model comes from: one module for each kind of ``[source]``."""

from __future__ import annotations

from typing import Any

from ..recipe.sources import PyTorchSource
from ..sources import Job
from ..step import Step
from . import estimators, onnx, pytorch, tensorflow

KINDS: dict[str, Any] = {
    "keras": tensorflow,
    "lightgbm": estimators,
    "onnx": onnx,
    "pytorch": pytorch,
    "sklearn": estimators,
    "tensorflow": tensorflow,
    "tflite": tensorflow,
    "xgboost": estimators,
}
"""The module of each kind.

Each has the ``RUNTIME`` that holds the model's framework, where the recipe does not name it, and ``load``, ``reference`` and
``trace``, which get the job and its ``[source]`` table, the last two also the steps that left ``model.onnx`` and ``samples.npz``.
"""


def runtime(job: Job) -> str:
    """The runtime that holds the model's framework."""
    source = job.model.recipe.source
    return source.runtime if isinstance(source, PyTorchSource) else str(_kind(job).RUNTIME)


def load(job: Job) -> Step:
    """The step that leaves ``model.onnx`` as the framework's exporter, or the file, gives it."""
    made: Step = _kind(job).load(job, job.model.recipe.source)
    return made


def reference(job: Job, imported: Step, samples: Step) -> Step:
    """The step that leaves ``outputs.npz``: what the framework computes from the samples."""
    made: Step = _kind(job).reference(job, job.model.recipe.source, imported, samples)
    return made


def trace(job: Job, imported: Step, samples: Step) -> Step:
    """The step that leaves ``tensors.npz``: the framework's values for as many of the model's tensors as can be matched."""
    made: Step = _kind(job).trace(job, job.model.recipe.source, imported, samples)
    return made


def _kind(job: Job) -> Any:
    return KINDS[job.model.recipe.source.kind]
