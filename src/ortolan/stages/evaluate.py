"""Measures a model's accuracy, and how far its quantised form agrees with it, on the evaluation data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import quant_metrics, usercode
from .lib.data import Sample, samples
from .lib.quant_fit import InputFit
from .lib.refused import Refused
from .lib.sessions import first_line, open_session
from .lib.tensors import read_samples

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

    Outputs = dict[str, NDArray[Any]]

INPUTS = ("fp32", "int8?", "data?", "samples?", "metric_code?")
PARAMS = ("data", "inputs", "metric")
OUTPUTS = ()
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """``data`` (a data set of the recipe) or, where it is null, ``samples`` is what is measured on; ``metric`` may be null.

    Facts: ``samples``; ``metric`` with its name and value for ``fp32`` and ``int8``, and ``drop``: how much worse int8 is, in the
    metric's own unit, so negative where it is better (fp32 less int8; the other way round for mse, where less is better);
    ``agreement``: the share of samples on which every output of int8 agrees with fp32 (``quant_metrics.agree``); ``snr_db`` and
    ``outputs``: the same for each output; ``inputs``: how well the data fits int8's input ranges (``quant_fit``).
    A callable metric takes an iterator of ``({output: array}, label)`` and returns a number; more is better.
    """
    models = {name: _Model(name, inputs[name]) for name in ("fp32", "int8") if name in inputs}
    fit = InputFit(inputs["int8"]) if "int8" in inputs else None
    comparison, tally, count = _Comparison(), _Tally(params["metric"]), 0
    for count, sample in enumerate(_samples(inputs, params), 1):
        outputs = {name: model.run(sample, count - 1) for name, model in models.items()}
        tally.add(outputs, sample.label, count - 1)
        if fit:
            fit.add(sample.feeds)
            comparison.add(outputs["fp32"], outputs["int8"])
    agreement = comparison.facts() if fit else {}
    values = tally.values(agreement.get("agreement"))
    if ":" in (params["metric"] or ""):
        values = {name: _custom(model, inputs, params) for name, model in models.items()}
    return {"samples": count, "metric": _metric(params["metric"], values), **agreement, "inputs": fit.facts() if fit else {}}


def _samples(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[Sample]:
    if params["data"] is not None:
        return samples(inputs["data"], params["data"], params["inputs"])
    if "samples" not in inputs:
        raise Refused("there is nothing to evaluate on", hint="give [data] evaluation = ... in the model's recipe")
    return (Sample(feeds, None) for feeds in read_samples(inputs["samples"]))


class _Model:
    """One of the models, under the name that messages use."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        try:
            self._session: onnxruntime.InferenceSession = open_session(path)
        except Exception as error:
            raise Refused(f"the {name} model does not open", why=first_line(error)) from error
        self._outputs = [info.name for info in self._session.get_outputs()]

    def run(self, sample: Sample, index: int) -> Outputs:
        try:
            values = self._session.run(None, sample.feeds)
        except Exception as error:
            raise Refused(f"the {self._name} model does not run on sample {index}", why=first_line(error)) from error
        return dict(zip(self._outputs, values, strict=True))


class _Tally:
    """Sums of a built-in metric's scores for each model."""

    def __init__(self, metric: str | None) -> None:
        self._metric = metric
        self._scores: dict[str, list[float]] = {}

    def add(self, outputs: Mapping[str, Outputs], label: Any, index: int) -> None:
        if self._metric not in quant_metrics.LABELLED:
            return
        if label is None:
            hint = "give [data] labels, sub-folders or (feeds, label) pairs; or metric = 'agreement', which needs none"
            raise Refused(f"{self._metric} needs labels", why="the evaluation data has none", hint=hint)
        for name, found in outputs.items():
            self._scores.setdefault(name, []).extend(quant_metrics.scores(self._metric, found, label, index))

    def values(self, agreement: float | None) -> dict[str, float]:
        if self._metric == "agreement":
            return {"fp32": 1.0} if agreement is None else {"fp32": 1.0, "int8": agreement}
        return {name: sum(scores) / len(scores) for name, scores in self._scores.items()}


class _Comparison:
    """Agreement and SNR of int8 with fp32, per output and over all of them."""

    def __init__(self) -> None:
        self._agree: dict[str, list[bool]] = {}
        self._snr: dict[str, list[float]] = {}

    def add(self, fp32: Outputs, int8: Outputs) -> None:
        for name, reference in fp32.items():
            self._agree.setdefault(name, []).append(quant_metrics.agree(reference, int8[name]))
            if reference.dtype.kind == "f":
                self._snr.setdefault(name, []).append(quant_metrics.snr_db(reference, int8[name]))

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


def _custom(model: _Model, inputs: Mapping[str, Path], params: Mapping[str, Any]) -> float:
    """The user's metric over a pass of its own."""
    import math

    if "metric_code" not in inputs:
        raise Refused(f"the code of {params['metric']} is missing", hint="it stands beside the model's recipe")
    judge = usercode.load(inputs["metric_code"], params["metric"])
    stream = enumerate(_samples(inputs, params))
    with usercode.blame(params["metric"]):
        value = float(judge((model.run(sample, index), sample.label) for index, sample in stream))
    if not math.isfinite(value):
        raise Refused(f"{params['metric']} gave {value}", hint="return a finite number")
    return value


def _metric(name: str | None, values: Mapping[str, float]) -> dict[str, Any] | None:
    if name is None:
        return None
    drop = values["fp32"] - values["int8"] if "int8" in values else None
    return {"name": name, **values, "drop": -drop if drop is not None and name in quant_metrics.LOWER_IS_BETTER else drop}
