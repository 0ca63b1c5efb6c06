"""Exports a PyTorch module to ONNX at exactly the asked opset, under the recipe's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, convert, down_convert, signature, torch_export, torch_open, torch_source
from .lib.refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("code", "weights?")
PARAMS = ("factory", "file", "trust", "exporter", "opset", "inputs", "outputs", "axes")
OUTPUTS = ("model.onnx",)
CPU = True  # a factory may draw its weights, and the exporters fold constants: vector instructions may differ in the last bit


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``canon.describe``; ``emitted_opset`` and ``exporter``: what wrote which; ``route``: how the opset was met.

    ``confined``, of a file that may run code: what kept it in.
    """
    confined = torch_open.enter(inputs, params, out)
    source = torch_open.open_source(inputs, params)
    torch_export.check_size(source)
    _check_outputs(source, params)
    emitted, exporter = torch_export.exported(source, params["exporter"], params["axes"], params["outputs"], params["opset"])
    model, route = _at_opset(emitted, params["opset"])
    _check_inputs(model, source)
    model = canon.save(model, out / "model.onnx")
    told = {"opset": down_convert.opset(model), "emitted_opset": down_convert.opset(emitted), "exporter": exporter}
    return canon.describe(model) | told | {"route": route} | confined


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
    count, names = torch_export.outputs(source, source.inputs, params["axes"]), params["outputs"]
    if names and len(names) != count:
        why = f"forward returns {count} tensor(s)"
        raise Refused(
            f"the recipe names {len(names)} output(s): {', '.join(names)}", why=why, hint="name each of them in outputs"
        )


def _check_inputs(model: ModelProto, source: torch_source.Source) -> None:
    wanted = {item["name"]: (item["dtype"], list(item["shape"])) for item in source.inputs}
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
