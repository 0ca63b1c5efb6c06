"""A converted estimator as the other stages take models: axes by name, tensors out, classes as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import signature
from .est_columns import Column
from .refused import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, ValueInfoProto

_ML = "ai.onnx.ml"
_ENCODER = 2  # opset of ai.onnx.ml from which LabelEncoder maps texts to numbers


def finish(model: ModelProto, columns: Sequence[Column], classes: Sequence[str], names: Sequence[str], opset: int) -> ModelProto:
    """The model with the recipe's axes and output names; text labels become the number of their class. Works in place.

    Raises ``Refused`` for outputs that are no tensors, and for names that do not fit.
    """
    rows = {column.name: column.rows for column in columns}
    for info in model.graph.input:
        _rows(info, rows[info.name])
    for info in model.graph.output:
        _tensor(info)
        _rows(info, columns[0].rows)
    del model.graph.value_info[:]
    model.graph.name = "estimator"  # skl2onnx draws one
    if not any(entry.domain in {"", "ai.onnx"} for entry in model.opset_import):
        model.opset_import.add(domain="", version=opset)  # no operator of it is used
    for info in list(model.graph.output):
        if signature.type_name(info.type) == "str":
            _number(model, info, classes)
    _rename(model, names)
    return model


def as_output(info: ValueInfoProto, found: Any, classes: Sequence[str]) -> NDArray[Any]:
    """What a framework answered, in the type and rank of the converted model's output."""
    import numpy as np

    array = np.asarray(found.todense() if hasattr(found, "todense") else found)
    if array.dtype.kind in "OUS":
        number = {name: index for index, name in enumerate(classes)}
        array = np.array([number[str(one)] for one in array.ravel()], dtype=np.int64).reshape(array.shape)
    shape = signature.shape(info) or []
    if len(shape) == 2 and array.ndim == 1:
        array = np.stack([-array, array], axis=1) if shape[1] == 2 else array.reshape(-1, 1)
    return array.astype(signature.type_name(info.type))


def _rows(info: ValueInfoProto, rows: int | str) -> None:
    """All that goes in and comes out has the rows for its first axis, whatever the converter wrote."""
    axes = info.type.tensor_type.shape.dim
    if axes:
        axes[0].Clear()
        if isinstance(rows, int):
            axes[0].dim_value = rows
        else:
            axes[0].dim_param = rows


def _tensor(info: ValueInfoProto) -> None:
    kind = signature.type_name(info.type)
    if info.type.WhichOneof("value") != "tensor_type":
        raise Refused(f"output '{info.name}' is a {kind}", why="devices take tensors", hint="remove ZipMap and its like")


def _number(model: ModelProto, info: ValueInfoProto, classes: Sequence[str]) -> None:
    """Behind a text label, a node that gives its class number, under the same name."""
    from onnx import TensorProto, helper

    if not classes:
        raise Refused(f"output '{info.name}' holds texts", hint="let the model give numbers")
    inner = f"{info.name}_text"
    for node in model.graph.node:
        node.output[:] = [inner if name == info.name else name for name in node.output]
        node.input[:] = [inner if name == info.name else name for name in node.input]
    made = helper.make_node(
        "LabelEncoder", [inner], [info.name], f"{info.name}_number", domain=_ML,
        keys_strings=list(classes), values_int64s=list(range(len(classes))), default_int64=-1,
    )  # fmt: skip
    model.graph.node.append(made)
    info.type.tensor_type.elem_type = TensorProto.INT64
    entry = next(entry for entry in model.opset_import if entry.domain == _ML)
    entry.version = max(entry.version, _ENCODER)


def _rename(model: ModelProto, names: Sequence[str]) -> None:
    have = [info.name for info in model.graph.output]
    if not names:
        return
    if len(names) != len(have):
        why = f"the model gives {len(have)}: {', '.join(have)}"
        raise Refused(
            f"the recipe names {len(names)} output(s): {', '.join(names)}", why=why, hint="name each of them in outputs"
        )
    new = dict(zip(have, names, strict=True))
    for node in model.graph.node:
        node.output[:] = [new.get(name, name) for name in node.output]
        node.input[:] = [new.get(name, name) for name in node.input]
    for info in model.graph.output:
        info.name = new[info.name]
