"""Spares ONNX Runtime's quantizer a walk over the whole model for each of its tensors: of many nodes that is all its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto
    from onnxruntime.quantization.base_quantizer import BaseQuantizer


def quantise(quantizer: BaseQuantizer) -> None:
    """``quantizer.quantize_model()``, its initializers and the readers of its tensors looked up by name.

    Of QDQQuantizer alone, which changes the inputs of nodes by the methods of its model and in no other way. 1,000 nodes took
    18 s without and take 2 s so, 10,000 half an hour and 20 s (onnxruntime 1.31.1).
    """
    from onnxruntime.quantization import base_quantizer, qdq_quantizer
    from onnxruntime.quantization.operators import conv, matmul

    quantizer.model.__class__ = _model()
    modules = (base_quantizer, qdq_quantizer, conv, matmul)
    theirs = [module.find_by_name for module in modules]
    for module in modules:
        module.find_by_name = _find
    try:
        quantizer.quantize_model()
    finally:
        for module, function in zip(modules, theirs, strict=True):
            module.find_by_name = function


class _Initializers(Sequence[Any]):
    """The initializers of a graph, which is their owner; found by name without looking at each."""

    def __init__(self, owner: Any) -> None:
        self._owner, self._first, self._seen = owner, dict[str, int](), 0

    def __len__(self) -> int:
        return len(self._owner.initializer)

    def __getitem__(self, index: Any) -> Any:
        return self._owner.initializer[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._owner.initializer)

    def named(self, name: str) -> TensorProto | None:
        """The first of this name."""
        if len(self) < self._seen:  # some are gone
            self._first, self._seen = {}, 0
        for index in range(self._seen, len(self)):
            self._first.setdefault(self[index].name, index)
        self._seen = len(self)
        return self[self._first[name]] if name in self._first else None


def _find(name: str, items: Any) -> Any:
    """What the quantizer's ``find_by_name`` gives."""
    if isinstance(items, _Initializers):
        return items.named(name)
    return next((item for item in items if item.name == name), None)


class _Indexed:
    """What of the quantizer's class of models is slow, looked up by name."""

    model: ModelProto
    _check_init: Any
    replace_node_input: Any
    _known: _Initializers | None = None
    _read: dict[str, list[NodeProto]] | None = None

    def initializer(self) -> Any:
        self._known = self._known or _Initializers(self.model.graph)
        return self._known

    def get_initializer(self, name: str) -> Any:
        return self.initializer().named(name)

    def add_initializer(self, tensor: TensorProto) -> None:
        if self.get_initializer(tensor.name) is None:
            self._check_init(tensor)
            self.model.graph.initializer.append(tensor)

    def remove_initializer(self, tensor: TensorProto) -> None:
        self._known = None
        super().remove_initializer(tensor)  # type: ignore[misc]  # the quantizer's

    def add_node(self, node: NodeProto) -> None:
        super().add_node(node)  # type: ignore[misc]  # the quantizer's
        self._note(self.model.graph.node[-1])

    def replace_input_of_all_nodes(self, old_input_name: str, new_input_name: str) -> None:
        self._replace(old_input_name, new_input_name, self._readers().pop(old_input_name, []))

    def replace_input_of_nodes(self, old_input_name: str, new_input_name: str, node_names_set: set[str]) -> None:
        readers = self._readers().pop(old_input_name, [])
        self._readers()[old_input_name] = [node for node in readers if node.name not in node_names_set]
        self._replace(old_input_name, new_input_name, [node for node in readers if node.name in node_names_set])

    def _replace(self, old: str, new: str, nodes: Iterable[NodeProto]) -> None:
        for node in nodes:
            self.replace_node_input(node, old, new)
            self._note(node)

    def _readers(self) -> dict[str, list[NodeProto]]:
        if self._read is None:
            self._read = {}
            for node in self.model.graph.node:
                self._note(node)
        return self._read

    def _note(self, node: NodeProto) -> None:
        if self._read is not None:
            for name in dict.fromkeys(node.input):
                self._read.setdefault(name, []).append(node)


def _model() -> type[Any]:
    from onnxruntime.quantization.onnx_model import ONNXModel

    return type("Indexed", (_Indexed, ONNXModel), {})
