"""Calls tf2onnx, and does not believe it: an operator that it passes on unconverted is a refusal that names the node."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import graphs
from .refused import Refused
from .tf_words import heard, line, refusing

if TYPE_CHECKING:
    from onnx import ModelProto

NEWEST = 20
"""The newest opset that tf2onnx 1.17 writes; newer ones are reached by ONNX's own converter."""
_UNKNOWN = re.compile(r"Tensorflow op \[(?P<node>.*): (?P<op>\S+)\] is not supported")
_FAILED = re.compile(r"Failed to convert node '(?P<node>.*?)'.*?OP=(?P<op>\S+)", re.DOTALL)
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
_HINT = "replace it before saving, or export to .onnx yourself and build that"


def convert(call: Callable[..., Any], opset: int, **given: Any) -> ModelProto:
    """The model that tf2onnx's ``call`` makes. Raises ``Refused`` for operators that it cannot convert, and for drawn numbers."""
    _settle_order()
    with heard("tf2onnx") as said, refusing("tf2onnx cannot convert this model", _HINT):
        try:
            model: ModelProto = call(opset=min(opset, NEWEST), **given)[0]
        except Exception as error:
            _refuse_named(said, line(error))
            raise
    _refuse_named(said, "")
    _refuse_foreign(model)
    _refuse_random(model)
    return model


def _settle_order() -> None:
    """Let nothing depend on what was converted before, or on where nodes lie in memory: tf2onnx keeps them in sets.

    Without this, which of several equal nodes stays differs from run to run (tf2onnx 1.17; in a recurrent graph each time).
    """
    from tf2onnx import graph, utils

    utils.INTERNAL_NAME = 1
    graph.Node.__hash__ = _by_name


def _by_name(node: Any) -> int:
    return hash(node.name)


def _refuse_named(said: Sequence[str], more: str) -> None:
    """What tf2onnx wrote to its log, where a name stands in it; it goes on after an error."""
    lost = [found for text in said if (found := _UNKNOWN.search(text))]
    if lost:
        _refuse([(found["op"], found["node"]) for found in lost])
    for text in said:
        if found := _FAILED.search(text):
            what = f"operator {found['op']} (node {found['node']}) cannot be converted to ONNX"
            raise Refused(what, why=" ".join(text.splitlines()[-1].split()) or more, hint=_HINT)


def _refuse(lost: Sequence[tuple[str, str]]) -> None:
    named = [f"{op} (node {node})" for op, node in dict(reversed(lost)).items()]
    what = f"operator {named[0]} has no counterpart in ONNX"
    also = f"; neither have {', '.join(named[1:])}" if named[1:] else ""
    raise Refused(f"{what}{also}", why="tf2onnx has no converter for it", hint=_HINT)


def _refuse_foreign(model: ModelProto) -> None:
    """Operators that are none of ONNX's."""
    from onnx import defs

    versions = {entry.domain: entry.version for entry in model.opset_import}
    lost = [
        (node.op_type, node.name)
        for node in graphs.nodes(model)
        if not defs.has(node.op_type, max_inclusive_version=versions.get(node.domain, 1), domain=node.domain)
    ]
    if lost:
        _refuse(lost)


def _refuse_random(model: ModelProto) -> None:
    drawn = next((node for node in graphs.nodes(model) if node.op_type in _RANDOM), None)
    if drawn is not None:
        hint = "save it for inference; where an input switches dropout, say [source] constants = { keep_prob = 1.0 }, by its name"
        raise Refused("the model draws random numbers", why=f"{drawn.op_type} (node {drawn.name}) is left in it", hint=hint)
