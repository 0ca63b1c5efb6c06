"""Walks over ONNX graphs: nested graphs, what a node reads, a stable topological order, unused initializers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .refused import Refused

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds in its attributes: bodies of ``If``, ``Loop``, ``Scan`` and the like."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and every graph nested in it, outermost first."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of a model: its graph, nested graphs and local functions."""
    for graph in graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for inner in subgraphs(node):
                for graph in graphs(inner):
                    yield from graph.node


def label(node: NodeProto) -> str:
    """How a message names a node: ``Conv 'conv_1'``, or by its first output when it has no name."""
    op = f"{node.domain}:{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type
    name = node.name or next((f"-> {name}" for name in node.output if name), "")
    return f"{op} '{name}'"


def initializers(graph: GraphProto) -> set[str]:
    """The names of a graph's own constants, dense and sparse."""
    return {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}


def reads(node: NodeProto) -> set[str]:
    """Every tensor that a node needs from around it: its inputs and what its nested graphs capture."""
    names = {name for name in node.input if name}
    for inner in subgraphs(node):
        names |= captures(inner)
    return names


def captures(graph: GraphProto) -> set[str]:
    """The tensors that a nested graph takes from outside."""
    own = {value.name for value in graph.input} | initializers(graph) | {name for node in graph.node for name in node.output}
    wanted = {value.name for value in graph.output}.union(*(reads(node) for node in graph.node))
    return wanted - own


def sort(graph: GraphProto) -> bool:
    """Put the nodes of a graph, and of every graph nested in it, into topological order; ``True`` when something moved.

    Stable: among the nodes that could come next, the one that stood first comes first, so a valid order stays as it is.
    Raises ``Refused`` when nodes wait for each other in a circle.
    """
    moved = [sort(inner) for node in graph.node for inner in subgraphs(node)]
    order = _order(graph)
    if order == list(range(len(graph.node))):
        return any(moved)
    ordered = [graph.node[index] for index in order]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)
    return True


def needs(graph: GraphProto) -> list[set[int]]:
    """For each node, the nodes of the same graph whose outputs it reads, itself or in its nested graphs."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    return [{makers[name] for name in reads(node) if name in makers} for node in graph.node]


def users(needed: Sequence[set[int]]) -> dict[int, list[int]]:
    """The other way round: which nodes read what a node makes."""
    found: dict[int, list[int]] = {}
    for index, need in enumerate(needed):
        for maker in need:
            found.setdefault(maker, []).append(index)
    return found


def _order(graph: GraphProto) -> list[int]:
    needed = needs(graph)
    after = users(needed)
    ready = [index for index, need in enumerate(needed) if not need]
    waiting = [len(need) for need in needed]
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for user in after.get(order[-1], ()):
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, user)
    if len(order) < len(needed):
        _refuse_cycle(graph, set(range(len(needed))) - set(order))
    return order


def _refuse_cycle(graph: GraphProto, rest: set[int]) -> None:
    names = ", ".join(label(graph.node[index]) for index in sorted(rest)[:5])
    raise Refused("the graph has a cycle", why=f"these nodes wait for each other: {names}", hint="export the model again")


def prune_initializers(graph: GraphProto) -> list[str]:
    """Remove constants that nothing reads, here and in nested graphs; their names."""
    gone: list[str] = []
    for each in graphs(graph):
        used = {value.name for value in each.output}.union(*(reads(node) for node in each.node))
        used |= {value.name for value in each.input}
        for field in (each.initializer, each.sparse_initializer):
            names = [tensor.values.name if hasattr(tensor, "values") else tensor.name for tensor in field]
            for index in reversed([index for index, name in enumerate(names) if name not in used]):
                gone.append(names[index])
                del field[index]
    return gone
