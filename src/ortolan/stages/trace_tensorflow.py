"""Keeps what happens inside TensorFlow, Keras or LiteRT, under the names that the tensors have in the converted model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, confine, tensors, tf_open, tf_port, tf_trace

INPUTS = ("source", "model", "samples")
PARAMS = ("kind", "file", "how", "layout", "inputs")
OUTPUTS = ("tensors.npz",)
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: ``tensors``: how many of the main graph's have a value, its outputs among them; ``confined``."""
    by = confine.enter(out)
    opened, _ = tf_open.open_model(inputs["source"], params)
    model, traced = canon.load(inputs["model"]), []
    names = [info.name for info in model.graph.output]
    for sample in tensors.read_samples(inputs["samples"]):
        feeds = tf_port.feeds(opened.inputs, sample, params["layout"])
        inner = tf_trace.fit(model, opened.inside(feeds, model))
        traced.append(inner | dict(zip(names, opened.answers(feeds), strict=True)))
    tensors.write_samples(out / "tensors.npz", traced)
    return {"tensors": len(traced[0]), "confined": by}
