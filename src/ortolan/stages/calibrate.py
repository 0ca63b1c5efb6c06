"""Measures the range of every activation that any quantisation needs, with memory that does not grow with the data."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, external, quant_nodes, quant_runs, ranges
from .lib.data import Sample, samples
from .lib.refused import Refused
from .lib.sessions import first_line, open_session
from .lib.tensors import read_samples
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

INPUTS = ("model+", "data?", "samples?")
PARAMS = ("data", "inputs", "method", "percentile")
OUTPUTS = ("ranges.json",)
CPU = True

_BINS = {"entropy": 512, "percentile": 2048}  # entropy's search costs the square of its bins: 512 take 0.1 s per tensor
_LEVELS = 128  # what entropy tries to represent each distribution with, as in onnxruntime.quantization


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``data`` (a data set of the recipe) or, where it is null, ``samples`` is what is measured on."""
    source = _Source(inputs, params)
    activations = _Activations(inputs["model"])
    observed = _Observed()
    for sample in source.samples():
        observed.add(activations.of(sample, source.seen - 1))
    found = observed.ranges()
    if params["method"] != "minmax":
        found = _thresholds(source, activations, found, params)
    ranges.write(out / "ranges.json", params["method"], found)
    extremes = {entry["name"]: observed.extremes.get(entry["name"]) for entry in params["inputs"]}
    unusable = {"not_finite": sorted(observed.broken), "half_precision": activations.half}
    return {"samples": source.seen, "method": params["method"], "tensors": len(found), "inputs": extremes, **unusable}


class _Source:
    """The data set, read once or twice; ``seen`` counts the samples of the pass under way."""

    def __init__(self, inputs: Mapping[str, Path], params: Mapping[str, Any]) -> None:
        self._inputs, self._params = inputs, params
        self._checksum: int | None = None
        self.seen = 0

    def samples(self) -> Iterator[Sample]:
        """One pass. Raises ``Refused`` when a second pass gives other samples than the first."""
        self.seen = 0
        checksum = 0
        for index, sample in enumerate(self._stream()):
            for name in sorted(sample.feeds):
                checksum = zlib.crc32(sample.feeds[name].tobytes(), checksum)
            self.seen = index + 1
            yield sample
        if self._checksum not in {None, checksum}:
            name = self._params["data"][self._params["data"]["kind"]]
            hint = "seed its random numbers: numpy.random.default_rng(0)"
            raise Refused(f"{name} gives other samples on its second pass", why="calibration would not be repeatable", hint=hint)
        self._checksum = checksum

    def _stream(self) -> Iterator[Sample]:
        if self._params["data"] is not None:
            return samples(self._inputs["data"], self._params["data"], self._params["inputs"])
        return (Sample(feeds, None) for feeds in read_samples(self._inputs["samples"]))


class _Activations:
    """The model with every activation that the quantizer may ask about as an output."""

    def __init__(self, path: Path) -> None:
        model = canon.parse(path)
        wanted = quant_nodes.activations(model, quant_nodes.QNN)  # of all schemes: one calibration serves every target
        inputs = {info.name for info in model.graph.input}
        have = {info.name for info in model.graph.output} | inputs
        for name in wanted:
            if name not in have:
                model.graph.output.add(name=name)  # ONNX Runtime infers its type
        self._session = _open(external.openable(model, path.parent))
        types = {info.name: info.type for info in (*self._session.get_outputs(), *self._session.get_inputs())}
        floats = [name for name in wanted if types[name] == "tensor(float)"]
        self._fetched = [name for name in floats if name not in inputs]
        self.half = [name for name in wanted if types[name] in {"tensor(float16)", "tensor(bfloat16)"}]

    def of(self, sample: Sample, index: int) -> Iterator[tuple[str, NDArray[Any]]]:
        """Every float32 activation of one sample, and the sample's own inputs."""
        what = f"the model does not run on calibration sample {index}"
        values = quant_runs.run(self._session, self._fetched, sample.feeds, what) if self._fetched else []
        yield from sample.feeds.items()
        yield from zip(self._fetched, values, strict=True)


def _open(data: bytes | Path) -> onnxruntime.InferenceSession:
    try:
        return open_session(data)
    except Exception as error:
        reraise_if_transient(error)
        raise Refused("the model cannot be calibrated", why=first_line(error), hint="see what its check says") from error


class _Observed:
    """Lowest and highest value of each tensor; tensors that hold NaN or infinity are ``broken`` and have no range."""

    def __init__(self) -> None:
        self.extremes: dict[str, tuple[float, float]] = {}
        self.broken: set[str] = set()
        self._floats: set[str] = set()

    def add(self, tensors: Iterator[tuple[str, NDArray[Any]]]) -> None:
        import numpy as np

        for name, array in tensors:
            if not array.size or array.dtype.kind not in "fiub":
                continue
            low, high = float(array.min()), float(array.max())
            if not np.isfinite([low, high]).all():
                self.broken.add(name)
                continue
            before = self.extremes.get(name, (low, high))
            self.extremes[name] = (min(before[0], low), max(before[1], high))
            if array.dtype == np.float32:
                self._floats.add(name)

    def ranges(self) -> dict[str, ranges.Range]:
        return {name: self.extremes[name] for name in sorted(self._floats - self.broken)}


def _thresholds(
    source: _Source, activations: _Activations, found: Mapping[str, ranges.Range], params: Mapping[str, Any]
) -> dict[str, ranges.Range]:
    """A second pass fills a histogram per tensor, its bins fixed by the first; ONNX Runtime chooses the thresholds."""
    import numpy as np
    from onnxruntime.quantization.calibrate import HistogramCollector

    absolute = params["method"] == "percentile"  # ONNX Runtime's percentile looks at magnitudes, its entropy at values
    bins = _BINS[params["method"]]
    peaks = {name: max(-low, high) for name, (low, high) in found.items() if low < high or low}
    counts = {name: np.zeros(bins, np.int64) for name in peaks}
    for sample in source.samples():
        for name, array in activations.of(sample, source.seen - 1):
            if name in peaks:
                values, low = (np.abs(array), 0.0) if absolute else (array, -peaks[name])
                counts[name] += np.histogram(values, bins, (low, peaks[name]))[0]
    collector = HistogramCollector(params["method"], absolute, bins, _LEVELS, params["percentile"], "same")
    for name, peak in peaks.items():
        edges = np.linspace(0.0 if absolute else -peak, peak, bins + 1).astype(np.float32)
        collector.histogram_dict[name] = (counts[name], edges, *map(np.float32, found[name]))
    chosen = collector.compute_collection_result() if peaks else {}
    return {**found, **{name: (float(low), float(high)) for name, (low, high, *_) in chosen.items()}}
