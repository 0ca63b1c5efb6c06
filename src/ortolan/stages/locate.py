"""Finds the first tensor of a model that differs from the reference, and the node that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, expose, external, graphs, sessions, tensors
from .lib.refused import Refused
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

INPUTS = ("model+", "samples", "tensors")
PARAMS = ("rtol", "atol")
OUTPUTS = ()
CPU = True

Sample = Mapping[str, Any]


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Facts: ``compared``: how many tensors both sides have; ``diverging``: how many of them differ; ``first`` of these.

    ``first`` is the first in topological order: ``{"tensor", "node", "op", "inputs", **compare()}``, where ``inputs`` says of
    each tensor that the node reads whether it ``agrees``, ``diverges``, is ``constant`` or ``unknown``. It is ``None`` when no
    tensor differs: then the fusion of nodes makes the difference, which looking at every tensor undoes.
    Raises ``Refused`` when the model does not run like this.
    """
    model = canon.parse(inputs["model"])
    reference = tensors.read_samples(inputs["tensors"])
    common = expose.outputs(model, only=set().union(*(sample.keys() for sample in reference)))
    results = _run(model, inputs["model"].parent, tensors.read_samples(inputs["samples"]))
    compared = {name: _compare(name, reference, results, params) for name in common}
    bad = [name for name in common if not compared[name]["close"]]
    first = _about(model, bad[0], compared) if bad else None
    return {"compared": len(common), "diverging": len(bad), "first": first}


def _run(model: ModelProto, folder: Path, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    try:
        session = sessions.open_session(external.openable(model, folder))
        return [sessions.run(session, sample) for sample in samples]
    except Exception as error:
        reraise_if_transient(error)
        raise Refused("the model does not run with all its tensors in view", why=sessions.first_line(error)) from error


def _compare(name: str, reference: Sequence[Sample], results: Sequence[Sample], params: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [(want[name], got[name]) for want, got in zip(reference, results, strict=True) if name in want]
    return tensors.worst([tensors.compare(want, got, params["rtol"], params["atol"]) for want, got in pairs])


def _about(model: ModelProto, tensor: str, compared: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    maker = next(node for node in model.graph.node if tensor in node.output)
    states = {name: _state(model, name, compared) for name in sorted(graphs.reads(maker))}
    return {"tensor": tensor, "node": maker.name, "op": maker.op_type, "inputs": states, **compared[tensor]}


def _state(model: ModelProto, name: str, compared: Mapping[str, Mapping[str, Any]]) -> str:
    if name in compared:
        return "agrees" if compared[name]["close"] else "diverges"
    constant = graphs.initializers(model.graph) | {out for node in model.graph.node if _is_constant(node) for out in node.output}
    given = {value.name for value in model.graph.input}
    return "constant" if name in constant else "agrees" if name in given else "unknown"


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant"
