"""Fits the framework's tensors to those of the converted model, which has images in NCHW where TensorFlow has them in NHWC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import signature
from .tf_port import TO_NCHW

if TYPE_CHECKING:
    from onnx import ModelProto

Shape = Sequence[int | str | None]


def fit(model: ModelProto, found: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the model's layout; left out are those of another shape, and those whose layout the shape does not tell."""
    import numpy as np

    shapes, kept = signature.shapes(model), dict[str, Any]()
    for name, value in found.items():
        shape = shapes.get(name)
        if shape is None or not hasattr(value, "shape"):
            continue
        plain = _fits(value.shape, shape)
        moved = value.ndim == len(TO_NCHW) and _fits([value.shape[axis] for axis in TO_NCHW], shape)
        if plain and not (moved and _square(value.shape)):
            kept[name] = value
        elif moved and not plain:
            kept[name] = np.ascontiguousarray(np.transpose(value, TO_NCHW))
    return kept


def _fits(own: Sequence[int], shape: Shape) -> bool:
    return len(own) == len(shape) and all(a == b or not isinstance(b, int) for a, b in zip(own, shape, strict=True))


def _square(shape: Sequence[int]) -> bool:
    """Whether moving the channels could not be seen, although it would change the order of values."""
    return sum(size > 1 for size in shape[1:]) > 1
