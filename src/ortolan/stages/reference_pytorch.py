"""Runs the PyTorch module itself on the samples: what every runtime's outputs are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, tensors, torch_open, torch_source
from .lib.refused import Refused

INPUTS = ("code", "weights?", "samples", "model")
PARAMS = ("factory", "file", "trust", "inputs")
OUTPUTS = ("outputs.npz",)
CPU = True  # PyTorch picks kernels by processor


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    confined = torch_open.enter(inputs, params, out)
    source = torch_open.open_source(inputs, params)
    names = [value.name for value in canon.load(inputs["model"]).graph.output]
    found = [_outputs(source, sample, names) for sample in tensors.read_samples(inputs["samples"])]
    tensors.write_samples(out / "outputs.npz", found)
    return confined


def _outputs(source: torch_source.Source, sample: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """One array per output of the exported model, whose outputs stand in the order in which forward returns them."""
    results = source.forward(torch_source.to_torch(sample))
    if len(results) != len(names):
        why = f"forward returns {len(results)} tensor(s), the exported model has {len(names)}: {', '.join(names)}"
        raise Refused("the module and its export differ in their outputs", why=why, hint="let forward return tensors only")
    return {name: torch_source.to_numpy(value) for name, value in zip(names, results, strict=True)}
