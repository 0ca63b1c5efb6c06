"""Asks ONNX Runtime about each node of a model by itself, in a model of that one node: when the whole does not open."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import graphs
from .heard import reason
from .transient import reraise_if_transient
from .weightless import without_weights

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_UNASKED = "cannot be asked"
_SMALL = 64  # elements; axes, shapes and scales, which some kernels want as constants, have fewer


def refusals(model: ModelProto, opens: Callable[[bytes], object]) -> list[str]:
    """Why ``opens`` raises on each node of the main graph by itself; empty where it does not. Equal nodes are asked once.

    A node goes in with the types of its inputs, so that it opens only where a kernel is there for its operator, opset and types.
    Where a type is not known, since a node before it is not, the node cannot be asked, which is a refusal as well.
    """
    known = _Known(model)
    answers: dict[bytes, str] = {}
    found = []
    for node in model.graph.node:
        alone = known.alone(node)
        if isinstance(alone, str):
            found.append(alone)
            continue
        if alone not in answers:
            answers[alone] = _refusal(alone, opens)
        found.append(answers[alone])
    return found


def is_refused(answer: str) -> bool:
    """Whether a node was asked and refused for its own sake."""
    return bool(answer) and not answer.startswith(_UNASKED)


def _refusal(model: bytes, opens: Callable[[bytes], object]) -> str:
    try:
        opens(model)
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
        reraise_if_transient(error)
        return reason(error)
    return ""


class _Known:
    """The types and small constants of a model's main graph."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        graph = _inferred(model).graph
        self.types = {info.name: info.type for info in (*graph.value_info, *graph.output, *graph.input)}
        for tensor in model.graph.initializer:
            self.types[tensor.name] = _type(tensor.data_type, tensor.dims)
        for sparse in model.graph.sparse_initializer:
            self.types[sparse.values.name] = _type(sparse.values.data_type, sparse.dims)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer if _is_small(tensor)}

    def alone(self, node: NodeProto) -> bytes | str:
        """A model of this node only, or why there is none."""
        reads = sorted(graphs.reads(node))
        missing = [name for name in reads if self._type_of(name) is None]
        if missing:
            return f"{_UNASKED}: the type of its input '{missing[0]}' is not known"
        nested = any(True for _ in graphs.subgraphs(node))  # whose inner nodes keep the names that they read
        renamed = {name: name if nested else f"i{index}" for index, name in enumerate(dict.fromkeys(node.input)) if name}
        renamed |= {name: name for name in reads if name not in renamed}
        return self._build(node, renamed)

    def _type_of(self, name: str) -> Any:
        kind = self.types.get(name)
        return kind if kind is not None and kind.WhichOneof("value") else None

    def _build(self, node: NodeProto, renamed: dict[str, str]) -> bytes:
        from onnx import ModelProto, ValueInfoProto

        alone = ModelProto(ir_version=self.model.ir_version, opset_import=self.model.opset_import)
        alone.functions.extend(self.model.functions)
        alone.graph.name = "alone"
        copy = alone.graph.node.add()
        copy.CopyFrom(node)
        copy.name = ""
        copy.input[:] = [renamed.get(name, "") for name in node.input]
        copy.output[:] = [f"o{index}" if name else "" for index, name in enumerate(node.output)]
        for name, new in renamed.items():
            if name in self.constants:
                tensor = alone.graph.initializer.add()
                tensor.CopyFrom(self.constants[name])
                tensor.name = new
            else:
                alone.graph.input.append(ValueInfoProto(name=new, type=self._type_of(name)))
        alone.graph.output.extend(ValueInfoProto(name=name) for name in copy.output if name)
        return bytes(alone.SerializeToString(deterministic=True))


def _inferred(model: ModelProto) -> ModelProto:
    from onnx import shape_inference

    try:
        return without_weights(lambda whole: shape_inference.infer_shapes(whole, data_prop=True), model)
    except Exception as error:  # noqa: BLE001  then only the types that the model states are known
        reraise_if_transient(error)
        return model


def _is_small(tensor: TensorProto) -> bool:
    return tensor.data_type in {tensor.INT32, tensor.INT64} and math.prod(tensor.dims) <= _SMALL


def _type(element: int, dims: Any) -> Any:
    from onnx import helper

    return helper.make_tensor_type_proto(element, list(dims))
