"""A finished ``.onnx`` file: mended where it must be, its reference is ONNX Runtime on the untouched file."""

from __future__ import annotations

from typing import Any

from ..recipe.sources import OnnxSource
from ..sources import TOOLS, Job
from ..step import Step
from .step import on_source

RUNTIME = TOOLS


def load(job: Job, source: OnnxSource) -> Step:
    """``model.onnx``: the file with its external data taken in, or in one file beside it, and its oddities mended."""
    return _step(job, source, "import_onnx")


def reference(job: Job, source: OnnxSource, imported: Step, samples: Step) -> Step:  # noqa: ARG001 - it runs the original file
    """``outputs.npz``: what ONNX Runtime makes of the original file."""
    return _step(job, source, "reference_onnx", samples=samples["samples.npz"])


def trace(job: Job, source: OnnxSource, imported: Step, samples: Step) -> Step:  # noqa: ARG001 - it runs the original file
    """``tensors.npz``: every tensor of the original file."""
    return _step(job, source, "trace_onnx", samples=samples["samples.npz"])


def _step(job: Job, source: OnnxSource, stage: str, **read: Any) -> Step:
    return on_source(job, stage, RUNTIME, {"model": job.trees["source"]}, read, file=source.file, inline=source.inline)
