"""Which nodes of a model QNN took in one session, told for every node of the main graph, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import assignment, quant_nodes, signature
from .evidence import BUILT, RUNS, UNSUPPORTED, Verdict
from .qnn_child import PROVIDER

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_MARK = re.compile(rf"{assignment.MAIN}\.(\d+)\.")
_MARKED = re.compile(rf"({assignment.MAIN}|{assignment.INSIDE})\.(\d+)\.")
_BESIDE = frozenset({"Transpose", quant_nodes.Q, quant_nodes.DQ})  # what ONNX Runtime itself adds around a provider's nodes
_RANK = 5  # measured: HTP takes Transpose and Add of rank 5 and refuses them at rank 6
_ODD = frozenset({"float64", "bfloat16", "str", "complex64", "complex128"})  # measured, but for the complex ones: mostly refused
_RENAME = "give the function a name that no operator of ONNX has"
_NO_OPERATOR = re.compile(r"Operators of type `[^`]*` are not supported by QNN EP")

Placed = Sequence[tuple[str, str, str]]


class Verdicts:
    """The verdicts on a model from where the session of its ``marked`` copy put nodes: ``(provider, node, operator)`` each.

    ``error``: why the samples did not go through, empty where they did. ``reasons``: why QNN refused a node, by its mark.
    """

    def __init__(self, model: ModelProto, placed: Placed, *, error: str, reasons: Mapping[str, str]) -> None:
        self._model = quant_nodes.inferred(model)
        self._nodes = list(model.graph.node)
        self._owners = _owners(placed)
        self._others = {op for name, mark, op in placed if name != PROVIDER and not _MARKED.search(mark)} - _BESIDE
        self._taken = Verdict(BUILT, f"compiled, but not run: {error}") if error else Verdict(RUNS)
        self._reasons = {int(match[1]): why for mark, why in reasons.items() if (match := _MARK.search(mark))}
        graph = self._model.graph
        self._infos = {info.name: info for info in (*graph.input, *graph.value_info, *graph.output)}

    def all(self) -> list[Verdict]:
        """One for each node, in order. ONNX Runtime runs what is left after folding constants and cancelling transposes.

        A node that is gone costs nothing at run time; it counts as its readers do, which then hold what became of it.
        """
        readers = _readers(self._nodes)
        found: dict[int, Verdict] = {}
        for index in reversed(range(len(self._nodes))):
            found[index] = self._own(index) or self._gone(index, [found[user] for user in readers[index] if user in found])
        best = next((one for one in found.values() if one.level == self._taken.level), Verdict(UNSUPPORTED, "a value"))
        return [best if node.op_type == "Constant" else found[index] for index, node in enumerate(self._nodes)]

    def _own(self, index: int) -> Verdict | None:
        owners = self._owners.get(index)
        if owners is None:
            return None
        if is_mistaken(self._nodes[index]):
            return Verdict(UNSUPPORTED, f"QNN takes it for ONNX's own {self._nodes[index].op_type} and computes that", _RENAME)
        return self._taken if owners == {PROVIDER} else self._refused(index)

    def _gone(self, index: int, readers: Sequence[Verdict]) -> Verdict:
        node = self._nodes[index]
        if self._others - {node.op_type} and node.op_type not in _BESIDE:  # what ONNX Runtime put in its place may be among them
            others = ", ".join(sorted(self._others))
            return Verdict(UNSUPPORTED, f"ONNX Runtime replaced it by other nodes, and the CPU took such: {others}")
        if not readers:  # a result of the model: what makes it decides
            made = [self._own(user) for user in self._makers(node)]
            readers = [verdict for verdict in made if verdict] or [self._taken if self._owners else Verdict(UNSUPPORTED)]
        worst = next((verdict for verdict in readers if verdict.level == UNSUPPORTED), None)
        return Verdict(UNSUPPORTED, "ONNX Runtime puts it into nodes that QNN does not take") if worst else readers[0]

    def _makers(self, node: NodeProto) -> list[int]:
        return [index for index, other in enumerate(self._nodes) if {*other.output} & {*node.input}]

    def _refused(self, index: int) -> Verdict:
        node = self._nodes[index]
        known = [self._infos[name] for name in (*node.input, *node.output) if name in self._infos]
        unfit = next((found for info in known if (found := _unfit(self._model, info))), None)
        if unfit:
            return Verdict(UNSUPPORTED, *unfit)
        why = self._reasons.get(index, "QNN left it to the CPU")
        if _NO_OPERATOR.search(why):
            return Verdict(UNSUPPORTED, f"QNN has no operator for {node.op_type}", "replace it by operators that QNN has")
        why = assignment.original(self._model, why)
        odd = next((info for info in known if signature.type_name(info.type) in _ODD), None)
        if odd:
            return Verdict(UNSUPPORTED, f"'{odd.name}' is {signature.type_name(odd.type)}: {why}", "cast it to float32")
        return Verdict(UNSUPPORTED, why)


def _unfit(model: ModelProto, info: ValueInfoProto) -> tuple[str, str] | None:
    """Why QNN takes no node that reads or writes a tensor of this shape, and what helps."""
    shape = signature.shape(info) or []
    dynamic = [axis for axis in shape if not isinstance(axis, int)]
    if dynamic:
        return _dynamic(model, info.name, dynamic[0])
    if len(shape) > _RANK:
        return f"'{info.name}' has {len(shape)} axes; HTP takes {_RANK} at most", f"reshape it to {_RANK} axes or fewer"
    return None


def is_mistaken(node: NodeProto) -> bool:
    """Whether QNN, which does not look at domains, would take this node for the operator of ONNX that has its name.

    Measured with onnxruntime-qnn 2.7.0: a local function ``Relu`` that negates ran as ONNX's Relu.
    """
    from onnx import defs

    return node.domain not in {"", "ai.onnx", "com.microsoft"} and bool(defs.has(node.op_type))


def _owners(placed: Placed) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for provider, name, _ in placed:
        match = _MARK.search(name)
        if match:
            found.setdefault(int(match[1]), set()).add(provider)
    return found


def _readers(nodes: Sequence[NodeProto]) -> list[list[int]]:
    users: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            users.setdefault(name, []).append(index)
    return [[user for name in node.output for user in users.get(name, ())] for node in nodes]


def _dynamic(model: ModelProto, tensor: str, axis: str | None) -> tuple[str, str]:
    """Why and fix of a tensor whose size is not known; only axes of the model's inputs can be given one."""
    given = {name for info in signature.inputs(model) for name in signature.shape(info) or [] if isinstance(name, str)}
    if axis in given:
        return (
            f"axis '{axis}' of '{tensor}' is dynamic; QNN takes fixed shapes only",
            f"give {axis} a size in the target's [shapes]",
        )
    return f"the size of '{tensor}' is known only when the model runs; QNN takes fixed shapes only", ""


def unopened(model: ModelProto, why: str, fix: str = "") -> list[Verdict]:
    """All nodes unsupported for one reason."""
    return [Verdict(UNSUPPORTED, why, fix) for _ in model.graph.node]
