"""Asks TensorRT-RTX's ONNX parser about every node of a model's main graph, and about what is left when it refuses some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import graphs
from .transient import reraise_if_transient
from .weightless import without_weights

if TYPE_CHECKING:
    from onnx import ModelProto, TypeProto

_PLUGIN = "Plugin not found"


@dataclass(frozen=True)
class Answer:
    """What the parser said of one graph: its refused nodes with reasons, and the groups that it would take next to them."""

    whole: bool
    refused: dict[int, str]
    groups: list[list[int]]
    general: str


def verdicts(trt: Any, model: ModelProto) -> list[str]:
    """For each node of the main graph why the parser refuses it; empty where it takes it.

    After one refusal the parser only proposes the others, so each group that it proposes is asked about by itself, as a model
    of its own. A node that cannot be asked about, since a tensor before it has no known type, counts as refused.
    """
    found = [""] * len(model.graph.node)
    answer = ask(trt, model.SerializeToString(), len(found))
    if answer.whole:
        return found
    parts = _Parts(model)
    waiting = _split(found, answer, range(len(found)))
    while waiting:
        group = parts.askable(waiting.pop(), found)
        if group:
            waiting += _split(found, ask(trt, parts.model(group), len(group)), group)
    return found


def _split(found: list[str], answer: Answer, group: Sequence[int]) -> list[list[int]]:
    """Note what was refused in ``group``; the smaller groups to ask about next."""
    if answer.whole:
        return []
    for index, why in answer.refused.items():
        found[group[index]] = why
    if answer.refused:
        return [[group[index] for index in each] for each in answer.groups]
    if len(group) == 1:
        found[group[0]] = answer.general
        return []
    half = len(group) // 2  # something beside the nodes is at fault, such as a weight or an input
    return [list(group[:half]), list(group[half:])]


def ask(trt: Any, model: bytes, count: int) -> Answer:
    """Give the parser a model of ``count`` nodes. Everything is made anew: errors leak from one use to the next."""
    logger = _silent(trt)
    network = trt.Builder(logger).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    whole = bool(parser.supports_model_v2(model))
    groups = [sorted(parser.get_subgraph_nodes(index)) for index in range(parser.num_subgraphs)]
    said = [parser.get_error(index) for index in range(parser.num_errors)]
    left = set(range(count)) - {index for group in groups for index in group}
    reasons = {error.node(): _why(error) for error in reversed(said)}
    general = "; ".join(dict.fromkeys(map(_why, said))) or "refused without a reason"
    refused = {index: reasons.get(index, general) for index in sorted(left)}
    return Answer(whole, {} if whole else refused, groups, general)


def _silent(trt: Any) -> Any:
    class Silent(trt.ILogger):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            """The parser's errors say the same."""

    return Silent()


def _why(error: Any) -> str:
    """The parser's own words; where they are a bare condition, its error code and the check that failed."""
    text = " ".join(error.desc().split()).removeprefix("Assertion failed: ")
    if _PLUGIN in text:
        return f"no such operator in TensorRT-RTX: {error.node_operator()} ({text})"
    return f"{error.code().name} in {error.func()}" if text in {"", "false"} else text


class _Parts:
    """Cuts models out of a model's main graph."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        inferred = _inferred(model)
        infos = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
        self._types: dict[str, TypeProto] = {info.name: info.type for info in infos if info.type.WhichOneof("value")}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._constants = {n.output[0]: n for n in model.graph.node if n.op_type == "Constant" and n.output}
        self._reads = [graphs.reads(node) for node in model.graph.node]

    def askable(self, group: Sequence[int], found: list[str]) -> list[int]:
        """The nodes of a group that can be asked about; the others are noted as refused."""
        left = list(group)
        while True:
            outside = self._outside(left)
            untyped = {name for name in outside if name not in self._types}
            bad = {index: min(self._reads[index] & untyped) for index in left if self._reads[index] & untyped}
            for index, name in bad.items():
                found[index] = f"not asked: the type of its input '{name}' is unknown where a refused node stands before it"
            left = [index for index in left if index not in bad]
            if not bad:
                return left

    def _outside(self, group: Iterable[int]) -> set[str]:
        """What a group reads that neither itself nor a constant makes."""
        group = list(group)
        made = {name for index in group for name in self._model.graph.node[index].output}
        wanted = {name for index in group for name in self._reads[index]}
        return wanted - made - self._weights.keys() - self._constants.keys()

    def model(self, group: Sequence[int]) -> bytes:
        """A model of these nodes, in this order, with what they need; constants made elsewhere become initializers."""
        whole = self._model
        part = type(whole)(ir_version=whole.ir_version, opset_import=whole.opset_import, functions=whole.functions)
        part.graph.name = "part"
        nodes = [whole.graph.node[index] for index in group]
        made = {name for node in nodes for name in node.output if name}
        wanted = {name for index in group for name in self._reads[index]}
        part.graph.node.extend(nodes)
        part.graph.initializer.extend(self._weights[name] for name in sorted(wanted & self._weights.keys()))
        part.graph.initializer.extend(self._values(sorted((wanted & self._constants.keys()) - made)))
        for name in sorted(self._outside(group)):
            part.graph.input.add(name=name, type=self._types[name])
        self._add_outputs(part, made)
        return bytes(part.SerializeToString())

    def _values(self, names: Iterable[str]) -> Iterable[Any]:
        """Constant nodes as initializers, so that they stay values."""
        from onnx import numpy_helper

        for name in names:
            attribute = self._constants[name].attribute[0]
            if attribute.name == "value":
                tensor = type(attribute.t)()
                tensor.CopyFrom(attribute.t)
                tensor.name = name
                yield tensor
            else:
                yield numpy_helper.from_array(_array(attribute), name)

    def _add_outputs(self, part: ModelProto, made: set[str]) -> None:
        """What no other node of the part reads, and the outputs of the whole model, are the part's outputs."""
        read = {name for node in part.graph.node for name in graphs.reads(node)}
        ends = {value.name for value in self._model.graph.output}
        for name in sorted(made - (read - ends)):
            value = part.graph.output.add(name=name)
            if name in self._types:
                value.type.CopyFrom(self._types[name])


def _array(attribute: Any) -> Any:
    import numpy as np
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    kind = np.float32 if attribute.name.startswith("value_float") else np.int64
    return np.array(value, None if attribute.name.startswith("value_string") else kind)


def _inferred(model: ModelProto) -> ModelProto:
    from onnx import shape_inference

    try:
        return without_weights(lambda whole: shape_inference.infer_shapes(whole, data_prop=True), model)
    except Exception as error:  # noqa: BLE001  without types, more nodes cannot be asked about
        reraise_if_transient(error)
        return model
