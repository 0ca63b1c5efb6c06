"""What the schemes of quantisation have in common: what stays in float and why, and counts of what became of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import graphs, macs, quant_nodes

if TYPE_CHECKING:
    from onnx import ModelProto

Lower = Callable[["ModelProto", Collection[str]], "ModelProto"]


@dataclass(frozen=True)
class Prepared:
    """A model ready for one scheme.

    ``left`` names the nodes that stay in float, with the reason. ``lower(model, names)`` makes the model of fewer bits of a
    model that it may consume, with the nodes of these names in float. ``layers(made)`` are the nodes that were lowered, by
    their names in ``model``, in its order.
    """

    model: ModelProto
    left: Mapping[str, str]
    lower: Lower
    layers: Callable[[ModelProto], list[str]]
    repairs: Sequence[str] = ()
    halves: Sequence[str] = ()
    unknown: Sequence[str] = ()
    before: Mapping[str, int] = field(default_factory=dict)


def chosen(model: ModelProto, params: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """What the recipe leaves in float, and the names in its ``exclude`` that no node bears. Nodes must have names."""
    names = {node.name: node.op_type for node in model.graph.node}
    left = {name: "excluded by the recipe" for name in params["exclude"] if name in names}
    operators = set(params["float_operators"])
    left |= {name: f"{op} stays in float by the recipe" for name, op in names.items() if op in operators}
    return left, sorted({*params["exclude"]} - names.keys())


def operators(model: ModelProto) -> Counter[str]:
    """How many nodes of each operator the main graph has."""
    return Counter(node.op_type for node in model.graph.node)


def facts(prepared: Prepared, counted: Mapping[str, int | None], layers: Collection[str]) -> dict[str, Any]:
    """Counts of what was lowered, by node of ``prepared.model``; ``counted``: the multiply-accumulates of its nodes."""
    low = Counter(node.op_type for node in prepared.model.graph.node if node.name in layers)
    total = sum(count for count in counted.values() if count is not None)
    lowered = sum(count for name, count in counted.items() if count is not None and name in layers)
    return {
        "low": len(layers),
        "nodes": {op: {"quantised": low[op], "before": prepared.before.get(op, 0)} for op in sorted(low)},
        "macs": total,
        "macs_quantised": lowered,
        "macs_share": lowered / total if total else 0.0,
        "macs_uncounted": sorted(name for name, count in counted.items() if count is None),
    }


def told(prepared: Prepared) -> dict[str, Any]:
    """What was done to a model beforehand, and what stays in float."""
    return {
        "repairs": list(prepared.repairs),
        "left_in_float": dict(prepared.left),
        "half_precision": list(prepared.halves),
        "unknown_exclude": list(prepared.unknown),
    }


def per_node(model: ModelProto) -> dict[str, int | None]:
    """The multiply-accumulates of each node by its name."""
    return dict(zip((node.name for node in model.graph.node), macs.per_node(model), strict=True))


def ready(model: ModelProto) -> ModelProto:
    """The model with its shapes inferred and with a name for each node."""
    model = quant_nodes.inferred(model)
    quant_nodes.name_nodes(model.graph)
    return model


def nested(model: ModelProto) -> list[str]:
    """The names of the nodes that hold graphs: what is in there stays as it is."""
    return [node.name for node in model.graph.node if any(graphs.subgraphs(node))]
