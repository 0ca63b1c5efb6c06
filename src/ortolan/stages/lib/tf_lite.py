"""A TFLite model: converted by tf2onnx, run by LiteRT's own interpreter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import tf_convert, tf_gemm, tf_lite_file
from .tf_port import Port, fitted
from .tf_words import refusing, tensorflow

if TYPE_CHECKING:
    from onnx import ModelProto

_WHOLE = "is the file whole? Compare its size and checksum with where it came from"
_ACTIVATIONS = frozenset({"Clip", "Relu", "Tanh"})


@dataclass(frozen=True)
class Lite:
    """A file, its inputs and outputs."""

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def convert(self, opset: int, turned: Sequence[Port]) -> ModelProto:
        """The ONNX model, under the file's own names. Raises ``Refused``."""
        tensorflow()
        from tf2onnx.convert import from_tflite

        nchw = [port.tensor for port in turned]
        model = tf_convert.convert(from_tflite, opset, tflite_path=str(self.path), inputs_as_nchw=nchw)
        tf_gemm.join(model)
        return model

    def answers(self, feeds: Mapping[str, Any]) -> list[Any]:
        """What LiteRT computes with its own kernels, one thread. Raises ``Refused``."""
        found = _run(self.path, feeds, every=False)
        return [found[port.tensor] for port in self.outputs]

    def inside(self, feeds: Mapping[str, Any], model: ModelProto) -> dict[str, Any]:
        """Every tensor that LiteRT keeps, by its name in the converted ``model``.

        An activation that is a part of LiteRT's operator is a node of its own there: the tensor's name is that before it. Where
        the tensor is quantised, it is that behind it.
        """
        found, moved = _run(self.path, feeds, every=True), _activated(model)
        made = {name: node.op_type for node in model.graph.node for name in node.output}
        fused = {name for name in tf_lite_file.fused(self.path) if made.get(name) != "QuantizeLinear"}
        named = {moved.get(name, "") if name in fused else name: value for name, value in found.items()}
        return {name: value for name, value in named.items() if name in made}


def read(path: Path, how: Mapping[str, Any], recipe: Sequence[Mapping[str, Any]]) -> tuple[Lite, dict[str, Any]]:  # noqa: ARG001
    """The model in a file; facts: ``quantised``, how many tensors are, by type, where some are. Raises ``Refused``."""
    opened = _interpreter(path)  # its verifier reads the whole file before anything else does
    with refusing(f"LiteRT cannot run {path.name}", _WHOLE):
        try:
            opened.allocate_tensors()
        except RuntimeError:
            tf_lite_file.refuse_custom(path)
            raise
    names = _public(opened)
    inputs = fitted([_port(one, names) for one in opened.get_input_details()], recipe)
    outputs = [_port(one, names) for one in opened.get_output_details()]
    low = _quantised(opened)
    return Lite(path, tuple(inputs), tuple(outputs)), {"quantised": low} if low else {}


def _quantised(opened: Any) -> dict[str, int]:
    """How many tensors have a scale, by type, those of biases apart."""
    import numpy as np

    low = [one for one in opened.get_tensor_details() if len(one["quantization_parameters"]["scales"])]
    kinds = Counter(np.dtype(one["dtype"]).name for one in low)
    return {kind: kinds[kind] for kind in sorted(kinds) if kind not in {"int32", "int64"}}


def _public(opened: Any) -> dict[str, str]:
    """The names that the only signature gives to tensors."""
    signatures = opened.get_signature_list()
    if len(signatures) != 1:
        return {}
    runner = opened.get_signature_runner(next(iter(signatures)))
    sides = (runner.get_input_details(), runner.get_output_details())
    return {str(one["name"]): key for side in sides for key, one in side.items()}


def _port(one: Mapping[str, Any], names: Mapping[str, str]) -> Port:
    import numpy as np

    shape = one["shape_signature"] if len(one["shape_signature"]) else one["shape"]
    axes = tuple(None if size < 0 else int(size) for size in shape)
    kind = np.dtype(one["dtype"])
    return Port(names.get(one["name"], one["name"]), one["name"], "str" if kind.kind in "SUO" else kind.name, axes)


def _interpreter(path: Path, *, every: bool = False) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # XNNPACK keeps no tensors inside, and sums otherwise
    with refusing(f"LiteRT cannot open {path.name}", _WHOLE):
        return Interpreter(
            str(path), num_threads=1, experimental_op_resolver_type=kernels, experimental_preserve_all_tensors=every
        )


def _run(path: Path, feeds: Mapping[str, Any], *, every: bool) -> dict[str, Any]:
    """The outputs, or every tensor, by LiteRT's names."""
    opened = _interpreter(path, every=every)
    with refusing("the model does not run on its samples", "check [[input]] and [axes] in the recipe"):
        for one in opened.get_input_details():
            if list(one["shape"]) != list(feeds[one["name"]].shape):
                opened.resize_tensor_input(one["index"], feeds[one["name"]].shape, strict=False)
        opened.allocate_tensors()
        for one in opened.get_input_details():
            opened.set_tensor(one["index"], feeds[one["name"]])
        opened.invoke()
        told = opened.get_tensor_details() if every else opened.get_output_details()
        return {one["name"]: value for one in told if (value := _value(opened, one["index"])) is not None}


def _value(opened: Any, index: int) -> Any:
    """A tensor's values; None for one that holds none, such as a scratch tensor."""
    try:
        return opened.get_tensor(index)
    except ValueError:
        return None


def _activated(model: ModelProto) -> dict[str, str]:
    """``{tensor: what the activation behind it makes}``, where that is all that reads it."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return {name: nodes[0].output[0] for name, nodes in readers.items() if len(nodes) == 1 and nodes[0].op_type in _ACTIVATIONS}
