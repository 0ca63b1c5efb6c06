"""A model that OpenVINO reads: its inputs and outputs beside the ONNX model's, what it computes, in which precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import signature

if TYPE_CHECKING:
    import openvino  # type: ignore[import-not-found,unused-ignore]  # only its own runtime has it
    from onnx import ModelProto

EXACT: Mapping[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": "1"}
"""How a check computes. Without the hint OpenVINO 2026.4.1 computes float32 models in bfloat16 where the CPU can: a face
detector fell from 148 to 57 dB on AVX512-BF16. The number of threads is part of a blob's bytes."""

_DTYPES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "boolean": "bool", "string": "str"}
_INTEGERS = {f"{short}{bits}": f"{long}{bits}" for short, long in (("i", "int"), ("u", "uint")) for bits in (4, 8, 16, 32, 64)}

Shape = list[int | None] | None
Port = dict[str, Any]


def compiled(model: openvino.Model) -> openvino.CompiledModel:
    """The model on this CPU, computed as ``EXACT`` says."""
    import openvino

    return openvino.Core().compile_model(model, "CPU", dict(EXACT))


def ports(model: openvino.Model | openvino.CompiledModel) -> dict[str, list[Port]]:
    """``{"inputs", "outputs"}``, each ``{"names", "dtype", "shape"}``; a dynamic axis is ``None``, so is an unknown rank."""
    return {"inputs": [_port(port) for port in model.inputs], "outputs": [_port(port) for port in model.outputs]}


def _port(port: openvino.Output) -> Port:
    kind = port.get_element_type().get_type_name()
    shape = port.get_partial_shape()
    axes = None if shape.rank.is_dynamic else [axis.get_length() if axis.is_static else None for axis in shape]
    return {"names": sorted(port.get_names()), "dtype": _DTYPES.get(kind) or _INTEGERS.get(kind, kind), "shape": axes}


def differences(model: ModelProto, found: Mapping[str, Sequence[Port]]) -> list[str]:
    """What of the ONNX model's inputs and outputs ``ports`` has otherwise: number, order, names, types, axes.

    An axis of an output may be known to OpenVINO where the ONNX model leaves it open. That of an input may not.
    """
    wanted = {"input": [signature.value(info) for info in signature.inputs(model)]}
    wanted["output"] = [signature.value(info) for info in model.graph.output]
    problems: list[str] = []
    for kind, values in wanted.items():
        have = found[f"{kind}s"]
        if len(have) != len(values):
            problems.append(f"{len(have)} {kind}s, the model has {len(values)}")
        for value, port in zip(values, have, strict=False):
            problems += [f"{kind} '{value['name']}': {problem}" for problem in _differ(value, port, kind)]
    return problems


def _differ(value: Mapping[str, Any], port: Port, kind: str) -> list[str]:
    problems = [] if value["name"] in port["names"] else [f"is called {', '.join(port['names']) or 'nothing'}"]
    if value["dtype"] not in {port["dtype"], "undefined"}:
        problems.append(f"{port['dtype']}, the model's is {value['dtype']}")
    if not _fits(value["shape"], port["shape"], strict=kind == "input"):
        problems.append(f"shape {port['shape']}, the model's is {value['shape']}")
    return problems


def _fits(wanted: Sequence[int | str | None] | None, found: Shape, *, strict: bool) -> bool:
    if wanted is None or found is None:
        return wanted is None or not strict
    if len(wanted) != len(found):
        return False
    pairs = list(zip(wanted, found, strict=True))
    fixed = all(size is None or size == axis for axis, size in pairs if isinstance(axis, int))
    return fixed and not (strict and any((size is None) == isinstance(axis, int) for axis, size in pairs))


def run(model: openvino.CompiledModel, names: Sequence[str], sample: Mapping[str, Any]) -> dict[str, Any]:
    """Feed one sample ``{input: array}``; ``{output: array}`` under the ONNX model's ``names``, which are in its order."""
    import numpy as np

    found = model(dict(sample), share_outputs=False)
    return {name: np.asarray(found[index]) for index, name in enumerate(names)}


def precisions(model: openvino.CompiledModel) -> dict[str, dict[str, int]]:
    """``{layer type: {precision: layers}}`` of what the CPU really executes: ``{"Convolution": {"u8": 52}}``."""
    found: dict[str, Counter[str]] = {}
    for layer in model.get_runtime_model().get_ops():
        info = layer.get_rt_info()
        found.setdefault(str(info["layerType"].value), Counter())[str(info["runtimePrecision"].value)] += 1
    return {kind: dict(sorted(found[kind].items())) for kind in sorted(found)}


def constants(model: openvino.Model) -> dict[str, int]:
    """Bytes of the constants by element type, nested bodies not counted: ``{"float32": 1000, "int8": 200}``."""
    found: Counter[str] = Counter()
    for layer in model.get_ops():
        if layer.get_type_name() == "Constant":
            kind = layer.get_element_type()
            found[_DTYPES.get(kind.get_type_name()) or _INTEGERS.get(kind.get_type_name(), str(kind.get_type_name()))] += (
                layer.get_byte_size()
            )
    return dict(sorted(found.items()))
