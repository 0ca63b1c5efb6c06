"""A model as tf2onnx leaves it, made as the other stages take models: names of the signature, axes by name, nothing else said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import graphs, repair
from .refused import Refused
from .tf_port import TO_NCHW, Port

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_BATCH = "batch"


def finish(
    model: ModelProto,
    ports: tuple[Sequence[Port], Sequence[Port]],
    turned: Sequence[Port],
    recipe: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> ModelProto:
    """Works in place. ``ports`` are inputs and outputs, ``names`` the recipe's for the latter; ``Refused`` where they do not fit.

    A dynamic first axis is ``batch``, another has the recipe's name or none.
    """
    inputs, outputs = ports
    if names and len(names) != len(outputs):
        given = ", ".join(port.name for port in outputs)
        what = f"the recipe names {len(names)} output(s): {', '.join(names)}"
        raise Refused(what, why=f"the model has {len(outputs)}: {given}", hint="name each of them in outputs, in this order")
    called = [*names] or [port.name for port in outputs]
    _rename(
        model, {port.tensor: port.name for port in inputs} | dict(zip([port.tensor for port in outputs], called, strict=True))
    )
    _ordered(model, [port.name for port in inputs])
    said = {one["name"]: one["shape"] for one in recipe}
    back = {port.name for port in turned}
    for info, port in zip(model.graph.input, inputs, strict=True):
        shape = [port.shape[axis] for axis in TO_NCHW] if port.name in back and port.shape else port.shape
        _axes(info, shape, said.get(port.name))
    for info, port in zip(model.graph.output, outputs, strict=True):
        _axes(info, port.shape, None)
    del model.graph.value_info[:]
    model.graph.name = "tensorflow"
    model.graph.doc_string = ""
    repair.mend(model)
    return model


def _rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Give tensors new names wherever they occur; what bore one of these already gets another."""
    taken = {name for graph in graphs.graphs(model.graph) for node in graph.node for name in (*node.input, *node.output)}
    taken |= graphs.initializers(model.graph)
    moved = {name: f"{name}__inner" for name in names.values() if name in taken - names.keys()}
    every = moved | dict(names)
    for graph in graphs.graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = every.get(value.name, value.name)
        for node in graph.node:
            node.input[:] = [every.get(name, name) for name in node.input]
            node.output[:] = [every.get(name, name) for name in node.output]


def _ordered(model: ModelProto, names: Sequence[str]) -> None:
    """The inputs in this order: tf2onnx leaves them in that of its nodes."""
    from onnx import ValueInfoProto

    found = {info.name: info for info in model.graph.input}
    lost = [name for name in names if name not in found]
    if lost:
        raise Refused(f"the model does not use its input '{lost[0]}'", hint="save it without this input")
    copies = [ValueInfoProto.FromString(found[name].SerializeToString()) for name in names]
    del model.graph.input[:]
    model.graph.input.extend(copies)


def _axes(info: ValueInfoProto, shape: Sequence[int | None] | None, said: Sequence[int | str] | None) -> None:
    """Write a shape in place of tf2onnx's, whose names of dynamic axes are numbers that it counts."""
    kind = info.type.tensor_type
    kind.ClearField("shape")
    if shape is None:
        return
    kind.shape.SetInParent()
    named = said if said is not None and len(said) == len(shape) else [_BATCH, *[None] * (len(shape) - 1)]
    for size, name in zip(shape, named, strict=False):
        axis = kind.shape.dim.add()
        if size is not None:
            axis.dim_value = size
        elif isinstance(name, str):
            axis.dim_param = name
