"""Mends what is odd but harmless in a model's file, and says what it mended; the model's meaning stays."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from . import graphs, zipmap
from .refused import Refused
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


def mend(model: ModelProto) -> dict[str, Any]:
    """Apply every repair in place; only those that changed something are in the result.

    Raises ``Refused`` where a local function cannot be inlined, and for cycles.
    """
    done = {
        "functions_inlined": inline_functions(model),
        "maps_made_tensors": zipmap.to_tensors(model),
        "initializers_in_inputs": _free_inputs(model.graph),
        "graphs_named": _name_graphs(model.graph),
        "nodes_renamed": _rename_duplicates(model),
        "nodes_named": name_nodes(model),
        "sorted": graphs.sort(model.graph),
    }
    return {what: how for what, how in done.items() if how}


def inline_functions(model: ModelProto) -> list[str]:
    """Replace calls of the model's own functions by their bodies; the functions' names."""
    from onnx import inliner

    names = sorted({f"{function.domain}:{function.name}" for function in model.functions})
    if not names:
        return []
    try:
        flat = inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:  # the C++ inliner has no error type of its own
        reraise_if_transient(error)
        raise Refused(
            "the model's local functions cannot be inlined", why=_line(error), hint="inline them when exporting"
        ) from error
    if flat.functions:
        left = ", ".join(f"{function.domain}:{function.name}" for function in flat.functions)
        raise Refused(
            f"the model's local function {left} cannot be inlined",
            why="its opset cannot be brought to the model's",
            hint="export model and functions with one opset",
        )
    model.CopyFrom(flat)
    return names


def _free_inputs(graph: GraphProto) -> list[str]:
    constant = graphs.initializers(graph)
    extra = [index for index, value in enumerate(graph.input) if value.name in constant]
    names = sorted(graph.input[index].name for index in extra)
    for index in reversed(extra):
        del graph.input[index]
    return names


def _name_graphs(graph: GraphProto) -> int:
    unnamed = [each for each in graphs.graphs(graph) if not each.name]
    for index, each in enumerate(unnamed):
        each.name = f"graph_{index}" if index else "graph"
    return len(unnamed)


def _rename_duplicates(model: ModelProto) -> list[str]:
    names = Counter(node.name for node in graphs.nodes(model) if node.name)
    seen: set[str] = set()
    for node in graphs.nodes(model):
        if node.name in seen:
            node.name = _fresh(node.name, names)
        elif node.name:
            seen.add(node.name)
    return sorted(name for name in seen if names[name] > 1)


def name_nodes(model: ModelProto) -> int:
    """Give every unnamed node a name that is not taken: its operator and a number. How many there were."""
    names = Counter(node.name for node in graphs.nodes(model) if node.name)
    unnamed = [node for node in graphs.nodes(model) if not node.name]
    for node in unnamed:
        node.name = _fresh(node.op_type, names)
    return len(unnamed)


def _fresh(stem: str, taken: Counter[str]) -> str:
    number = taken[f"\0{stem}"]  # where the last search for this stem ended; no node has such a name
    while taken[name := f"{stem}_{number}"]:
        number += 1
    taken[name], taken[f"\0{stem}"] = 1, number + 1
    return name


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
