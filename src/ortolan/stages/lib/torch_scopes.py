"""Matches the outputs of a PyTorch module's parts with tensors of its TorchScript export, by the scopes in their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto

Scope = tuple[str, ...]


class Scopes:
    """The one tensor that leaves each scope of a graph, such as ``/block/block.0/Conv_output_0`` of ``/block/block.0``."""

    def __init__(self, graph: GraphProto) -> None:
        self._made = {name: _scope(node.name) for node in graph.node if node.op_type != "Constant" for name in node.output}
        self._readers: dict[str, list[Scope | None]] = {value.name: [()] for value in graph.output}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(_scope(node.name))

    def has_nodes(self, scope: Scope) -> bool:
        """Whether anything of this scope is left in the graph; a batch norm that was folded into a convolution is not."""
        return any(_inside(made, scope) for made in self._made.values())

    def leaving(self, scope: Scope) -> str | None:
        """The name of the only tensor that is made in ``scope`` and read outside; None where there are more or none."""
        found = [name for name, made in self._made.items() if _inside(made, scope) and self._read_outside(name, scope)]
        return found[0] if len(found) == 1 else None

    def _read_outside(self, name: str, scope: Scope) -> bool:
        return not all(_inside(reader, scope) for reader in self._readers.get(name, []))


class Recorder:
    """Forward hooks on every part of a module; after a forward, ``values`` maps names of graph tensors to tensors.

    The exporter names the second call of a part ``<part>_1``. A part that left no nodes (a folded batch norm, a dropout) stands
    for the tensor that it was given. Parts whose scope is ambiguous are passed over: no match is better than a wrong one.
    """

    def __init__(self, module: Any, scopes: Scopes) -> None:
        self.values: dict[str, Any] = {}
        self._scopes = scopes
        self._stack: list[str] = []
        self._calls: Counter[Scope] = Counter()
        self._holders: dict[int, tuple[Any, str]] = {}
        self._handles: list[Any] = []
        for name, part in module.named_modules():
            if name:
                self._handles.append(part.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
                self._handles.append(part.register_forward_hook(self._leave))

    def remove(self) -> None:
        """Take the hooks off the module."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str) -> None:
        self._stack.append(name)

    def _leave(self, part: Any, args: tuple[Any, ...], result: Any) -> None:
        import torch

        path = tuple(self._stack)
        self._stack.pop()
        earlier = self._calls[path]
        self._calls[path] += 1
        if not isinstance(result, torch.Tensor):
            return
        tensor = self._tensor(path, earlier, args, leaf=not any(part.children()))
        if tensor is not None:
            self.values[tensor] = result.detach().clone()  # a later part may write into it
            self._holders[id(result)] = (result, tensor)

    def _tensor(self, path: Scope, earlier: int, args: Iterable[Any], *, leaf: bool) -> str | None:
        if earlier and not leaf:
            return None
        scope = (*path[:-1], f"{path[-1]}_{earlier}") if earlier else path
        if self._scopes.has_nodes(scope):
            return self._scopes.leaving(scope)
        given = [self._holders[id(value)][1] for value in args if id(value) in self._holders]
        return given[0] if len(given) == 1 else None


def record(source: Any, graph: GraphProto, values: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``source`` on ``values``; ``{name of a tensor of graph: tensor}`` for the parts that match."""
    recorder = Recorder(source.module, Scopes(graph))
    try:
        source.forward(values)
    finally:
        recorder.remove()
    return recorder.values


def _scope(node: str) -> Scope | None:
    """``("block", "block.0")`` of the node ``/block/block.0/Conv``; None for a node without a scope in its name."""
    return tuple(node.split("/")[1:-1]) if node.startswith("/") else None


def _inside(scope: Scope | None, outer: Scope) -> bool:
    return scope is not None and scope[: len(outer)] == outer
