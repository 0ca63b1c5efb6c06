"""A graph of TensorFlow's without variables: converted, run in a session, and every tensor of it looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import tf_convert, tf_dropout
from .refused import Refused
from .tf_port import Port
from .tf_words import refusing, tensorflow

if TYPE_CHECKING:
    from onnx import ModelProto

DEFAULTED = "PlaceholderWithDefault"
_DOES_NOT_RUN = "the model does not run on its samples"
_NUMBERS = "biuf"


@dataclass(frozen=True)
class Graph:
    """A frozen GraphDef with its inputs and outputs."""

    definition: Any
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def convert(self, opset: int, turned: Sequence[Port]) -> ModelProto:
        """The ONNX model, under TensorFlow's own names. Raises ``Refused``."""
        from tf2onnx.convert import from_graph_def

        return tf_convert.convert(
            from_graph_def,
            opset,
            graph_def=self._flat(),
            name="tensorflow",
            input_names=[port.tensor for port in self.inputs],
            output_names=[port.tensor for port in self.outputs],
            inputs_as_nchw=[port.tensor for port in turned],
        )

    def answers(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The outputs for one sample, which is by tensor. Raises ``Refused``."""
        return _run(self.definition, [port.tensor for port in self.outputs], feeds)

    def inside(self, feeds: Mapping[str, Any], model: ModelProto) -> dict[str, Any]:
        """The tensors of the converted ``model`` that the graph has too, as tf2onnx reads it: functions inlined."""
        flat = self._flat()
        known = _tensors(flat)
        wanted = sorted({name for node in model.graph.node for name in node.output} & known)
        return dict(zip(wanted, _run(flat, wanted, feeds), strict=True)) if wanted else {}

    def _flat(self) -> Any:
        """The graph with its functions inlined and constants folded by TensorFlow's own optimiser.

        tf2onnx asks it for the same, but it leaves graphs of fewer than four nodes alone unless it is told otherwise.
        """
        from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
        from tensorflow.python.grappler import tf_optimizer

        tf = tensorflow()
        config = config_pb2.ConfigProto()
        rewrite = config.graph_options.rewrite_options
        rewrite.optimizers[:] = ["constfold", "function", "dependency"]
        rewrite.min_graph_nodes = -1
        rewrite.experimental_disable_folding_quantization_emulation = True
        with refusing("TensorFlow cannot read this graph"), tf.Graph().as_default():
            tf.import_graph_def(self.definition, name="")
            whole = tf.compat.v1.train.export_meta_graph(graph_def=self.definition)
            ends = meta_graph_pb2.CollectionDef()
            ends.node_list.value.extend(port.tensor for port in (*self.inputs, *self.outputs))
            whole.collection_def["train_op"].CopyFrom(ends)
            flat = tf_optimizer.OptimizeGraph(config, whole)
        tf_dropout.settle(flat)
        return flat


def settings() -> Any:
    """One thread, so that sums are taken in one order."""
    return tensorflow().compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


def nodes(tensors: Iterable[str]) -> list[str]:
    """The names of the nodes that make these tensors, each once."""
    return list(dict.fromkeys(name.partition(":")[0] for name in tensors))


def ready(definition: Any, inputs: Sequence[Port], constants: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The graph with constants and defaults in the place of inputs, and inputs with their shapes; the nodes with a default.

    Raises ``Refused`` for a constant that names no input.
    """
    copy = type(definition)()
    copy.CopyFrom(definition)
    shapes = {port.tensor.partition(":")[0]: port.shape for port in inputs}
    defaulted = []
    for node in copy.node:
        if node.op in {"Placeholder", DEFAULTED} and node.name in constants:
            _constant(node, constants[node.name])
        elif node.op == DEFAULTED:
            _defaulted(node)
            defaulted.append(node.name)
        elif node.name in shapes and node.op == "Placeholder":
            _shape(node, shapes[node.name])
    return copy, defaulted


def refuse_unregistered(definition: Any) -> None:
    """Raise ``Refused`` for the first operator, in the graph or in one of its functions, that TensorFlow does not have."""
    from tensorflow.python.framework import op_def_registry

    functions = {one.signature.name for one in definition.library.function}
    for node in [*definition.node, *(node for one in definition.library.function for node in one.node_def)]:
        if node.op not in functions and op_def_registry.get(node.op) is None:
            why = "this TensorFlow has no such operator: it comes from a library of custom operators"
            raise Refused(f"operator {node.op} (node {node.name}) is unknown", why=why, hint="save the model without it")


def refuse_unknown_constants(constants: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise ``Refused`` for the first constant that is no input."""
    have = sorted(names)
    for name in constants:
        if name not in have:
            raise Refused(f"[source] constants: the model has no input '{name}'", why=f"its inputs: {', '.join(have)}")


def _constant(node: Any, value: Any) -> None:
    tf = tensorflow()
    kind = node.attr["dtype"].type
    with refusing(f"[source] constants: '{node.name}' cannot be {value}"):
        tensor = tf.make_tensor_proto(value, dtype=kind)
    node.op = "Const"
    del node.input[:]
    node.ClearField("attr")
    node.attr["dtype"].type = kind
    node.attr["value"].tensor.CopyFrom(tensor)


def _defaulted(node: Any) -> None:
    kind = node.attr["dtype"].type
    node.op = "Identity"
    node.ClearField("attr")
    node.attr["T"].type = kind


def _shape(node: Any, shape: Sequence[int | None] | None) -> None:
    node.attr.pop("_output_shapes", None)
    if shape is None:
        return
    proto = node.attr["shape"].shape
    proto.Clear()
    for size in shape:
        proto.dim.add(size=-1 if size is None else size)


def _tensors(definition: Any) -> set[str]:
    """The names of all tensors of numbers."""
    import numpy as np

    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
    found = [tensor for one in graph.get_operations() for tensor in one.outputs]
    return {str(tensor.name) for tensor in found if np.dtype(tensor.dtype.as_numpy_dtype).kind in _NUMBERS}


def _run(definition: Any, tensors: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    tf = tensorflow()
    with refusing(_DOES_NOT_RUN, "check [[input]] and [axes] in the recipe"), tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph, config=settings()) as session:
            return list(session.run(list(tensors), dict(feeds)))
