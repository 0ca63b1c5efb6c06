"""How well data fits the input ranges that a quantised model was calibrated for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import canon, quant_nodes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

Range = tuple[float, float]


class InputFit:
    """Compares what a model is fed with what the QuantizeLinear nodes on its inputs can represent.

    Data that calibration saw in another scale shows here: ``clipped``, the share of values beyond the quantised range, or
    ``used``, the share of the quantised range that the data spans. ``observed`` compares with the input ranges that calibration
    reports, also for inputs that are not quantised at once.
    """

    def __init__(self, path: Path) -> None:
        self._ranges = input_ranges(canon.parse(path))
        self._seen: dict[str, Range] = {}
        self._sizes: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()

    def add(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Count one sample."""
        for name, array in feeds.items():
            if not array.size or array.dtype.kind not in "fiub":
                continue
            found = float(array.min()), float(array.max())
            before = self._seen.get(name, found)
            self._seen[name] = min(before[0], found[0]), max(before[1], found[1])
            low, high = self._ranges.get(name, found)
            self._sizes[name] += array.size
            self._outside[name] += int(((array < low) | (array > high)).sum())

    def facts(self) -> dict[str, Any]:
        """``{input: {"observed", "quantised", "clipped", "used"}}``; ``observed`` alone for inputs not quantised at once."""
        return {name: self._fact(name) for name in sorted(self._seen)}

    def _fact(self, name: str) -> dict[str, Any]:
        (low, high), quantised = self._seen[name], self._ranges.get(name)
        if quantised is None:
            return {"observed": [low, high]}
        least, most = quantised
        overlap = max(0.0, min(high, most) - max(low, least))
        clipped, used = self._outside[name] / self._sizes[name], overlap / (most - least)
        return {"observed": [low, high], "quantised": [least, most], "clipped": clipped, "used": used}


def input_ranges(model: ModelProto) -> dict[str, Range]:
    """The range that each input's QuantizeLinear node represents, half a step wider for rounding."""
    import numpy as np
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = {info.name for info in model.graph.input}
    found = {}
    for node in model.graph.node:
        if node.op_type == quant_nodes.Q and node.input[0] in inputs and {*node.input[1:3]} <= constants.keys():
            scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            limits = np.iinfo(zero.dtype)
            low, high = ((limit - int(zero)) * float(scale) for limit in (int(limits.min), int(limits.max)))
            found[node.input[0]] = low - float(scale) / 2, high + float(scale) / 2
    return found
