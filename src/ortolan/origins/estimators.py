"""Estimators on tables of numbers: scikit-learn, XGBoost and LightGBM, converted and run in one runtime that holds all three."""

from __future__ import annotations

from typing import Any

from ..recipe.sources import LightGBMSource, SklearnSource, XGBoostSource
from ..sources import Job
from ..step import Step
from .step import on_source

RUNTIME = "sklearn"

Estimator = SklearnSource | XGBoostSource | LightGBMSource


def load(job: Job, source: Estimator) -> Step:
    """``model.onnx``: as skl2onnx or onnxmltools gives it, with tensors for outputs."""
    opset = job.target.recipe.runtime.opset
    return _step(job, source, "export_estimator", opset=opset, outputs=list(job.model.recipe.outputs))


def reference(job: Job, source: Estimator, imported: Step, samples: Step) -> Step:
    """``outputs.npz``: what predict and its like return."""
    return _step(job, source, "reference_estimator", model=imported["model.onnx"], samples=samples["samples.npz"])


def trace(job: Job, source: Estimator, imported: Step, samples: Step) -> Step:
    """``tensors.npz``: the estimator's own values where they can be matched, ONNX's reference implementation elsewhere."""
    return _step(job, source, "trace_estimator", model=imported["model.onnx"], samples=samples["samples.npz"])


def _step(job: Job, source: Estimator, stage: str, **given: Any) -> Step:
    """``given`` holds what the step reads of other steps, and parameters."""
    read = {name: value for name, value in given.items() if name in {"model", "samples"}}
    params = {name: value for name, value in given.items() if name not in read}
    trust = isinstance(source, SklearnSource) and source.trust
    more = {"framework": source.kind, "file": source.file, "trust": trust, "inputs": job.inputs()}
    return on_source(job, stage, RUNTIME, {"source": job.trees["source"]}, read, **more, **params)
