"""Which nodes a provider was given and ran in one session, told for every node of the main graph."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import graphs, sessions, signature
from .evidence import REGISTERED, RUNS, UNSUPPORTED, Verdict

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ModelProto, NodeProto

RECORD: Mapping[str, str] = {"session.record_ep_graph_assignment_info": "1"}
"""Session config that makes ONNX Runtime 1.24.1 and later note which provider takes which node, before any fusion."""

MAIN, INSIDE, FUNCTION = "main", "inside", "function"
_MARK = re.compile(rf"({MAIN}|{INSIDE}|{FUNCTION})\.(\d+)\.")
_KERNEL = "_kernel_time"

Names = Mapping[str, Sequence[str]]
Mark = tuple[str, int]


@dataclass(frozen=True)
class Seen:
    """What one session of a ``marked`` model showed; each ``{provider: names}``.

    ``placed``: nodes that a provider was given, ``None`` where ONNX Runtime is older than 1.24.1 and cannot tell.
    ``executed``: kernels that the profiler saw running; a provider that fuses nodes runs one kernel under a name of its own.
    """

    placed: Names | None = None
    executed: Names = field(default_factory=dict)


def marked(model: ModelProto) -> ModelProto:
    """A copy whose nodes bear the number of the node of the main graph, or of the function, to which they belong.

    ONNX Runtime reports names only: nodes may have none or share one, also with nodes of nested graphs, and where it puts a
    function's nodes in place of its call it keeps their names behind a prefix.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    for index, node in enumerate(copy.graph.node):
        node.name = f"{MAIN}.{index}."
        _mark(_nested([node]), f"{INSIDE}.{index}.")
    for index, function in enumerate(copy.functions):
        _mark([*function.node, *_nested(function.node)], f"{FUNCTION}.{index}.")
    return copy


def placed(session: onnxruntime.InferenceSession) -> dict[str, list[str]] | None:
    """``{provider: names of the nodes that it was given}``; None before ONNX Runtime 1.24.1. Wants ``RECORD`` in the session.

    Not in it, measured with 1.24.1 and 1.31.1: float16 nodes for which the CPU has only a float32 kernel.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    found: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, []).extend(node.name for node in part.get_nodes())
    return found


def executed(profile: Path) -> dict[str, list[str]]:
    """``{provider: names of the kernels that ran}`` from the profile that ``end_profiling`` left. ONNX Runtime 1.17.3 on."""
    found: dict[str, list[str]] = {}
    for event in json.loads(profile.read_text()):
        provider = event.get("args", {}).get("provider")
        if event.get("cat") == "Node" and provider and event["name"].endswith(_KERNEL):
            found.setdefault(provider, []).append(event["name"].removesuffix(_KERNEL))
    return found


def original(model: ModelProto, text: str) -> str:
    """A message about a ``marked`` model with the nodes' own names in it."""

    def name(mark: re.Match[str]) -> str:
        kind, index = mark[1], int(mark[2])
        if kind == FUNCTION:
            return f"in {model.functions[index].name}"
        return graphs.label(model.graph.node[index]).partition(" ")[2].strip("'")

    return re.sub(rf"{_MARK.pattern}(?:\d+)?", name, text)


def verdicts(model: ModelProto, provider: str, seen: Seen) -> list[Verdict]:
    """One for each node of the main graph of ``model``, after a session that ran. Nothing that was not seen ``runs``.

    A node runs on ``provider`` where only that was given it by name and ran a kernel, or where no other ran any kernel.
    A call of a local function runs there when that holds for all nodes of the function, at all its calls; an operator that ONNX
    Runtime replaced by the nodes of its definition, when it holds for all such nodes.
    """
    if provider not in seen.executed:
        return [Verdict(UNSUPPORTED, _instead(provider, seen)) for _ in model.graph.node]
    if set(seen.executed) == {provider}:
        return [Verdict(RUNS) for _ in model.graph.node]
    takers = _Takers(model, seen)
    return with_constants(model, [_verdict(provider, takers, index) for index in range(len(model.graph.node))])


