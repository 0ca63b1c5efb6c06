"""Makes inner tensors of a model visible as outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto


def outputs(model: ModelProto, only: set[str] | None = None) -> list[str]:
    """Make the outputs of all nodes of the main graph (``only`` these, where given) outputs of the model; their names in order.

    Sequences, maps and optional values stay inside: only tensors can be compared.
    """
    from onnx import ValueInfoProto, shape_inference

    try:
        inferred = shape_inference.infer_shapes(model).graph
    except Exception as error:  # noqa: BLE001  then nothing is known to be no tensor
        reraise_if_transient(error)
        inferred = model.graph
    odd = {info.name for info in inferred.value_info if info.type.WhichOneof("value") not in {"tensor_type", None}}
    have = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name and name not in odd]
    chosen = [name for name in names if only is None or name in only]
    model.graph.output.extend(ValueInfoProto(name=name) for name in chosen if name not in have)
    return chosen
