"""Reads a frozen graph: its placeholders are the inputs, its outputs are named or are the one tensor that nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import tf_graph
from .refused import Refused
from .tf_graph import Graph
from .tf_port import Port, fitted
from .tf_words import refusing, tensorflow

_IDLE = frozenset({"Assert", "NoOp", "Placeholder", "Const", "Print", "SaveV2"})
_VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})


def read(path: Path, how: Mapping[str, Any], recipe: Sequence[Mapping[str, Any]]) -> tuple[Graph, dict[str, Any]]:
    """The graph, and what there is to say of it. Raises ``Refused``."""
    tf = tensorflow()
    definition = _parse(tf, path)
    _refuse_variables(definition)
    tf_graph.refuse_unregistered(definition)
    reads = {node.name: tf_graph.nodes(name for name in node.input if not name.startswith("^")) for node in definition.node}
    outputs = _outputs(definition, reads, how["output_tensors"])
    used = _used(reads, tf_graph.nodes(outputs))
    held = {node.name: node for node in definition.node if node.op == "Placeholder" and node.name in used}
    defaults = [node.name for node in definition.node if node.op == tf_graph.DEFAULTED and node.name in used]
    tf_graph.refuse_unknown_constants(how["constants"], [*held, *defaults])
    inputs = [_port(tf, node) for name, node in held.items() if name not in how["constants"]]
    inputs = fitted(inputs, recipe)
    ready, defaulted = tf_graph.ready(definition, inputs, how["constants"])
    ports = [_named(tf, ready, tensor) for tensor in outputs]
    left = sorted(set(defaulted) & set(defaults))
    return Graph(ready, tuple(inputs), tuple(ports)), {"defaults": left} if left else {}


def _parse(tf: Any, path: Path) -> Any:
    from google.protobuf.message import DecodeError

    definition = tf.compat.v1.GraphDef()
    hint = "is it a frozen graph, whole? Compare its size and checksum with where it came from"
    try:
        definition.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise Refused(f"{path.name} is no graph of TensorFlow's", why=f"its bytes do not parse: {error}", hint=hint) from None
    if not definition.node:
        raise Refused(f"{path.name} is no graph of TensorFlow's", why="it has no nodes", hint=hint)
    return definition


def _refuse_variables(definition: Any) -> None:
    found = next((node for node in definition.node if node.op in _VARIABLES), None)
    if found is not None:
        hint = "freeze it with convert_variables_to_constants, or save a SavedModel"
        raise Refused("the graph is not frozen", why=f"it has a variable, {found.name}, whose values it does not hold", hint=hint)


def _outputs(definition: Any, reads: Mapping[str, Sequence[str]], named: Sequence[str]) -> list[str]:
    """The tensors that the recipe names, or the one that nothing reads."""
    if named:
        return [_known(reads, name) for name in named]
    read = {name for names in reads.values() for name in names}
    ends = [node.name for node in definition.node if node.name not in read and node.op not in _IDLE]
    if len(ends) == 1:
        return [f"{ends[0]}:0"]
    shown = ", ".join(f"{name}:0" for name in ends[:8]) + (" …" if len(ends) > 8 else "")
    why = f"nothing reads {shown}" if ends else "every tensor is read by some node"
    hint = f'name them: [source] output_tensors = ["{ends[0] if ends else "output"}:0"]'
    raise Refused("the graph does not say what its outputs are", why=why, hint=hint)


def _known(reads: Mapping[str, Sequence[str]], name: str) -> str:
    node, _, port = name.partition(":")
    if node in reads and (port or "0").isdigit():
        return f"{node}:{port or 0}"
    near = difflib.get_close_matches(node, reads, n=1)
    hint = f"did you mean {near[0]}:0?" if near else "name a node of the graph, with :0 for its first output"
    raise Refused(f"[source] output_tensors: the graph has no tensor '{name}'", hint=hint)


def _used(reads: Mapping[str, Sequence[str]], ends: Sequence[str]) -> set[str]:
    """The nodes that the outputs depend on."""
    found: set[str] = set()
    waiting = list(ends)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += reads.get(name, [])
    return found


def _port(tf: Any, node: Any) -> Port:
    shape = node.attr["shape"].shape if "shape" in node.attr else None
    axes = None if shape is None or shape.unknown_rank else tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)
    return Port(node.name, f"{node.name}:0", tf.as_dtype(node.attr["dtype"].type).name, axes)


def _named(tf: Any, definition: Any, tensor: str) -> Port:
    """An output as TensorFlow's shape inference sees it; it bears its node's name."""
    with refusing("TensorFlow cannot read this graph"), tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        found = graph.get_tensor_by_name(tensor)
    node, _, index = tensor.partition(":")
    shape = None if found.shape.rank is None else tuple(found.shape.as_list())
    return Port(node if index == "0" else f"{node}_{index}", tensor, found.dtype.name, shape)
