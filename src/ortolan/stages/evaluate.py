"""Measures a model's accuracy, and how far its form of fewer bits agrees with it, on the evaluation data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import quant_metrics, usercode
from .lib.data import Sample, samples
from .lib.quant_fit import InputFit
from .lib.quant_models import Answer, Model, answers
from .lib.refused import Refused
from .lib.tensors import read_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = dict[str, NDArray[Any]]

INPUTS = ("fp32+", "candidate+?", "data?", "samples?", "metric_code?")
PARAMS = ("data", "inputs", "metric")
OUTPUTS = ()
CPU = True

_WRITTEN, _DEFAULT = "candidate", "candidate, default kernels"
_AS_WRITTEN = {
    "execution_mode": "sequential",
    "graph_optimization_level": "disable",
    "enable_mem_pattern": False,  # 1.17.3 mixes up the memory of half precision with it, from the second run on
    "enable_cpu_mem_arena": True,
    "config": {},
}
_AS_DEFAULT = {**_AS_WRITTEN, "graph_optimization_level": "all"}


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """``data`` (a data set of the recipe) or, where it is null, ``samples`` is what is measured on; ``metric`` may be null.

    Facts: ``samples``; ``metric`` with its name and value for ``fp32`` and ``candidate``, and ``drop``: how much worse the
    candidate is, in the metric's own unit, so negative where it is better (fp32 less candidate; the other way round for mse,
    where less is better); ``agreement``: the share of samples on which every output of the candidate agrees with fp32
    (``quant_metrics.agree``); ``snr_db`` and ``outputs``: the same for each output; ``inputs``: how well the data fits the
    input ranges of a QDQ model (``quant_fit``).
    All of these hold for a QDQ model as it is written: float kernels between Q and DQ, on any processor the same, and within
    rounding what ARM, VNNI and TensorRT compute. ``default_kernels`` repeats them for this processor's own int8 kernels: AVX2
    and AVX-512 without VNNI add two 8-bit products in 16 bits and saturate (a small MNIST network fell from 37 to 16 dB), unless
    the device sets the session config ``session.x64quantprecision = "1"``. Integer operators of dynamic quantisation are this
    processor's in both. A callable metric takes an iterator of ``({output: array}, label)`` and returns a number; more is
    better.
    """
    models = _models(inputs)
    fit = InputFit(inputs["candidate"]) if "candidate" in inputs else None
    comparisons = {name: _Comparison() for name in models if name != "fp32"}
    tally, count = _Tally(params["metric"]), 0
    for answer in answers(models, _samples(inputs, params)):
        tally.add(answer)
        if answer.model != "fp32":
            comparisons[answer.model].add(answer.first, answer.outputs)
            continue
        count += 1
        if fit:
            fit.add(answer.sample.feeds)
    found = {name: comparison.facts() for name, comparison in comparisons.items()}
    values = tally.values({name: facts["agreement"] for name, facts in found.items()})
    if ":" in (params["metric"] or ""):
        values = {name: _custom(model, inputs, params) for name, model in models.items()}
    facts = {name: {"metric": _metric(params["metric"], values, name), **found.get(name, {})} for name in models}
    if not fit:
        return {"samples": count, **facts["fp32"]}
    return {"samples": count, **facts[_WRITTEN], "default_kernels": facts[_DEFAULT], "inputs": fit.facts()}


def _models(inputs: Mapping[str, Path]) -> dict[str, Model]:
    models = {"fp32": Model("fp32", inputs["fp32"], None)}
    if "candidate" in inputs:
        path, name = inputs["candidate"], "quantised"
        models |= {_WRITTEN: Model(name, path, _AS_WRITTEN), _DEFAULT: Model(name, path, _AS_DEFAULT)}
    return models


def _samples(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[Sample]:
    if params["data"] is not None:
        return samples(inputs["data"], params["data"], params["inputs"])
    if "samples" not in inputs:
        raise Refused("there is nothing to evaluate on", hint="give [data] evaluation = ... in the model's recipe")
    return (Sample(feeds, None) for feeds in read_samples(inputs["samples"]))


class _Tally:
    """Sums of a built-in metric's scores for each model."""

    def __init__(self, metric: str | None) -> None:
        self._metric = metric
        self._scores: dict[str, list[float]] = {}

    def add(self, answer: Answer) -> None:
        if self._metric not in quant_metrics.LABELLED:
            return
        if answer.sample.label is None:
            hint = "give [data] labels, sub-folders or (feeds, label) pairs; or metric = 'agreement', which needs none"
            raise Refused(f"{self._metric} needs labels", why="the evaluation data has none", hint=hint)
        scores = quant_metrics.scores(self._metric, answer.outputs, answer.sample.label, answer.index)
        self._scores.setdefault(answer.model, []).extend(scores)

    def values(self, agreement: Mapping[str, float]) -> dict[str, float]:
        if self._metric == "agreement":
            return {"fp32": 1.0, **agreement}
        return {name: sum(scores) / len(scores) for name, scores in self._scores.items()}


class _Comparison:
    """Agreement and SNR of a candidate with fp32, per output and over all of them."""

    def __init__(self) -> None:
        self._agree: dict[str, list[bool]] = {}
        self._snr: dict[str, list[float]] = {}

    def add(self, fp32: Outputs, other: Outputs) -> None:
        for name, reference in fp32.items():
            self._agree.setdefault(name, []).append(quant_metrics.agree(reference, other[name]))
            if reference.dtype.kind == "f":
                self._snr.setdefault(name, []).append(quant_metrics.snr_db(reference, other[name]))

    def facts(self) -> dict[str, Any]:
        agreeing = [all(votes) for votes in zip(*self._agree.values(), strict=True)]
        outputs = {
            name: {"agreement": _mean(votes), "snr_db": _spread(self._snr.get(name))} for name, votes in self._agree.items()
        }
        everything = [value for values in self._snr.values() for value in values]
        return {"agreement": _mean(agreeing), "snr_db": _spread(everything), "outputs": outputs}


def _mean(values: list[Any]) -> float:
    return sum(map(float, values)) / len(values)


def _spread(values: list[float] | None) -> dict[str, float] | None:
    return {"min": min(values), "mean": _mean(values)} if values else None


def _custom(model: Model, inputs: Mapping[str, Path], params: Mapping[str, Any]) -> float:
    """The user's metric over a pass of its own."""
    import math

    if "metric_code" not in inputs:
        raise Refused(f"the code of {params['metric']} is missing", hint="it stands beside the model's recipe")
    judge = usercode.load(inputs["metric_code"], params["metric"])
    stream = enumerate(_samples(inputs, params))
    with usercode.blame(params["metric"]):
        value = float(judge((model.run(sample, index), sample.label) for index, sample in stream))
    model.close()
    if not math.isfinite(value):
        raise Refused(f"{params['metric']} gave {value}", hint="return a finite number")
    return value


def _metric(name: str | None, values: Mapping[str, float], model: str) -> dict[str, Any] | None:
    if name is None:
        return None
    if model == "fp32":
        return {"name": name, "fp32": values["fp32"], _WRITTEN: None, "drop": None}
    drop = values["fp32"] - values[model]
    drop = -drop if name in quant_metrics.LOWER_IS_BETTER else drop
    return {"name": name, "fp32": values["fp32"], _WRITTEN: values[model], "drop": drop}
