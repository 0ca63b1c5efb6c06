"""The names of the classes that a model's numbers stand for, so that a device can tell them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

KEY = "ortolan.classes"
"""Of a model's metadata: JSON, the names by number of each output that has some, ``{"label": ["no", "yes"]}``."""


def metadata(model: ModelProto) -> dict[str, str]:
    """The entry of a model's metadata; none where no output is the number of a text."""
    outputs = {info.name for info in model.graph.output}
    found = {node.output[0]: names for node in model.graph.node if node.output[0] in outputs and (names := _names(node))}
    return {KEY: json.dumps(found, sort_keys=True, ensure_ascii=False)} if found else {}


def _names(node: NodeProto) -> list[str]:
    """The texts that a LabelEncoder turns to 0, 1, 2 and so on; none of other nodes."""
    if (node.domain, node.op_type) != ("ai.onnx.ml", "LabelEncoder"):
        return []
    told = {one.name: one for one in node.attribute}
    if not {"keys_strings", "values_int64s"} <= told.keys():
        return []
    names = [one.decode(errors="replace") for one in told["keys_strings"].strings]
    return names if list(told["values_int64s"].ints) == list(range(len(names))) else []
