"""The steps that make and measure the candidate of fewer bits, by the scheme of ``[quantize]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .recipe.quantize import DYNAMIC, FP16, STATIC, WEIGHTS
from .sources import Job
from .step import Ref, Source, Step

_STAGES = {STATIC: "quantise", DYNAMIC: "quantise_dynamic", FP16: "halve", WEIGHTS: "quantise_weights"}
_KEYS = {
    STATIC: ("preset", "activations", "weights", "per_channel", "symmetric_activations"),
    DYNAMIC: ("weights", "per_channel", "convolutions"),
    FP16: ("float_io",),
    WEIGHTS: ("bits", "block_size", "accuracy_level"),
}
"""The keys of ``[quantize]`` that each stage takes, beside those on what stays in float."""


@dataclass(frozen=True)
class Base:
    """What candidates are made of: the prepared model, the one with its shapes fixed, samples and what the framework gave."""

    prepared: Ref
    fixed: Ref
    samples: Ref
    expected: Ref


@dataclass(frozen=True)
class Lowered:
    """The step that makes the model of fewer bits, what measures ranges for it, and samples and expected outputs in its types."""

    quantise: Step
    calibrate: Step | None
    samples: Ref
    expected: Ref

    @property
    def model(self) -> Ref:
        """The model of fewer bits."""
        return self.quantise["model.onnx"]


@dataclass(frozen=True)
class Recovery:
    """How the search for the fewest layers in float ended.

    ``left`` are these layers, of ``layers`` in all; none where it found none. ``ended`` is why it ended early, and ``timed``
    whether that was for the time it took.
    """

    left: tuple[str, ...]
    layers: int
    most: int
    evaluations: int
    ended: str = ""
    timed: bool = False


def lowered(job: Job, base: Base, left: Sequence[str] = (), note: str = "") -> Lowered | None:
    """The candidate, with the nodes of these names in float beside the recipe's; none where there is nothing to make it by."""
    quantize = job.target.recipe.quantize
    calibrated = "calibration" in job.trees
    if quantize.policy == "never" or (quantize.scheme == STATIC and not calibrated):
        return None
    ranges = _calibrate(job, base) if quantize.scheme in {STATIC, FP16} else None
    read: dict[str, Source] = {"model": base.fixed, **({"ranges": ranges["ranges.json"]} if ranges else {})}
    quantise = job.step(_STAGES[quantize.scheme], read, note=note, **_how(job, left))
    if quantize.scheme != FP16 or quantize.float_io:
        return Lowered(quantise, ranges, base.samples, base.expected)
    fitted = [
        job.step("fit_samples", {"model": quantise["model.onnx"], "samples": samples}, note=ends, ends=ends)
        for ends, samples in (("inputs", base.samples), ("outputs", base.expected))
    ]
    return Lowered(quantise, ranges, *(one["samples.npz"] for one in fitted))


def sensitivity(job: Job, base: Base, found: Lowered) -> Step:
    """The step that ranks the candidate's layers by what lowering each of them alone does to the outputs."""
    read: dict[str, Source] = {"model": base.fixed, "samples": base.samples}
    if found.calibrate:
        read["ranges"] = found.calibrate["ranges.json"]
    spec = job.model.recipe.data.calibration or job.model.recipe.data.evaluation
    if spec:
        read["data"] = job.trees["calibration" if job.model.recipe.data.calibration else "evaluation"]
    return job.step(
        "sensitivity",
        read,
        scheme=job.target.recipe.quantize.scheme,
        how=_how(job, ()),
        data=spec.model_dump(mode="json") if spec else None,
        inputs=job.inputs(job.target.recipe.sizes),
    )


def _how(job: Job, left: Sequence[str]) -> dict[str, Any]:
    quantize = job.target.recipe.quantize
    how = {name: getattr(quantize, name) for name in (*_KEYS[quantize.scheme], "float_operators")}
    return {**how, "exclude": [*quantize.exclude, *(name for name in left if name not in quantize.exclude)]}


def _calibrate(job: Job, base: Base) -> Step:
    """Ranges measured on the calibration data; of half precision, on the samples of parity where there are none."""
    quantize, spec = job.target.recipe.quantize, job.model.recipe.data.calibration
    data: Mapping[str, Source] = {"data": job.trees["calibration"]} if spec else {"samples": base.samples}
    return job.step(
        "calibrate",
        {"model": base.prepared, **data},
        data=spec.model_dump(mode="json") if spec else None,
        inputs=job.inputs(),
        method=quantize.method,
        percentile=quantize.percentile,
    )
