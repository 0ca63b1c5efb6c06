"""Samples for ensembles of trees: values on their thresholds and beside them, where a wrong branch shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

_PASSING = frozenset({"Cast", "Identity"})
_TREES = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})

Thresholds = Mapping[int, "NDArray[Any]"]


def thresholds(model: ModelProto) -> dict[str, Thresholds]:
    """``{input: {feature: ascending thresholds}}`` of the inputs that ensembles of trees read as they are."""
    import numpy as np

    source = {value.name: value.name for value in model.graph.input}
    found = dict[str, dict[int, set[float]]]()
    for node in model.graph.node:
        if node.input and node.op_type in _PASSING and node.input[0] in source:
            source[node.output[0]] = source[node.input[0]]
        elif node.op_type in _TREES and node.input[0] in source:
            features = found.setdefault(source[node.input[0]], {})
            for feature, value in _splits(node):
                features.setdefault(feature, set()).add(value)
    return {name: {f: np.array(sorted(v)) for f, v in sorted(features.items())} for name, features in found.items()}


def draw(generator: np.random.Generator, shape: tuple[int, ...], known: Thresholds, kind: np.dtype[Any]) -> NDArray[Any]:
    """Rows of features: each on one of its thresholds, next to it, or within its thresholds' spread; -1 to 1 without any."""
    import numpy as np

    drawn = generator.uniform(-1.0, 1.0, shape).astype(kind)
    for feature, values in known.items():
        at = generator.choice(values, shape[0]).astype(kind)
        spread = float(values[-1] - values[0]) or 1.0
        around = (at + generator.normal(0.0, spread, shape[0])).astype(kind)
        ways = np.stack([at, np.nextafter(at, kind.type(-np.inf)), np.nextafter(at, kind.type(np.inf)), around, around])
        drawn[:, feature] = ways[generator.integers(0, len(ways), shape[0]), np.arange(shape[0])]
    return drawn


def _splits(node: NodeProto) -> list[tuple[int, float]]:
    """Feature and threshold of every node of a tree that is no leaf."""
    from onnx import helper, numpy_helper

    told = {attribute.name: attribute for attribute in node.attribute}
    modes, features = (list(helper.get_attribute_value(told[name])) for name in ("nodes_modes", "nodes_featureids"))
    packed = told.get("nodes_values_as_tensor")
    values = numpy_helper.to_array(packed.t).tolist() if packed else list(helper.get_attribute_value(told["nodes_values"]))
    return [(int(f), float(v)) for mode, f, v in zip(modes, features, values, strict=True) if mode != b"LEAF"]
