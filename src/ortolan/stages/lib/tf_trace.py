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
    """The values in the model's layout and type; left out are those of another shape, and those whose layout it does not tell."""
    import numpy as np

    known, kept = _known(model), dict[str, Any]()
    for name, given in found.items():
        dtype, shape = known.get(name, ("", None))
        value = _typed(given, dtype)
        if shape is None or value is None:
            continue
        plain = _fits(value.shape, shape)
        moved = value.ndim == len(TO_NCHW) and _fits([value.shape[axis] for axis in TO_NCHW], shape)
        if plain and not (moved and _square(value.shape)):
            kept[name] = value
        elif moved and not plain:
            kept[name] = np.ascontiguousarray(np.transpose(value, TO_NCHW))
    return kept


def _known(model: ModelProto) -> dict[str, tuple[str, Shape | None]]:
    """Type and shape of every tensor of the main graph that onnx's shape inference finds."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    return {info.name: (signature.type_name(info.type), signature.shape(info)) for info in (*graph.value_info, *graph.output)}


def _typed(value: Any, dtype: str) -> Any:
    """The value in the model's type: TensorFlow counts in 32 bits where ONNX does in 64. None where the kinds differ."""
    import numpy as np

    array = np.asarray(value)
    if array.dtype.name == dtype:
        return array
    return array.astype(dtype) if array.dtype.kind in "iu" and dtype in {"int32", "int64"} else None


def _fits(own: Sequence[int], shape: Shape) -> bool:
    return len(own) == len(shape) and all(a == b or not isinstance(b, int) for a, b in zip(own, shape, strict=True))


def _square(shape: Sequence[int]) -> bool:
    """Whether moving the channels could not be seen, although it would change the order of values."""
    return sum(size > 1 for size in shape[1:]) > 1
