"""Static quantisation: Q/DQ nodes with ranges from calibration, made by ONNX Runtime's quantizer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import lowering, quant_indexed, quant_nodes, quant_qnn, quant_repairs, ranges
from .lowering import Prepared
from .quant_runs import EXCLUDE, quantizing
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

_QDQ_OPSET, _PER_CHANNEL_OPSET = 10, 13  # ONNX changelog: QuantizeLinear came in 10, its axis in 13


def prepare(model: ModelProto, measured: Mapping[str, ranges.Range], params: Mapping[str, Any]) -> Prepared:
    """Fuse and mend what the quantizer stumbles over. Raises ``Refused`` for what no runtime would load."""
    model = quant_nodes.inferred(model)
    _check(model, params)
    quant_nodes.name_nodes(model.graph)
    fused = quant_qnn.fuse(model) if params["preset"] == quant_nodes.QNN else []
    repairs, unfit = quant_repairs.flatten_biases(model)
    whole = quant_repairs.grouped_transposes(model) if params["per_channel"] else {}
    mine, unknown = lowering.chosen(model, params)
    left = _left(model, measured, params["preset"], unfit) | mine

    def lower(given: ModelProto, excluded: Collection[str]) -> ModelProto:
        return _quantised(given, measured, sorted(excluded), whole, params)

    def layers(made: ModelProto) -> list[str]:
        made = quant_nodes.inferred(made)
        low = {made.graph.node[index].name for index in quant_nodes.quantised(made, params["preset"])}
        return [node.name for node in model.graph.node if node.name in low]

    halves, before = quant_nodes.half_weights(model), lowering.operators(model)
    return Prepared(model, left, lower, layers, [*fused, *repairs, *whole.values()], halves, unknown, before)


def _left(model: ModelProto, measured: Mapping[str, ranges.Range], preset: str, unfit: list[str]) -> dict[str, str]:
    """The nodes that stay in float, and why."""
    unranged = quant_nodes.unranged(model, measured, preset)
    left = {name: f"no range for {', '.join(missing)}" for name, missing in unranged.items()}
    left |= dict.fromkeys(quant_nodes.foreign(model) if preset == quant_nodes.QNN else [], "no operator of ONNX")
    return left | dict.fromkeys(unfit, "the shape of its bias")


def _check(model: ModelProto, params: Mapping[str, Any]) -> None:
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    hint = f"set opset = {_PER_CHANNEL_OPSET} or higher in the target's [runtime], or per_channel = false in its [quantize]"
    if opset < _QDQ_OPSET:
        raise Refused(f"the model has opset {opset}", why=f"QuantizeLinear exists from opset {_QDQ_OPSET} on", hint=hint)
    if params["per_channel"] and opset < _PER_CHANNEL_OPSET:
        why = f"opset {opset} has no per-channel QuantizeLinear; no runtime would load the result"
        raise Refused(f"per-channel quantisation needs opset {_PER_CHANNEL_OPSET}", why=why, hint=hint)
    if params["activations"] == "int8" and params["weights"] == "uint8":
        why = "ONNX Runtime has no kernels for int8 activations with uint8 weights"
        raise Refused("these types do not go together", why=why, hint='set weights = "int8" in [quantize]')


def _quantised(
    model: ModelProto, measured: Mapping[str, ranges.Range], excluded: list[str], whole: Iterable[str], params: Mapping[str, Any]
) -> ModelProto:
    """The quantised model; the weights in ``whole`` get one scale each."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    kinds = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8, "int16": QuantType.QInt16, "uint16": QuantType.QUInt16}
    weights, activations = kinds[params["weights"]], kinds[params["activations"]]
    overrides = {name: [{"quant_type": weights}] for name in whole}
    wanted = set(quant_nodes.activations(model, params["preset"])) & measured.keys()
    operators = quant_nodes.operators(model, params["preset"])
    # TensorRT takes no quantised bias, and symmetric activations are for it (docs of its explicit quantisation).
    options = {
        "ActivationSymmetric": params["symmetric_activations"],
        "QuantizeBias": not params["symmetric_activations"],
        "TensorQuantOverrides": overrides,
    }
    with quantizing(EXCLUDE):
        if params["preset"] == quant_nodes.QNN:
            options = quant_qnn.options(model, (activations, weights), overrides, operators, excluded, params)
        quantizer = QDQQuantizer(
            model,
            params["per_channel"],
            False,  # reduce_range
            weights,
            activations,
            ranges.tensors_data(measured, wanted),
            [],  # all nodes, but for
            excluded,
            operators,
            options,
        )
        quant_indexed.quantise(quantizer)
    made: ModelProto = quantizer.model.model
    quant_nodes.describe(made)
    return made
