"""Matches the outputs of a PyTorch module's parts with tensors of its TorchScript export, by the scopes in their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto

Scope = tuple[str, ...]


class Scopes:
    """The tensors that enter and leave the scopes of a graph; ``/block/block.0/Conv_output_0`` leaves ``/block/block.0``."""

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

    def entering(self, scope: Scope) -> str | None:
        """The name of the only tensor that is made outside and read in ``scope``; None where there are more or none."""
        found = [name for name, made in self._made.items() if not _inside(made, scope) and self._read_inside(name, scope)]
        return found[0] if len(found) == 1 else None

    def _read_inside(self, name: str, scope: Scope) -> bool:
        return any(_inside(reader, scope) for reader in self._readers.get(name, []))

    def _read_outside(self, name: str, scope: Scope) -> bool:
        return not all(_inside(reader, scope) for reader in self._readers.get(name, []))


class Recorder:
    """Forward hooks on every part of a module; a forward after ``counted`` fills ``values``: tensors by their names in the graph.

    The exporter names the second call of a part ``<part>_1``. A part that left no nodes (a folded batch norm, a dropout) stands
    for the tensor that it was given. Parts whose scope is ambiguous are passed over: no match is better than a wrong one.
    """

    def __init__(self, module: Any, scopes: Scopes) -> None:
        self.values: dict[str, Any] = {}
        self._scopes = scopes
        self._stack: list[str] = []
        self._calls: Counter[Scope] = Counter()
        self._totals: Counter[Scope] = Counter()
        self._holders: dict[int, tuple[Any, str]] = {}
        self._handles: list[Any] = []
        for name, part in module.named_modules():
            if name:
                self._handles.append(part.register_forward_pre_hook(lambda part, args, name=name: self._enter(name, part, args)))
                self._handles.append(part.register_forward_hook(self._leave))

    def counted(self) -> None:
        """Take what was seen up to now as the number of calls of each part, and begin anew."""
        self._totals, self._calls = self._calls, Counter()
        self.values.clear()
        self._holders.clear()

    def remove(self) -> None:
        """Take the hooks off the module."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str, part: Any, args: tuple[Any, ...]) -> None:
        self._stack.append(_local(name))
        scope, given = self._scope(part), _only_tensor(args)
        if scope and given is not None and (tensor := self._scopes.entering(scope)) not in {None, *self.values}:
            self._keep(tensor, given)

    def _leave(self, part: Any, args: tuple[Any, ...], result: Any) -> None:
        scope, made = self._scope(part), _only_tensor((result,))
        self._calls[tuple(self._stack)] += 1
        self._stack.pop()
        if scope and made is not None:
            self._keep(self._scopes.leaving(scope) if self._scopes.has_nodes(scope) else self._holder(_only_tensor(args)), made)

    def _scope(self, part: Any) -> Scope | None:
        """Where the exporter put this call of ``part``; None where calls of a part with parts of its own share a scope."""
        path = tuple(self._stack)
        if self._totals[path] != 1 and any(part.children()):
            return None
        earlier = self._calls[path]
        return (*path[:-1], f"{path[-1]}_{earlier}") if earlier else path

    def _holder(self, value: Any) -> str | None:
        return self._holders.get(id(value), (None, None))[1]

    def _keep(self, tensor: str | None, value: Any) -> None:
        if tensor is not None:
            self.values[tensor] = value.detach().clone()  # a later part may write into it
            self._holders[id(value)] = (value, tensor)


def _local(name: str) -> str:
    """How the exporter calls a part: ``conv`` for ``net.conv``, but ``block.0`` for ``net.block.0`` (seen with torch 2.13)."""
    parts = name.split(".")
    named = [index for index, part in enumerate(parts) if not part.isdigit()]
    return ".".join(parts[named[-1] if named else 0 :])


def _only_tensor(values: tuple[Any, ...]) -> Any:
    import torch

    return values[0] if len(values) == 1 and isinstance(values[0], torch.Tensor) else None


def record(source: Any, graph: GraphProto, values: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``source`` on ``values``; ``{name of a tensor of graph: tensor}`` for the parts that match."""
    recorder = Recorder(source.module, Scopes(graph))
    try:
        source.forward(values)
        recorder.counted()
        source.forward(values)
    finally:
        recorder.remove()
    return recorder.values


def _scope(node: str) -> Scope | None:
    """``("block", "block.0")`` of the node ``/block/block.0/Conv``; None for a node without a scope in its name."""
    return tuple(node.split("/")[1:-1]) if node.startswith("/") else None


def _inside(scope: Scope | None, outer: Scope) -> bool:
    return scope is not None and scope[: len(outer)] == outer
