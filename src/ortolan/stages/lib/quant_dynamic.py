"""Dynamic quantisation: weights in 8 bits, ranges of activations measured at each run, by ONNX Runtime's quantizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from . import lowering, quant_nodes, quant_repairs
from .lowering import Prepared
from .quant_runs import EXCLUDE, quantizing
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

CONVOLUTION = "Conv"
_OPERATORS = ("Attention", "EmbedLayerNormalization", "Gather", "LSTM", "MatMul")
_OPSET = 11  # ONNX changelog: DynamicQuantizeLinear


def prepare(model: ModelProto, params: Mapping[str, Any]) -> Prepared:
    """Raises ``Refused`` for an opset without DynamicQuantizeLinear. Convolutions stay in float unless ``convolutions``."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if opset < _OPSET:
        why, hint = f"DynamicQuantizeLinear exists from opset {_OPSET} on", f"set opset = {_OPSET} or higher in [runtime]"
        raise Refused(f"the model has opset {opset}", why=why, hint=hint)
    model = lowering.ready(model)
    before = lowering.operators(model)
    repairs = quant_repairs.split_gemms(model)
    model = quant_nodes.inferred(model) if repairs else model
    left, unknown = lowering.chosen(model, params)
    operators = [*_OPERATORS, *([CONVOLUTION] if params["convolutions"] else [])]

    def lower(given: ModelProto, excluded: Collection[str]) -> ModelProto:
        return _quantised(given, sorted(excluded), operators, params)

    def layers(made: ModelProto) -> list[str]:
        kept = {node.name: (node.op_type, node.input[0] if node.input else "") for node in made.graph.node}
        every = (node for node in model.graph.node if node.op_type in operators)
        return [node.name for node in every if kept.get(node.name) != (node.op_type, node.input[0])]

    return Prepared(model, left, lower, layers, repairs, quant_nodes.half_weights(model), unknown, before)


def _quantised(model: ModelProto, excluded: list[str], operators: list[str], params: Mapping[str, Any]) -> ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    kinds = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
    with quantizing(EXCLUDE):
        quantizer = ONNXQuantizer(
            model,
            params["per_channel"],
            False,  # reduce_range
            QuantizationMode.IntegerOps,
            False,  # static
            kinds[params["weights"]],
            QuantType.QUInt8,  # what DynamicQuantizeLinear gives
            None,  # ranges
            [],  # all nodes, but for
            excluded,
            operators,
            {"MatMulConstBOnly": True},
        )
        quantizer.quantize_model()
    made: ModelProto = quantizer.model.model
    return made
