"""What only the flatbuffer of a TFLite model tells: custom operators, and activations that are parts of other operators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .refused import Refused
from .tf_words import tensorflow


def refuse_custom(path: Path) -> None:
    """Raise ``Refused`` with the custom operators and what they make, where there are any that LiteRT does not have."""
    model = _read(path)
    found = {name: ", ".join(outputs) for op, outputs in _operators(model) if (name := _custom(model, op))}
    if found:
        named = ", ".join(f"{name} (it makes {outputs})" for name, outputs in found.items())
        why = "they are code of the application that runs the model; neither LiteRT nor ONNX has them"
        hint = "convert the model again with LiteRT's own operators only (TFLITE_BUILTINS); the rest is for the application"
        raise Refused(f"the model has custom operators: {named}", why=why, hint=hint)


def fused(path: Path) -> Iterator[str]:
    """The tensors that come out of an operator with an activation in it: in ONNX that is a node of its own."""
    for op, outputs in _operators(_read(path)):
        if _activation(op):
            yield from outputs


def _read(path: Path) -> Any:
    """The file by tf2onnx's schema of it; LiteRT has verified it before."""
    tensorflow()
    from tf2onnx.tflite.Model import Model

    return Model.GetRootAsModel(bytearray(path.read_bytes()), 0)


def _operators(model: Any) -> Iterator[tuple[Any, list[str]]]:
    """Every operator of every graph, with the names of what it makes."""
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for op in map(graph.Operators, range(graph.OperatorsLength())):
            yield op, [graph.Tensors(op.Outputs(index)).Name().decode() for index in range(op.OutputsLength())]


def _custom(model: Any, op: Any) -> str:
    code = model.OperatorCodes(op.OpcodeIndex()).CustomCode()
    return code.decode(errors="replace") if code else ""


def _activation(op: Any) -> bool:
    """Whether an operator's options hold a fused activation other than NONE."""
    from tf2onnx.tflite_utils import get_options_class, lookup_enum

    table = op.BuiltinOptions()
    kind: Any = get_options_class(lookup_enum(op.BuiltinOptionsType(), "BuiltinOptions")) if table is not None else None
    if not hasattr(kind, "FusedActivationFunction"):
        return False
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return bool(options.FusedActivationFunction())
