"""Optimisation profiles: the smallest, usual and largest shape of every input that has dynamic axes; needs no TensorRT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import signature
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

POINTS = ("min", "opt", "max")

Sizes = Mapping[str, int]
Profiles = dict[str, dict[str, list[int]]]


def of_model(model: ModelProto, axes: Mapping[str, Sizes]) -> Profiles:
    """``{input: {"min", "opt", "max"}}``, shapes, for the inputs with dynamic axes; ``axes`` is ``{axis: {min, opt, max}}``.

    An axis is called by its name in the file, or ``<input>.<index>``. Raises ``Refused`` for an axis without a profile, sizes
    that do not rise, and an input whose rank the file does not say.
    """
    for name, sizes in axes.items():
        _check(name, sizes)
    missing = list(_missing(model, axes))
    if missing:
        have = f"; profiles are given for {', '.join(sorted(axes))}" if axes else ""
        raise Refused(
            f"no optimisation profile for {', '.join(missing)}",
            why=f"an engine is built for a range of sizes of each dynamic axis{have}",
            hint=f"say {missing[0].split()[1]} = {{ min = 1, opt = 4, max = 8 }}, or one size, in [shapes] of the target",
        )
    return {value.name: _shapes(value, axes) for value in _dynamic(model)}


def unknown(model: ModelProto, axes: Mapping[str, Sizes]) -> list[str]:
    """The profiles that no dynamic axis of an input has, sorted."""
    names = {name for value in _dynamic(model) for index in range(len(_shape(value))) for name in _names(value, index)}
    return sorted(axes.keys() - names)


def text(profiles: Profiles, point: str) -> str:
    """One point of all profiles as trtexec and ONNX Runtime spell it: ``image:1x3x224x224,mask:1x224``.

    Raises ``Refused`` for an input whose name that spelling cannot hold.
    """
    odd = next((name for name in profiles if set(name) & set(",'\"")), None)
    if odd is not None:
        raise Refused(f"the input {odd!r} cannot have a profile", why="trtexec and ONNX Runtime part inputs at commas and quotes")
    return ",".join(f"{name}:{'x'.join(map(str, shapes[point]))}" for name, shapes in sorted(profiles.items()))


def _check(name: str, sizes: Sizes) -> None:
    low, usual, high = (sizes[point] for point in POINTS)
    if not 0 <= low <= usual <= high or not high:
        why = f"min {low}, opt {usual}, max {high}: they must rise from 0 or more"
        raise Refused(f"the profile of axis {name} is impossible", why=why, hint="put them in order")


def _dynamic(model: ModelProto) -> Iterator[ValueInfoProto]:
    for value in signature.inputs(model):
        if value.type.WhichOneof("value") == "tensor_type" and not all(isinstance(size, int) for size in _shape(value)):
            yield value


def _shape(value: ValueInfoProto) -> list[int | str | None]:
    shape = signature.shape(value)
    if shape is None:
        hint = "write the input's shape into the model, with a name for each dynamic axis"
        raise Refused(f"the input {value.name} has no shape", why="a profile needs at least its number of axes", hint=hint)
    return shape


def _names(value: ValueInfoProto, index: int) -> list[str]:
    """What an axis answers to; none where it has a size."""
    axis = _shape(value)[index]
    if isinstance(axis, int):
        return []
    return [*([axis] if axis else []), f"{value.name}.{index}"]


def _missing(model: ModelProto, axes: Mapping[str, Sizes]) -> Iterator[str]:
    for value in _dynamic(model):
        for index in range(len(_shape(value))):
            names = _names(value, index)
            if names and not any(name in axes for name in names):
                yield f"axis {names[0]} of input {value.name}"


def _shapes(value: ValueInfoProto, axes: Mapping[str, Sizes]) -> dict[str, list[int]]:
    def size(index: int, axis: Any, point: str) -> int:
        if isinstance(axis, int):
            return axis
        return axes[next(name for name in _names(value, index) if name in axes)][point]

    shape = list(enumerate(_shape(value)))
    return {point: [size(index, axis, point) for index, axis in shape] for point in POINTS}
