"""Inputs and outputs of a model from TensorFlow: what they are called outside and inside, and which are turned to NCHW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .refused import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGE = 4  # axes
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True)
class Port:
    """One input or output: ``name``, the framework's ``tensor``, numpy's name of its type, and axes, ``None`` for dynamic ones.

    ``shape`` is ``None`` where the file does not tell the rank.
    """

    name: str
    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None


def refuse_empty(ports: Sequence[Port], what: str) -> None:
    """Raise ``Refused`` where there is none, and for an axis of size 0: nothing could be compared."""
    if not ports:
        raise Refused(f"the model has no {what}s", hint="a model takes tensors and gives tensors")
    for port in ports:
        if 0 in (port.shape or ()):
            said = ", ".join("?" if size is None else str(size) for size in port.shape or ())
            why = "a tensor with an axis of size 0 holds no values, so that nothing can be compared"
            raise Refused(f"{what} '{port.name}' has shape [{said}]", why=why, hint=f"save the model without this {what}")


def fitted(ports: Sequence[Port], recipe: Sequence[Mapping[str, Any]]) -> list[Port]:
    """The inputs with the sizes that the recipe gives to axes which the file leaves open.

    Where the two contradict each other the file's stay: the step that makes samples tells of it.
    """
    said = {one["name"]: [size if isinstance(size, int) else None for size in one["shape"]] for one in recipe}
    return [Port(port.name, port.tensor, port.dtype, _fit(port.shape, said.get(port.name))) for port in ports]


def _fit(own: tuple[int | None, ...] | None, said: Sequence[int | None] | None) -> tuple[int | None, ...] | None:
    if own is None or said is None:
        return own if said is None else tuple(said)
    pairs = list(zip(own, said, strict=False))
    if len(own) != len(said) or any(a is not None and b is not None and a != b for a, b in pairs):
        return own
    return tuple(b if a is None else a for a, b in pairs)


def as_framework(recipe: Sequence[Mapping[str, Any]], layout: str) -> list[dict[str, Any]]:
    """The recipe's ``[[input]]`` tables in the framework's layout: where they stand as the model will have them."""
    if layout == "keep":
        return [dict(one) for one in recipe]
    return [{**one, "shape": _moved(one["shape"]) if len(one["shape"]) == _IMAGE else one["shape"]} for one in recipe]


def turned(ports: Sequence[Port], layout: str) -> list[Port]:
    """The inputs whose channels move to the front. Raises ``Refused`` where ``layout`` asks for it and there is none."""
    if layout == "keep":
        return []
    found = [port for port in ports if port.shape is not None and len(port.shape) == _IMAGE]
    if not found:
        names = ", ".join(port.name for port in ports)
        raise Refused(f'layout = "{layout}" has nothing to turn', why=f"none of {names} has four axes", hint="leave layout out")
    return found


def feeds(ports: Sequence[Port], sample: Mapping[str, Any], layout: str) -> dict[str, NDArray[Any]]:
    """A sample by the framework's tensors, in the framework's layout."""
    import numpy as np

    back = {port.name for port in turned(ports, layout)}
    return {
        port.tensor: np.ascontiguousarray(np.transpose(sample[port.name], TO_NHWC)) if port.name in back else sample[port.name]
        for port in ports
        if port.name in sample
    }


def _moved(shape: Sequence[Any]) -> list[Any]:
    return [shape[axis] for axis in TO_NHWC]
