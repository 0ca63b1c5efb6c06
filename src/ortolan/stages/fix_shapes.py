"""Gives named axes the sizes that the target wants, works out all shapes anew, and says what stays dynamic and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import axes, canon, graphs, signature
from .lib.transient import reraise_if_transient
from .lib.weightless import without_weights

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

INPUTS = ("model",)
PARAMS = ("shapes",)
OUTPUTS = ("model.onnx",)

Shape = list[int | str | None]


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``, ``fixed``, ``unknown``, ``dynamic_inputs``, ``dynamic_inside`` and ``inference``.

    ``fixed``: ``{axis: size}``. ``unknown``: names that no dynamic axis of an input has. ``dynamic_inputs``: ``{input: shape}``.
    ``dynamic_inside``: nodes that make unknown sizes of known ones (``NonZero``): ``{"node", "op", "tensor", "shape"}``.
    ``inference``: onnx's complaint about the shapes, empty when it had none.
    """
    model = canon.parse(inputs["model"])
    wanted: dict[str, int] = dict(params["shapes"])
    used = axes.fix(model, wanted)
    model, complaint = _infer(model)
    model = canon.save(model, out / "model.onnx")
    return canon.describe(model) | {
        "fixed": {name: wanted[name] for name in sorted(used)},
        "unknown": sorted(wanted.keys() - used),
        "dynamic_inputs": {v.name: signature.shape(v) for v in signature.inputs(model) if not _static(signature.shape(v))},
        "dynamic_inside": _sources(model.graph),
        "inference": complaint,
    }


def _infer(model: ModelProto) -> tuple[ModelProto, str]:
    from onnx import shape_inference

    try:
        return without_weights(lambda whole: shape_inference.infer_shapes(whole, data_prop=True), model), ""
    except Exception as error:  # noqa: BLE001  the model stays as it is, and the sessions decide
        reraise_if_transient(error)
        return model, next(iter(str(error).splitlines()), type(error).__name__)


def _sources(graph: GraphProto) -> list[dict[str, Any]]:
    """The nodes that turn known sizes into unknown ones, in order."""
    known: dict[str, Shape | None] = {
        info.name: signature.shape(info) for info in (*graph.input, *graph.value_info, *graph.output)
    }
    known |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    found: list[dict[str, Any]] = []
    for node in graph.node:
        if all(_static(known.get(name)) for name in graphs.reads(node)):
            lost = [name for name in node.output if name and not _static(known.get(name))]
            found += [{"node": node.name, "op": node.op_type, "tensor": name, "shape": known.get(name)} for name in lost[:1]]
    return found


def _static(shape: Shape | None) -> bool:
    return shape is not None and all(isinstance(size, int) for size in shape)
