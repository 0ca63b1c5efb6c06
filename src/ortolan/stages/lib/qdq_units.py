"""Judges QuantizeLinear and DequantizeLinear together with the operators that they surround, as providers take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import graphs, signature
from .evidence import LEVELS, UNSUPPORTED, Verdict
from .table_judge import DQ, Judge, Q, key, no

if TYPE_CHECKING:
    from onnx import NodeProto

_BIASED = ("Conv", "ConvTranspose", "Gemm")  # the bias must be int32 (xnnpack/nn/conv_base.cc, TryGetConvBiasDtype)
_NO_QDQ = "ship the float model to this provider, or let the CPU compute in int8"


def judge(judge_: Judge, nodes: Sequence[NodeProto]) -> list[Verdict]:
    """The verdicts on the nodes of a main graph, in their order."""
    walk = _Walk(judge_)
    for node in nodes:
        walk.first(node)
    return [walk.second(node) for node in nodes]


class _Walk:
    """Two passes: operators in order of execution, then the Q/DQ nodes that stand around them."""

    def __init__(self, judge_: Judge) -> None:
        self.judge, self.facts, self.table = judge_, judge_.facts, judge_.table
        self.found: dict[int, Verdict] = {}
        self.units: set[int] = set()
        self.taken: set[str] = set()

    def first(self, node: NodeProto) -> None:
        """Judge a node by itself, or as the middle of a unit."""
        if is_qdq(node) and self.table.qdq != "nodes":
            return
        verdict = self._middle(node) if self.table.qdq != "nodes" else self.judge.node(node, taken=self.taken)
        self.found[id(node)] = verdict
        if verdict.level != UNSUPPORTED:
            self.taken.update(name for name in node.output if name)

    def _middle(self, node: NodeProto) -> Verdict:
        fed = [name for name in node.input if name and _is(self.facts.makers.get(name), DQ)]
        if self.table.qdq == "none":
            return self._refused(node) if fed else self.judge.node(node, taken=self.taken)
        quantised = fed and all(_is(reader, Q) for name in node.output for reader in self.facts.readers.get(name, ()))
        if not quantised or any(name in self.facts.outputs for name in node.output):
            return self.judge.node(node, taken=self.taken)
        self.units.add(id(node))
        return self._unit(node)

    def _refused(self, node: NodeProto) -> Verdict:
        return no(f"{node.op_type} reads int8 through {DQ}, and {self.table.provider} takes no Q/DQ", _NO_QDQ)

    def _unit(self, node: NodeProto) -> Verdict:
        pairs = self.table.units.get(key(node))
        if not pairs:
            return no(f"{node.op_type} between {DQ} and {Q} is not taken", f"leave {node.op_type} out of quantisation")
        bias = node.input[2] if node.op_type in _BIASED and len(node.input) > 2 else ""
        if bias and self._raw(bias) != "int32":
            return no(f"the bias '{bias}' of the quantised {node.op_type} is no int32 behind {DQ}", "quantise the bias too")
        scheme = self._scheme(node)
        if scheme not in pairs:
            wanted = " or ".join(pair.replace(",", " with ") for pair in pairs)
            return no(f"{node.op_type} quantised as {scheme.replace(',', ' with ')}; {wanted} is taken", f"quantise as {wanted}")
        behind = {name for name in node.input if self._constant_behind(name)}
        return self.judge.node(node, unit=behind, taken=self.taken)

    def _scheme(self, node: NodeProto) -> str:
        """``activations,weights``; an operator with one input has weights of the activations' type."""
        kinds = [self._raw(name) for name in node.input[:2] if name]
        kinds = [kind for kind in kinds if kind] or ["unknown"]
        out = next((self.facts.types.get(q.output[0], "") for q in self.facts.readers.get(node.output[0], ())), kinds[0])
        return f"{kinds[0]},{kinds[-1]}" if out == kinds[0] else f"{kinds[0]}-{out},{kinds[-1]}"

    def _raw(self, name: str) -> str:
        maker = self.facts.makers.get(name)
        return self.facts.types.get(maker.input[0], "") if maker is not None and _is(maker, DQ) else ""

    def _constant_behind(self, name: str) -> bool:
        maker = self.facts.makers.get(name)
        return maker is not None and _is(maker, DQ) and maker.input[0] in self.facts.constants

    def second(self, node: NodeProto) -> Verdict:
        """The final verdict, with the Q/DQ nodes given to their units and constants to their readers."""
        if not is_qdq(node):
            return self.found[id(node)]
        if self.table.qdq == "none":
            return no(f"{self.table.provider} takes no Q/DQ", _NO_QDQ)
        own = self.found.get(id(node))
        if own is None:
            own = self._with_unit(node) or self._alone(node)
        if _is(node, DQ) and node.input and node.input[0] in self.facts.constants and own.level != UNSUPPORTED:
            return self._with_readers(node, own)
        return own

    def _with_unit(self, node: NodeProto) -> Verdict | None:
        """The verdict of the units that a Q/DQ node belongs to, the weakest of them; ``None`` when it belongs to none."""
        around = self._readers(node) if _is(node, DQ) else [self.facts.makers.get(node.input[0])]
        known = [self.found[id(one)] for one in around if one is not None and id(one) in self.units]
        return _weakest(known, around) if known and len(known) == len(around) else None

    def _alone(self, node: NodeProto) -> Verdict:
        if key(node) in self.table.operators:
            return self.judge.node(node)
        why = f"{node.op_type} is taken only around an operator with {DQ} before and {Q} behind it"
        return no(why, "quantise what stands next to it too, or leave it out")

    def _with_readers(self, node: NodeProto, own: Verdict) -> Verdict:
        readers = [reader for reader in self._readers(node) if id(reader) in self.found]
        weakest = _weakest([self.found[id(reader)] for reader in readers], readers)
        return weakest if weakest.level == UNSUPPORTED else own

    def _readers(self, node: NodeProto) -> list[NodeProto]:
        return self.facts.readers.get(node.output[0], []) if node.output else []


def _weakest(found: Sequence[Verdict], nodes: Sequence[NodeProto | None]) -> Verdict:
    """The weakest verdict, with the node that it is about; the best level for no verdict at all."""
    if not found:
        return Verdict(LEVELS[0])
    place = max(range(len(found)), key=lambda index: LEVELS.index(found[index].level))
    worst, node = found[place], nodes[place]
    if worst.level != UNSUPPORTED or node is None:
        return Verdict(worst.level)
    return no(f"goes with {graphs.label(node)}: {worst.why}", worst.fix)


def is_qdq(node: NodeProto) -> bool:
    """Whether a node is QuantizeLinear or DequantizeLinear."""
    return _is(node, Q) or _is(node, DQ)


def _is(node: NodeProto | None, op: str) -> bool:
    return (
        node is not None and node.op_type == op and signature.domain(node.domain) in {signature.DEFAULT_DOMAIN, "com.microsoft"}
    )
