"""Exports a PyTorch module to ONNX at exactly the asked opset, under the recipe's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, convert, down_convert, signature, torch_export, torch_source
from .lib.refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("code", "weights?")
PARAMS = ("factory", "exporter", "opset", "inputs", "outputs", "axes")
OUTPUTS = ("model.onnx",)
CPU = True  # a factory may draw its weights, and the exporters fold constants: vector instructions may differ in the last bit


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    source = torch_source.load(inputs, params["factory"], params["inputs"])
    torch_export.check_size(source)
    _check_outputs(source, params)
    emitted = _export(source, params)
    model, route = _at_opset(emitted, params["opset"])
    _check_inputs(model, source, params["inputs"])
    canon.save(model, out / "model.onnx")
    described = signature.describe(model)
    return {
        "opset": down_convert.opset(model),
        "emitted_opset": down_convert.opset(emitted),
        "route": route,
        "signature": {"inputs": described["inputs"], "outputs": described["outputs"]},
    }


def _export(source: torch_source.Source, params: Mapping[str, Any]) -> ModelProto:
    recipe = params["inputs"], params["axes"], params["outputs"]
    if params["exporter"] == "torchscript":
        return torch_export.torchscript(source, *recipe, params["opset"])
    model: ModelProto = torch_export.dynamo(source, *recipe, max(params["opset"], torch_export.DYNAMO_OPSET)).model_proto
    return model


def _at_opset(emitted: ModelProto, asked: int) -> tuple[ModelProto, str]:
    """The exporter's word is not enough: the model at exactly this opset, as found and accepted by the ONNX checker."""
    try:
        return down_convert.convert(emitted, asked)
    except Refused as refused:
        found = down_convert.opset(emitted)
        if found == asked:
            raise
        first = refused
    try:
        return convert.to_opset(emitted, asked), "converted after repair"
    except Refused as second:
        hint = f'try exporter = "torchscript", which writes opset {asked} itself, or opset = {found} in the target\'s [runtime]'
        raise Refused(second.what, why=second.why or first.why, hint=hint) from None


def _check_outputs(source: torch_source.Source, params: Mapping[str, Any]) -> None:
    """Run the module once on the example: what fails here is the user's forward, not the exporter."""
    count, names = len(source.forward(torch_export.examples(params["inputs"], params["axes"]))), params["outputs"]
    if names and len(names) != count:
        why = f"forward returns {count} tensor(s)"
        raise Refused(
            f"the recipe names {len(names)} output(s): {', '.join(names)}", why=why, hint="name each of them in outputs"
        )


def _check_inputs(model: ModelProto, source: torch_source.Source, recipe: Sequence[Mapping[str, Any]]) -> None:
    wanted = {item["name"]: (item["dtype"], list(item["shape"])) for item in recipe}
    found = {item["name"]: (item["dtype"], item["shape"]) for item in map(signature.value, signature.inputs(model))}
    for name in source.order:
        if name not in found:
            raise Refused(
                f"the exported model has no input {name}", why="the module does not use it", hint="remove it from the recipe"
            )
        if found[name] != wanted[name]:
            why = f"the recipe says {_text(*wanted[name])}, the exported model takes {_text(*found[name])}"
            hint = "name axes alike where the module needs equal sizes, and write fixed axes as numbers"
            raise Refused(f"the export changed the input {name}", why=why, hint=hint)


def _text(dtype: str, shape: Sequence[int | str | None] | None) -> str:
    return f"{dtype}{list(shape or ())}".replace("'", "")
