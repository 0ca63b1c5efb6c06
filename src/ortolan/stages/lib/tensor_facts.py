"""What is known of a model's tensors: types, shapes, which are constant, and which node makes or reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from . import graphs, quant_nodes, signature
from .op_schemas import Schema, Schemas, bare
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

Shape = list[int | str | None]


class Facts:
    """Facts of all tensors, by name; nested graphs included, whose names are their own.

    ``types``: as onnx writes them, without the word tensor: ``float``, ``seq(int64)``. ``shapes``: sizes, names of axes, or
    ``None``; no entry for an unknown rank. Types that onnx's inference does not find follow from the operators' definitions.
    """

    def __init__(self, model: ModelProto) -> None:
        """Infer what there is to infer; a model that onnx cannot infer keeps what it says itself."""
        inferred = _inferred(model)
        self.model = inferred
        self.schemas = Schemas(inferred)
        self.types: dict[str, str] = {}
        self.shapes: dict[str, Shape] = {}
        self.constants: dict[str, TensorProto | None] = {}
        self.makers: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = {}
        self.outputs = {info.name for info in inferred.graph.output}
        for graph in graphs.graphs(inferred.graph):
            self._declared(graph)
        for graph in graphs.graphs(inferred.graph):
            for node in graph.node:
                self._follow(node)

    def _declared(self, graph: GraphProto) -> None:
        for info in (*graph.input, *graph.output, *graph.value_info):
            kind, shape = kind_of(info.type), signature.shape(info)
            if kind:
                self.types[info.name] = kind
            if shape is not None:
                self.shapes[info.name] = shape
        for tensor in graph.initializer:
            self._constant(tensor.name, tensor, tensor.data_type, list(tensor.dims))
        for sparse in graph.sparse_initializer:
            self._constant(sparse.values.name, None, sparse.values.data_type, list(sparse.dims))

    def _constant(self, name: str, tensor: TensorProto | None, elem_type: int, dims: Shape) -> None:
        self.constants[name] = tensor
        self.types[name], self.shapes[name] = element(elem_type), dims

    def _follow(self, node: NodeProto) -> None:
        for name in graphs.reads(node):
            self.readers.setdefault(name, []).append(node)
        if node.op_type == "Constant" and signature.domain(node.domain) == signature.DEFAULT_DOMAIN and node.output:
            self.constants[node.output[0]] = next((a.t for a in node.attribute if a.HasField("t")), None)
        for name in node.output:
            self.makers[name] = node
        if any(name and name not in self.types for name in node.output):
            self._type_outputs(node)

    def _type_outputs(self, node: NodeProto) -> None:
        """Give the outputs types by the operator's definition: its own, that of an input of the same type name, the only one."""
        schema = self.schemas.find(node)
        if schema is None:
            return
        known = {kind: found for kind, names in self.bound(node, schema).items() if (found := self._first(names))}
        for index, name in enumerate(node.output):
            place = schema.output(index)
            if place and name and name not in self.types:
                allowed = schema.kinds.get(place.kind, frozenset({bare(place.kind)}))
                kind = known.get(place.kind) or (next(iter(allowed)) if len(allowed) == 1 else "")
                if kind:
                    self.types[name] = kind

    def _first(self, names: Iterable[str]) -> str:
        return next((self.types[name] for name in names if name in self.types), "")

    def bound(self, node: NodeProto, schema: Schema) -> dict[str, list[str]]:
        """The node's tensors by the type name that the definition gives them, and by their own names in it.

        Kernels name their types in either way.
        """
        found: dict[str, list[str]] = {}
        for names, place_of in ((node.input, schema.input), (node.output, schema.output)):
            for index, name in enumerate(names):
                place = place_of(index)
                for key in {place.kind, place.name} if place and name else ():
                    found.setdefault(key, []).append(name)
        return found

    def attribute(self, node: NodeProto, name: str) -> str | None:
        """An attribute as text (``1``, ``nearest``, ``1,1``), its default where the node has none; ``None`` without either."""
        given: Any = next((a for a in node.attribute if a.name == name), None)
        if given is None:
            schema = self.schemas.find(node)
            given = schema.defaults.get(name) if schema else None
        return None if given is None else _text(given)


def _inferred(model: ModelProto) -> ModelProto:
    try:
        return quant_nodes.inferred(model)
    except Exception as error:  # noqa: BLE001  onnx's inference fails in many ways on odd models; what they declare remains
        reraise_if_transient(error)
        return model


def kind_of(kind: TypeProto) -> str:
    """The name of a type: ``float``, ``seq(float)``; empty for an unknown one."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return element(kind.tensor_type.elem_type)
    if which == "sparse_tensor_type":
        return f"sparse_tensor({element(kind.sparse_tensor_type.elem_type)})"
    if which in {"sequence_type", "optional_type"}:
        outer = "seq" if which == "sequence_type" else "optional"
        return f"{outer}({kind_of(getattr(kind, which).elem_type)})"
    return ""


def element(elem_type: int) -> str:
    """The name of an element type as definitions of operators write it; empty for an unknown one."""
    from onnx import TensorProto

    return TensorProto.DataType.Name(elem_type).lower() if elem_type else ""


def _text(attribute: AttributeProto) -> str:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return ",".join(map(_plain, value)) if isinstance(value, (list, tuple)) else _plain(value)


def _plain(value: Any) -> str:
    return (
        value.decode(errors="replace") if isinstance(value, bytes) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def inner(node: NodeProto) -> Iterator[NodeProto]:
    """The nodes of the graphs that a node holds, at every depth."""
    for graph in graphs.subgraphs(node):
        for each in graphs.graphs(graph):
            yield from each.node
