"""Asks TensorFlow, Keras or LiteRT itself: what every runtime's outputs are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, confine, tensors, tf_open, tf_port

INPUTS = ("source", "model", "samples")
PARAMS = ("kind", "file", "how", "layout", "inputs")
OUTPUTS = ("outputs.npz",)
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: ``confined``: what kept the model's operators and code in."""
    by = confine.enter(out)
    opened, _ = tf_open.open_model(inputs["source"], params)
    names = [info.name for info in canon.parse(inputs["model"]).graph.output]
    samples = tensors.read_samples(inputs["samples"])
    answers = [opened.answers(tf_port.feeds(opened.inputs, sample, params["layout"])) for sample in samples]
    tensors.write_samples(out / "outputs.npz", [dict(zip(names, answer, strict=True)) for answer in answers])
    return {"confined": by}
