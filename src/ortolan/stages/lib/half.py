"""Half precision: nodes turn to float16 where they can, with conversions where float16 and float32 meet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import external, graphs, half_nodes, lowering, quant_nodes, weights
from .half_nodes import Slots
from .lowering import Prepared

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from .ranges import Range

_NONE = Slots(frozenset(), frozenset())


def prepare(model: ModelProto, measured: Mapping[str, Range], params: Mapping[str, Any], beside: Path | None = None) -> Prepared:
    """``beside``: the folder of the external data, for a model that has some.

    ``measured``: the values that tensors had on data; nodes that met larger ones than float16 has stay in float32.
    """
    _constants(model)
    model = lowering.ready(model)
    mine, unknown = lowering.chosen(model, params)
    able = half_nodes.able(model)
    unfit = {name: why for name, why in half_nodes.unfit(model, measured, beside).items() if name in able}

    def lower(given: ModelProto, excluded: Collection[str]) -> ModelProto:
        _Halving(given, {name: slots for name, slots in able.items() if name not in excluded}, io=not params["float_io"]).do()
        graphs.sort(given.graph)
        return given

    def layers(made: ModelProto) -> list[str]:
        halves = _halves(made)
        return [node.name for node in model.graph.node if node.name in halves and node.name in able]

    before = lowering.operators(model)
    return Prepared(model, unfit | mine, lower, layers, halves=quant_nodes.half_weights(model), unknown=unknown, before=before)


def _halves(made: ModelProto) -> set[str]:
    """The nodes that read or make float16 and convert nothing."""
    from onnx import TensorProto

    graph = made.graph
    infos = (*graph.input, *graph.output, *graph.value_info)
    half = {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT16}
    half |= {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    return {node.name for node in graph.node if half & {*node.input, *node.output}}


def _constants(model: ModelProto) -> None:
    """Values of Constant nodes become initializers, which have a type that can be changed."""
    nodes = []
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            nodes.append(node)
            continue
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
    if len(nodes) < len(model.graph.node):
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)


class _Halving:
    """Turns the given places of nodes to float16, in place.

    A tensor that both kinds of nodes meet has two forms: the one in float32 keeps its name. Inputs and outputs of the model
    keep theirs in either form; with ``io`` they are float16.
    """

    def __init__(self, model: ModelProto, slots: Mapping[str, Slots], *, io: bool) -> None:
        self._model, self._slots, self._io = model, slots, io
        graph = model.graph
        self._floats = half_nodes.floats(model)
        self._ends = {info.name for info in (*graph.input, *graph.output)} & self._floats if io else set[str]()
        self._taken = self._floats | {name for node in graph.node for name in (*node.input, *node.output)}
        self._names: dict[tuple[str, bool], str] = {}
        inner = [inner for node in graph.node for inner in graphs.subgraphs(node)]
        captured = set[str]().union(*map(graphs.captures, inner)) & self._floats
        self._wanted = {(name, False) for name in captured}
        _rename(inner, {name: self._form(name, half=False) for name in captured & self._ends})

    def do(self) -> None:
        from onnx import TensorProto

        graph = self._model.graph
        made = self._made()
        for node in graph.node:
            self._rewire(node)
        for info in graph.output:
            if info.name in self._floats:
                self._want(info.name, half=self._io)
        for info in (*graph.input, *graph.output):
            if info.name in self._ends:
                info.type.tensor_type.elem_type = TensorProto.FLOAT16
        self._weights()
        self._convert(made)
        self._types()

    def _made(self) -> dict[str, bool]:
        """In which form each float tensor comes to be: ``True`` for float16."""
        made = dict.fromkeys(self._ends & {info.name for info in self._model.graph.input}, True)
        for node in self._model.graph.node:
            places = self._slots[node.name].outputs if node.name in self._slots else frozenset()
            made |= {name: index in places for index, name in enumerate(node.output) if name in self._floats}
        return made

    def _form(self, name: str, *, half: bool) -> str:
        """The name of a tensor in one of its forms."""
        if half == (name in self._ends):
            return name
        key = (name, half)
        if key not in self._names:
            fresh = f"{name}_{'half' if half else 'float'}"
            while fresh in self._taken:
                fresh += "_"
            self._taken.add(fresh)
            self._names[key] = fresh
        return self._names[key]

    def _want(self, name: str, *, half: bool) -> str:
        self._wanted.add((name, half))
        return self._form(name, half=half)

    def _rewire(self, node: NodeProto) -> None:
        slots = self._slots.get(node.name, _NONE)
        for index, name in enumerate(node.input):
            if name in self._floats:
                node.input[index] = self._want(name, half=index in slots.inputs)
        for index, name in enumerate(node.output):
            if name in self._floats:
                node.output[index] = self._form(name, half=index in slots.outputs)

    def _weights(self) -> None:
        """Initializers in the forms that are read; what only float16 nodes read is turned where it stands."""
        from onnx import TensorProto

        for tensor in list(self._model.graph.initializer):
            if (tensor.name, True) not in self._wanted or tensor.data_type != TensorProto.FLOAT:
                continue
            name = tensor.name
            if (name, False) in self._wanted:
                kept = self._model.graph.initializer.add()
                kept.CopyFrom(tensor)
            tensor.name = self._form(name, half=True)
            _halve(tensor)

    def _convert(self, made: Mapping[str, bool]) -> None:
        """A Cast for each tensor that is read in the form in which it does not come."""
        from onnx import TensorProto, helper

        fed = {info.name for info in self._model.graph.input}
        constant = {name for name, _ in self._wanted} - made.keys() - fed
        for name, half in sorted(self._wanted):
            if name in constant or made.get(name, False) == half:
                continue
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            read, written = self._form(name, half=not half), self._form(name, half=half)
            self._model.graph.node.append(helper.make_node("Cast", [read], [written], f"{written}_cast", to=kind))

    def _types(self) -> None:
        """Shapes of the new forms, and none of tensors that are gone."""
        from onnx import TensorProto

        graph = self._model.graph
        there = {name for node in graph.node for name in node.output}
        known = {info.name: info for info in (*graph.input, *graph.output, *graph.value_info)}
        for (name, half), other in self._names.items():
            if other in there and name in known:
                info = graph.value_info.add()
                info.CopyFrom(known[name])
                info.name = other
                info.type.tensor_type.elem_type = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        ends = {info.name for info in (*graph.input, *graph.output)}
        for index in reversed(range(len(graph.value_info))):
            if graph.value_info[index].name not in there or graph.value_info[index].name in ends:
                del graph.value_info[index]


def _rename(nested: Iterable[GraphProto], names: Mapping[str, str]) -> None:
    """Give what nested graphs read from around them its other name."""
    for graph in (one for outer in nested for one in graphs.graphs(outer) if names):
        for node in graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = names.get(name, name)
        for info in graph.output:
            info.name = names.get(info.name, info.name)


def _halve(tensor: Any) -> None:
    """Turn a float32 tensor to float16 in place; one whose data are in a file when it is saved."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if external.is_outside(tensor):
        weights.turn(tensor, TensorProto.FLOAT16)
        return
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(tensor).astype(np.float16)
    for field in ("float_data", "raw_data"):
        tensor.ClearField(field)
    tensor.data_type = TensorProto.FLOAT16
    tensor.raw_data = values.tobytes()
