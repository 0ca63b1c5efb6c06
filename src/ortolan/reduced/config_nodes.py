"""Which nodes of a model are the ones that lack something."""

from __future__ import annotations

from collections.abc import Iterable

from .config import Lack
from .config_types import CUSTOM, Types
from .ort_file import Node


def concerned(lack: Lack, nodes: Iterable[Node]) -> list[str]:
    """The names of the nodes, in the model's order: all of the operator, or those that have one of the missing types."""
    of = [node for node in nodes if node.operator == lack.operator]
    typed = [node for node in of if lack.kind != "types" or lack.types is None or _has(node, lack.types)]
    return [node.name for node in typed or of]


def _has(node: Node, missing: Types) -> bool:
    return any(_type(node, place) in types for place, types in missing.items())


def _type(node: Node, place: str) -> str:
    """What a place of a configuration says of this node; OneHot's is its types of values, depth and indices in that order."""
    if place == CUSTOM:
        return " ".join(node.inputs[index] for index in (0, 2, 1)) if len(node.inputs) > 2 else ""
    side, _, index = place.partition(" ")
    of = node.inputs if side == "inputs" else node.outputs
    return of[int(index)] if int(index) < len(of) else ""
