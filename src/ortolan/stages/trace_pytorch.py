"""Runs the PyTorch module and keeps what happens inside, under the names that the tensors bear in the exported model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, down_convert, tensors, torch_export, torch_open, torch_program, torch_qat, torch_scopes, torch_source

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("code", "weights?", "samples", "model")
PARAMS = ("factory", "file", "trust", "exporter", "inputs", "axes")
OUTPUTS = ("tensors.npz",)
CPU = True  # PyTorch picks kernels by processor


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    confined = torch_open.enter(inputs, params, out)
    source = torch_open.open_source(inputs, params)
    model = canon.load(inputs["model"])
    names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output if name]
    samples = [torch_source.to_torch(sample) for sample in tensors.read_samples(inputs["samples"])]
    by, found = _found(source, model, samples, params)
    kept = [_kept(source, model, names, sample, values) for sample, values in zip(samples, found, strict=True)]
    tensors.write_samples(out / "tensors.npz", kept)
    matched = set(names).intersection(*kept) if kept else set()
    return {"tensors": len(names), "matched": len(matched), "by": by} | confined


def _found(
    source: torch_source.Source, model: ModelProto, samples: list[dict[str, Any]], params: Mapping[str, Any]
) -> tuple[str, list[dict[str, Any]]]:
    """What is seen inside, and how its names were matched; of TorchScript's own modules only the outputs can be seen."""
    import torch

    if isinstance(source.module, torch.jit.ScriptModule):
        return "output", [{} for _ in samples]
    torch_qat.to_qdq(source.module, params["exporter"])
    if params["exporter"] == "torchscript" and not isinstance(source, torch_program.Program):
        return "scope", _scopes(source, model, samples)
    return "fx node", _fx(source, model, samples, params)


def _kept(
    source: torch_source.Source, model: ModelProto, names: list[str], sample: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    outputs = dict(zip([value.name for value in model.graph.output], source.forward(sample), strict=False))
    known = {**outputs, **values}
    return {name: torch_source.to_numpy(known[name]) for name in names if name in known}


def _scopes(source: torch_source.Source, model: ModelProto, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [torch_scopes.record(source, model.graph, sample) for sample in samples]


def _fx(
    source: torch_source.Source, model: ModelProto, samples: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Run the graph that the dynamo exporter translated: its nodes gave the tensors their names."""
    opset = max(down_convert.opset(model), torch_export.DYNAMO_OPSET)
    program = torch_export.dynamo(source, source.inputs, params["axes"], [], opset).exported_program
    wanted = {name for node in model.graph.node for name in node.output}
    return [_interpret(program, *source.arguments(sample), wanted) for sample in samples]


def _interpret(program: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {}

    class Recording(torch.fx.Interpreter):  # type: ignore[misc]  # torch is untyped here
        def run_node(self, n: Any) -> Any:
            result = super().run_node(n)
            several = (
                {f"{n.name}__{index}": value for index, value in enumerate(result)} if isinstance(result, tuple | list) else {}
            )
            for name, value in {n.name: result, **several}.items():
                if name in wanted and isinstance(value, torch.Tensor):
                    found[name] = value.detach().clone()
            return result

    flat = program._graph_module_flat_inputs(args, kwargs)  # noqa: SLF001 - parameters and buffers first, as the graph takes them
    with torch.no_grad():
        Recording(program.graph_module).run(*flat)
    return found
