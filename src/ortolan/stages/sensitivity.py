"""Ranks the layers of a model by what quantising each of them alone does to the outputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, lowering, quant_metrics, quant_runs, quant_schemes, ranges
from .lib.data import samples
from .lib.refused import Refused
from .lib.sessions import first_line, open_session
from .lib.tensors import halved, read_samples
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray
    from onnx import ModelProto

    from .lib.lowering import Prepared

    Sample = Mapping[str, NDArray[Any]]
    Outputs = list[NDArray[Any]]

INPUTS = ("model", "samples", "ranges?", "data?")
PARAMS = ("scheme", "how", "data", "inputs")
OUTPUTS = ()
CPU = True

_SAMPLES = 8  # SNR is a property of signals more than of samples: on the digits' network 8 rank as 128 do
_EXACT = {
    "execution_mode": "sequential",
    "graph_optimization_level": "disable",
    "enable_mem_pattern": False,  # 1.17.3 mixes up the memory of half precision with it
    "enable_cpu_mem_arena": True,
    "config": {},
}


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """``how`` are the parameters of the scheme's own stage; ``data`` or, where it is null, ``samples`` is what is measured on.

    Facts: ``layers``, the most sensitive first: ``{"node", "op", "snr_db", "mac_share"}``, where ``snr_db`` is the mean over
    the samples of the outputs' SNR with this layer alone quantised; ``snr_db``, the same with all of them quantised;
    ``samples``, how many there were; ``left_in_float``, the nodes that are quantised in no case, and why. No labels are read.
    """
    measured = ranges.read(inputs["ranges"]) if "ranges" in inputs else {}
    prepared = quant_schemes.prepare(params["scheme"], canon.load(inputs["model"]), measured, params["how"])
    feeds = list(itertools.islice(_samples(inputs, params), _SAMPLES))
    wanted = _run(_copy(prepared.model), feeds)
    whole = prepared.lower(_copy(prepared.model), prepared.left)
    shares = _shares(prepared.model)
    found = [_layer(prepared, name, feeds, wanted) | {"mac_share": shares[name]} for name in prepared.layers(whole)]
    found.sort(key=lambda layer: layer["snr_db"])  # stable: layers alike stay in the model's order
    return {
        "layers": found,
        "snr_db": _snr(wanted, _run(whole, feeds)),
        "samples": len(feeds),
        "left_in_float": dict(prepared.left),
    }


def _samples(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[Sample]:
    if params["data"] is None:
        return iter(read_samples(inputs["samples"]))
    return (sample.feeds for sample in samples(inputs["data"], params["data"], params["inputs"]))


def _layer(prepared: Prepared, name: str, feeds: Sequence[Sample], wanted: Sequence[Outputs]) -> dict[str, Any]:
    """One layer quantised, all others in float."""
    others = {node.name for node in prepared.model.graph.node} - {name} | prepared.left.keys()
    node = next(node for node in prepared.model.graph.node if node.name == name)
    outputs = _run(prepared.lower(_copy(prepared.model), others), feeds)
    return {"node": name, "op": node.op_type, "snr_db": _snr(wanted, outputs)}


def _shares(model: ModelProto) -> dict[str, float]:
    """Each node's part of the multiply-accumulates."""
    counted = lowering.per_node(model)
    total = sum(count for count in counted.values() if count)
    return {name: (count or 0) / total if total else 0.0 for name, count in counted.items()}


def _copy(model: ModelProto) -> ModelProto:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


def _run(model: ModelProto, feeds: Sequence[Sample]) -> list[Outputs]:
    session = _open(model.SerializeToString())
    halves = {info.name for info in session.get_inputs() if info.type == "tensor(float16)"}
    what = "the model does not run on sample {}"
    return [quant_runs.run(session, None, halved(sample, halves), what.format(index)) for index, sample in enumerate(feeds)]


def _open(data: bytes) -> onnxruntime.InferenceSession:
    try:
        return open_session(data, session=_EXACT)
    except Exception as error:
        reraise_if_transient(error)
        raise Refused("the quantised model does not open", why=first_line(error)) from error


def _snr(wanted: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """The mean SNR of all float outputs of all samples; where there are none, its limit for equal and the other for unequal."""
    values = [
        quant_metrics.snr_db(one, other) if one.dtype.kind == "f" else _equal(one, other)
        for outputs, others in zip(wanted, found, strict=True)
        for one, other in zip(outputs, others, strict=True)
    ]
    return sum(values) / len(values) if values else quant_metrics.SNR_LIMIT


def _equal(one: NDArray[Any], other: NDArray[Any]) -> float:
    return quant_metrics.SNR_LIMIT if bool((one == other).all()) else -quant_metrics.SNR_LIMIT
