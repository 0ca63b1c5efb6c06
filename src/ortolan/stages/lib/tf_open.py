"""A model from TensorFlow, Keras or TFLite, opened by the framework that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import tf_frozen, tf_keras, tf_lite, tf_saved
from .refused import Refused
from .tf_port import Port, as_framework, refuse_empty

if TYPE_CHECKING:
    from onnx import ModelProto


class Opened(Protocol):
    """What each kind can do; ``feeds`` are samples by the framework's tensors."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """In the order of the converted model's."""

    @property
    def outputs(self) -> tuple[Port, ...]:
        """In the order of the converted model's."""

    def convert(self, opset: int, turned: Sequence[Port]) -> ModelProto:
        """The ONNX model at ``opset``, or the newest that tf2onnx writes, with some inputs in NCHW."""

    def answers(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The outputs as the framework computes them."""

    def inside(self, feeds: Mapping[str, Any], model: ModelProto) -> dict[str, Any]:
        """The framework's tensors by their names in the converted model, as far as they are in it."""


def open_model(source: Path, params: Mapping[str, Any]) -> tuple[Opened, dict[str, Any]]:
    """The model, and facts about it. Raises ``Refused`` for what cannot be read, and for tensors without values."""
    path = source / params["file"]
    if not path.exists():
        raise Refused(f"{params['file']} is missing", hint="check [source] file in the model's recipe")
    opened, facts = _read(path, params["kind"], params["how"], as_framework(params["inputs"], params["layout"]))
    refuse_empty(opened.inputs, "input")
    refuse_empty(opened.outputs, "output")
    return opened, facts


def _read(path: Path, kind: str, how: Mapping[str, Any], recipe: Sequence[Mapping[str, Any]]) -> tuple[Opened, dict[str, Any]]:
    if kind == "keras":
        return tf_keras.read(path, how, recipe)
    if kind == "tflite":
        return tf_lite.read(path, how, recipe)
    return tf_saved.read(path, how, recipe) if path.is_dir() else tf_frozen.read(path, how, recipe)
