"""Which nodes can compute in half precision: by their operator's definition, by the values that they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import external, graphs, op_schemas, weights

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    from .ranges import Range

LARGEST = 65504.0
"""The largest finite float16 (IEEE 754 binary16)."""
_SMALL = 16  # elements: a constant that small is an epsilon or a factor, of which no value may become 0

# float16 is allowed by ONNX for these and is not what their results survive, or some ONNX Runtime up to 1.31.1 has no kernel and
# inserts no conversion (onnxruntime.transformers.float16 leaves them out as well): indices, counters, boxes, Q/DQ scales.
_KEPT = frozenset({
    "CumSum", "DequantizeLinear", "DynamicQuantizeLinear", "Max", "Min", "NonMaxSuppression", "QuantizeLinear",
    "RandomUniformLike", "Range", "Resize", "RoiAlign", "TopK", "Upsample",
})  # fmt: skip


@dataclass(frozen=True)
class Slots:
    """The inputs and outputs of a node, by place, that turn to float16."""

    inputs: frozenset[int]
    outputs: frozenset[int]


def floats(model: ModelProto) -> set[str]:
    """The float32 tensors of the main graph, whose types must be known."""
    from onnx import TensorProto

    graph = model.graph
    infos = (*graph.input, *graph.output, *graph.value_info)
    typed = {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT}
    return typed | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def able(model: ModelProto) -> dict[str, Slots]:
    """The nodes that may compute in half precision by their definitions, by name."""
    known, tensors = op_schemas.Schemas(model), floats(model)
    found = {node.name: _slots(node, known.find(node), tensors) for node in model.graph.node if _may(node)}
    return {name: slots for name, slots in found.items() if slots}


def _may(node: NodeProto) -> bool:
    return node.op_type not in _KEPT and not any(graphs.subgraphs(node))


def _slots(node: NodeProto, schema: op_schemas.Schema | None, tensors: set[str]) -> Slots | None:
    """The places whose type may be float16; an output's only where an input decides on it."""
    if schema is None:
        return None
    inputs = {index: place.kind for index, name in enumerate(node.input) if name in tensors and (place := schema.input(index))}
    halves = {kind for kind in inputs.values() if {"float", "float16"} <= schema.kinds.get(kind, frozenset())}
    outputs = [index for index, name in enumerate(node.output) if name in tensors]
    places = {index: place.kind for index in outputs if (place := schema.output(index))}
    if not halves:
        return None
    return Slots(
        frozenset(index for index, kind in inputs.items() if kind in halves),
        frozenset(index for index, kind in places.items() if kind in halves),
    )


def unfit(model: ModelProto, measured: Mapping[str, Range], beside: Path | None) -> dict[str, str]:
    """The nodes that would meet a value which float16 cannot hold, and which: measured values, and constants."""
    found = {}
    constants = {tensor.name: why for tensor in model.graph.initializer if (why := _beyond(tensor, beside))}
    for node in model.graph.node:
        for name in (*node.input, *node.output):
            low, high = measured.get(name, (0.0, 0.0))
            if max(-low, high) > LARGEST:
                found[node.name] = f"'{name}' reaches {max(-low, high):.3g}, and float16 ends at {LARGEST:g}"
            elif name in constants:
                found[node.name] = f"constant '{name}' {constants[name]}"
    return found


def _beyond(tensor: TensorProto, beside: Path | None) -> str:
    """What float16 would make of a constant that it cannot hold; empty for one that it can."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if tensor.data_type != TensorProto.FLOAT:
        return ""
    if beside and external.is_outside(tensor):
        largest = max(_largest(piece) for piece in weights.pieces(tensor, external.range_of(tensor, beside)))
        return f"reaches {largest:.3g}, and float16 ends at {LARGEST:g}" if largest > LARGEST else ""
    values = numpy_helper.to_array(tensor)
    finite = values[np.isfinite(values)]
    if finite.size and float(np.abs(finite).max()) > LARGEST:
        return f"reaches {float(np.abs(finite).max()):.3g}, and float16 ends at {LARGEST:g}"
    if finite.size <= _SMALL and bool(((finite != 0) & (finite.astype(np.float16) == 0)).any()):
        return f"holds {float(np.abs(finite[finite != 0]).min()):.3g}, which is 0 in float16"
    return ""


def _largest(values: NDArray[Any]) -> float:
    """The largest finite absolute value."""
    import numpy as np

    most = max(float(values.max()), -float(values.min()))  # NaN where there is one, and then each is looked at
    return most if np.isfinite(most) else float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
