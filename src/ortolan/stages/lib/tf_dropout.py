"""Takes the random numbers out of a dropout that drops nothing, as it is after training: what it computes stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .tf_words import tensorflow

_ADD, _DRAW = frozenset({"Add", "AddV2"}), "RandomUniform"


def settle(definition: Any) -> None:
    """Put 0 in the place of numbers drawn from [0, 1) that are only looked at as ``floor(1 + u)``, or as ``u >= 0``. In place.

    The first is 1 and the second is true for every such number, so that nothing depends on which it is.
    """
    nodes = {node.name: node for node in definition.node}
    for drawn in [node for node in definition.node if node.op == _DRAW]:
        looks = list(_looks(definition, nodes, drawn.name))
        if looks and all(looks):
            _fill(definition, drawn)


def _looks(definition: Any, nodes: Mapping[str, Any], name: str) -> Iterator[bool]:
    """Of every node that reads the numbers, whether what it gives is the same for all of them."""
    for reader in definition.node:
        places = [place for place, tensor in enumerate(reader.input) if tensor.partition(":")[0].lstrip("^") == name]
        if not places:
            continue
        other = [nodes[tensor.partition(":")[0].lstrip("^")] for place, tensor in enumerate(reader.input) if place not in places]
        value = _scalar(other[0]) if len(other) == 1 else None
        if reader.op == "Identity" or (reader.op == "Mul" and value == 1) or (reader.op in _ADD and value == 0):
            yield from _looks(definition, nodes, reader.name)
        elif reader.op in _ADD and value == 1:
            yield all(node.op == "Floor" for node in definition.node if _reads(node, reader.name))
        else:
            yield reader.op == "GreaterEqual" and places == [0] and value == 0


def _reads(node: Any, name: str) -> bool:
    return any(tensor.partition(":")[0].lstrip("^") == name for tensor in node.input)


def _scalar(node: Any) -> float | None:
    """The value of a constant that holds one number."""
    if node.op != "Const":
        return None
    array = tensorflow().make_ndarray(node.attr["value"].tensor)
    return float(array.ravel()[0]) if array.size == 1 and array.dtype.kind in "biuf" else None


def _fill(definition: Any, drawn: Any) -> None:
    """Zeros of the shape that the node was asked for."""
    tf = tensorflow()
    kind, index = drawn.attr["dtype"].type, drawn.attr["T"].type
    zero = definition.node.add(name=f"{drawn.name}/zero", op="Const")
    zero.attr["dtype"].type = kind
    zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0, dtype=kind, shape=[]))
    drawn.op = "Fill"
    drawn.ClearField("attr")
    drawn.attr["T"].type, drawn.attr["index_type"].type = kind, index
    drawn.input.insert(1, zero.name)
