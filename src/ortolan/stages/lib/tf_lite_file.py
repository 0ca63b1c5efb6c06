"""What a ``.tflite`` flatbuffer tells by itself: its operators, custom ones, quantised tensors, activations that are fused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .refused import Refused
from .tf_words import refusing

_LOW = frozenset({"int8", "uint8", "int16", "int4"})
_WHOLE = "is the file whole? Compare its size and checksum with where it came from"


class LiteFile:
    """The first graph of a file, read by tf2onnx's schema of it."""

    def __init__(self, path: Path) -> None:
        """Raises ``Refused`` for what does not parse."""
        from tf2onnx.tflite_utils import read_tflite_model

        with refusing(f"{path.name} is no whole TFLite model", _WHOLE):
            self.graphs, self.codes, self.model, _ = read_tflite_model(str(path))
            self.graph = self.graphs[0]
            self.operators = [self.graph.Operators(index) for index in range(self.graph.OperatorsLength())]
            self.tensors = [self.graph.Tensors(index) for index in range(self.graph.TensorsLength())]
            self.names = [tensor.Name().decode() for tensor in self.tensors]

    def refuse_custom(self) -> None:
        """Raise ``Refused`` with the custom operators and what they make: neither LiteRT nor ONNX has them."""
        found = {name: self._makes(op) for op in self.operators if (name := self._custom(op))}
        if found:
            named = ", ".join(f"{name} (it makes {makes})" for name, makes in found.items())
            why = "they are code of the application that runs the model; neither LiteRT nor ONNX has them"
            hint = "convert the model again with LiteRT's own operators only (TFLITE_BUILTINS); the rest is for the application"
            raise Refused(f"the model has custom operators: {named}", why=why, hint=hint)

    def quantised(self) -> dict[str, int]:
        """How many tensors are quantised, by type; empty for a float model."""
        from onnx import TensorProto
        from tf2onnx.tflite_utils import map_tflite_dtype_to_onnx

        scaled = [each for each in self.tensors if each.Quantization() is not None and each.Quantization().ScaleLength()]
        kinds = [TensorProto.DataType.Name(map_tflite_dtype_to_onnx(each.Type())).lower() for each in scaled]
        return dict(sorted(Counter(kind for kind in kinds if kind in _LOW).items()))

    def fused(self) -> Iterator[str]:
        """The tensors that come out of an operator with an activation in it: in ONNX that is a node of its own."""
        for op in self.operators:
            if _activation(op):
                yield from (self.names[op.Outputs(index)] for index in range(op.OutputsLength()))

    def _custom(self, op: Any) -> str:
        code = self.model.OperatorCodes(op.OpcodeIndex()).CustomCode()
        return code.decode(errors="replace") if code else ""

    def _makes(self, op: Any) -> str:
        return ", ".join(self.names[op.Outputs(index)] for index in range(op.OutputsLength()))


def _activation(op: Any) -> bool:
    """Whether an operator's options hold a fused activation other than NONE."""
    from tf2onnx.tflite_utils import get_options_class, lookup_enum

    table = op.BuiltinOptions()
    kind = get_options_class(lookup_enum(op.BuiltinOptionsType(), "BuiltinOptions")) if table is not None else None
    if kind is None or not hasattr(kind, "FusedActivationFunction"):
        return False
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return bool(options.FusedActivationFunction())
