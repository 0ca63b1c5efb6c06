"""Axes of model inputs: called by the name that the file gives, or by ``<input>.<index>``, which every axis answers to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import graphs, signature

if TYPE_CHECKING:
    from onnx import ModelProto

Axis = int | str | None


def sized(name: str, shape: list[Axis], recipe: list[Axis], sizes: Mapping[str, int]) -> list[int | str]:
    """The shape of one input with every axis sized that the file, the recipe or ``sizes`` gives a size; the others keep a name.

    ``shape`` and ``recipe`` are what the file and the recipe say; they have equally many axes.
    """
    result: list[int | str] = []
    for index, (own, said) in enumerate(zip(shape, recipe, strict=True)):
        names = [axis for axis in (said, own, f"{name}.{index}") if isinstance(axis, str)]
        known = next((axis for axis in (own, said) if isinstance(axis, int)), None)
        result.append(known if known is not None else next((sizes[axis] for axis in names if axis in sizes), names[0]))
    return result


def fix(model: ModelProto, sizes: Mapping[str, int]) -> set[str]:
    """Give the named axes their sizes, wherever their names occur; the names that a dynamic axis of some input has.

    The shapes between inputs and outputs are forgotten: they spoke of the dynamic model.
    """
    used: set[str] = set()
    same: dict[str, int] = {}
    for value in signature.inputs(model):
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            if _is_sized(dim):
                continue
            names = [name for name in (dim.dim_param, f"{value.name}.{index}") if name in sizes]
            used |= set(names)
            if names:
                same |= {dim.dim_param: sizes[names[0]]} if dim.dim_param else {}
                dim.dim_value = sizes[names[0]]
    _everywhere(model, same)
    return used


def _everywhere(model: ModelProto, sizes: Mapping[str, int]) -> None:
    for graph in graphs.graphs(model.graph):
        del graph.value_info[:]
        for value in (*graph.input, *graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param in sizes:
                    dim.dim_value = sizes[dim.dim_param]


def _is_sized(dim: Any) -> bool:
    return bool(dim.HasField("dim_value") and dim.dim_value >= 0)
