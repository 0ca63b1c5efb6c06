"""Quantises as ONNX Runtime's own configuration for Qualcomm's QNN provider has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime.quantization import QuantType


def fuse(model: ModelProto) -> list[str]:
    """Fuse in place what HTP has an operator for: GELU, L2 normalisation, space-to-depth; what was fused.

    The fusions of ``qnn_preprocess_model`` alone: it would also optimise the model for this machine and write files. Tensors that
    stay keep their names, so ranges measured before serve still. ``model`` must have its shapes inferred.
    """
    from onnxruntime.quantization.execution_providers.qnn.fusion_lpnorm import FusionLpNormalization
    from onnxruntime.quantization.execution_providers.qnn.fusion_spacetodepth import FusionSpaceToDepth
    from onnxruntime.quantization.fusions import FusionGelu
    from onnxruntime.quantization.onnx_model import ONNXModel

    whole = ONNXModel(model)
    done = [kind for kind in (FusionGelu(whole), FusionLpNormalization(whole), FusionSpaceToDepth(whole)) if kind.apply()]
    if done:
        whole.topological_sort()
    return [f"{len(kind.nodes_to_remove)} nodes fused into {len(kind.nodes_to_add)} {kind.fused_op_type}" for kind in done]


def options(
    model: ModelProto,
    types: tuple[QuantType, QuantType],
    overrides: Mapping[str, Any],
    operators: Sequence[str],
    excluded: Sequence[str],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """The quantizer's options for QNN: what MatMul's weights, 16-bit Sigmoid and Tanh need, where Q/DQ nodes live.

    ``types`` are those of activations and weights. The ranges come from elsewhere: no calibration reader is asked.
    """
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    made = get_qnn_qdq_config(
        model,
        None,
        activation_type=types[0],
        weight_type=types[1],
        per_channel=params["per_channel"],
        init_overrides=dict(overrides),
        add_qtype_converts=False,  # for mixed activation types; the overrides are of weights
        activation_symmetric=params["symmetric_activations"],
        op_types_to_quantize=list(operators),
        nodes_to_exclude=list(excluded),
    )
    return dict(made.extra_options)