def with_constants(model: ModelProto, found: Sequence[Verdict]) -> list[Verdict]:
    """A ``Constant`` is a value and computes nothing: it gets the best level of all nodes."""
    order = (RUNS, REGISTERED, UNSUPPORTED)
    best = min((one.level for one in found), key=order.index, default=UNSUPPORTED)
    pairs = zip(model.graph.node, found, strict=True)
    return [Verdict(best) if node.op_type == "Constant" and best != UNSUPPORTED else one for node, one in pairs]


def _instead(provider: str, seen: Seen) -> str:
    if seen.placed and provider in seen.placed:
        return "the provider was given nodes, but ran no kernel"
    return f"the session lists the provider, which took no node: all ran on {_list(seen.executed)}"


def _verdict(provider: str, takers: _Takers, index: int) -> Verdict:
    found = takers.of(index)
    if found == {provider}:
        return Verdict(RUNS)
    if not found:
        return Verdict(UNSUPPORTED, "not among the nodes that the provider is known to have taken")
    inside = takers.by_mark.get((INSIDE, index), set())
    return Verdict(UNSUPPORTED, f"went to {_list(found)}" + (f"; nodes inside it to {_list(inside)}" if inside else ""))


class _Takers:
    """Which providers took the nodes of a model, by mark; those without a mark stand for definitions put in place of a node."""

    def __init__(self, model: ModelProto, seen: Seen) -> None:
        self.model = model
        self.functions = {(function.domain, function.name): index for index, function in enumerate(model.functions)}
        self.by_mark: dict[Mark, set[str]] = {}
        self.unmarked: set[str] = set()
        for names in (seen.placed or {}, seen.executed):
            for provider, each in names.items():
                self._note(provider, each, fused=names is seen.executed and provider in (seen.placed or {}))

    def _note(self, provider: str, names: Iterable[str], *, fused: bool) -> None:
        for name in names:
            mark = _MARK.search(name)
            if mark:
                self.by_mark.setdefault((mark[1], int(mark[2])), set()).add(provider)
            elif not fused or provider == sessions.CPU:
                self.unmarked.add(provider)

    def of(self, index: int) -> set[str]:
        node = self.model.graph.node[index]
        if (MAIN, index) in self.by_mark:
            return self.by_mark[MAIN, index]
        if (node.domain, node.op_type) in self.functions:
            called = self._called(node, set())
            return set().union(*(self.by_mark.get((FUNCTION, one), set()) for one in called))
        return self.unmarked if _has_definition(self.model, node) else set()

    def _called(self, node: NodeProto, known: set[int]) -> set[int]:
        """The functions that a call leads to, through other functions too."""
        index = self.functions.get((node.domain, node.op_type))
        if index is not None and index not in known:
            known.add(index)
            function = self.model.functions[index]
            for inner in (*function.node, *_nested(function.node)):
                self._called(inner, known)
        return known


def _has_definition(model: ModelProto, node: NodeProto) -> bool:
    """Whether the operator's standard defines it by other operators, which ONNX Runtime may put in its place."""
    from onnx import defs

    opset = signature.opsets(model).get(signature.domain(node.domain), 1)
    try:
        schema: Any = defs.get_schema(node.op_type, opset, node.domain)  # onnx's type stubs lack both properties
    except defs.SchemaError:
        return True  # an operator of ONNX Runtime's own may have one as well
    return bool(schema.has_function or schema.has_context_dependent_function)


def _nested(nodes: Iterable[NodeProto]) -> list[NodeProto]:
    inner = [graph for node in nodes for top in graphs.subgraphs(node) for graph in graphs.graphs(top)]
    return [node for graph in inner for node in graph.node]


def _mark(nodes: Iterable[NodeProto], prefix: str) -> None:
    for count, node in enumerate(nodes):
        node.name = f"{prefix}{count}"


def _list(providers: Iterable[str]) -> str:
    return ", ".join(sorted(providers))
