"""The rules of kernel tables that can be checked on a graph: ranks, constants, fixed axes, attributes, neighbours.

A rule is a line of words; ``a | b`` holds when one of them does. Places count from 0, absent inputs break nothing.

| rule | holds when |
|---|---|
| ``rank 0 4 5`` | input 0 has 4 or 5 axes (``max_rank 0 2``: at most 2; ``min_rank 1 1``: at least 1) |
| ``constant 1 2`` | inputs 1 and 2 are constants |
| ``zero 2`` | input 2 is a constant of zeros |
| ``fixed 0`` | all axes of input 0 have sizes (``known 0 1 -1``: its axes 1 and the last) |
| ``type 1 float`` | input 1 is of one of these types (``type_out 0 int8``: output 0) |
| ``attribute mode linear`` | the attribute, or its default, is one of these (``not_attribute``: none of them) |
| ``no_attribute end`` | the attribute is not there |
| ``without 1`` | output 1 is not asked for (``without_input 6``: input 6 is not given) |
| ``after Conv`` | input 0 comes from one of these operators, which the provider takes, and goes nowhere else |
| ``last_axis`` | the attribute ``axis`` is the last axis of input 0 |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .tensor_facts import Facts

if TYPE_CHECKING:
    from onnx import NodeProto

Broken = tuple[str, str] | None
"""Why a rule does not hold and what to change; ``None`` when it holds."""


@dataclass(frozen=True)
class Case:
    """A node to check.

    ``constants``: tensors that count as constant here though they are none; ``taken``: outputs of nodes that the provider takes.
    """

    node: NodeProto
    facts: Facts
    constants: Collection[str] = ()
    taken: Collection[str] = ()

    def input(self, index: str) -> str:
        """The name of an input, empty for an absent one."""
        place = int(index)
        return self.node.input[place] if place < len(self.node.input) else ""

    def constant(self, name: str) -> bool:
        """Whether a tensor counts as constant."""
        return name in self.facts.constants or name in self.constants


def broken(rules: Sequence[str], case: Case) -> Broken:
    """The first rule that does not hold. Raises ``KeyError`` for a rule that does not exist."""
    for rule in rules:
        found = [_check(option, case) for option in rule.split(" | ")]
        if all(found):
            return found[0]
    return None


def _check(rule: str, case: Case) -> Broken:
    kind, *words = rule.split()
    return _RULES[kind](case, *words)


def _rank(case: Case, index: str, *ranks: str) -> Broken:
    return _ranks(case, index, f"{' or '.join(ranks)} axes", lambda rank: str(rank) in ranks)


def _max_rank(case: Case, index: str, limit: str) -> Broken:
    return _ranks(case, index, f"at most {limit} axes", lambda rank: rank <= int(limit))


def _min_rank(case: Case, index: str, limit: str) -> Broken:
    return _ranks(case, index, f"at least {limit} axes", lambda rank: rank >= int(limit))


def _ranks(case: Case, index: str, wanted: str, holds: Callable[[int], bool]) -> Broken:
    name = case.input(index)
    shape = case.facts.shapes.get(name)
    if not name or (shape is not None and holds(len(shape))):
        return None
    have = "an unknown number of axes" if shape is None else f"{len(shape)} axes"
    return f"'{name}' has {have}; {wanted} are taken", f"give '{name}' {wanted}"


def _constant(case: Case, *places: str) -> Broken:
    given = [case.input(place) for place in places if case.input(place)]
    name = next((name for name in given if not case.constant(name)), None)
    return (f"'{name}' is computed; only a constant is taken", f"make '{name}' an initializer") if name else None


def _zero(case: Case, index: str) -> Broken:
    from onnx import numpy_helper

    name = case.input(index)
    tensor = case.facts.constants.get(name)
    if not name or (tensor is not None and not numpy_helper.to_array(tensor).any()):
        return None
    return f"zero point '{name}' is not 0", "quantise symmetrically: [quantize] activations = 'int8', symmetric"


def _fixed(case: Case, index: str) -> Broken:
    name = case.input(index)
    shape = case.facts.shapes.get(name)
    return _axes(case, name, range(len(shape)) if shape is not None else (0,)) if name else None


def _known(case: Case, index: str, *axes: str) -> Broken:
    name = case.input(index)
    return _axes(case, name, [int(axis) for axis in axes]) if name else None


def _axes(case: Case, name: str, axes: Collection[int]) -> Broken:
    shape = case.facts.shapes.get(name)
    if shape is None:
        return unknown_rank(name)
    loose = next((axis for axis in axes if -len(shape) <= axis < len(shape) and not isinstance(shape[axis], int)), None)
    return None if loose is None else dynamic(name, loose % len(shape), shape[loose])


def unknown_rank(name: str) -> tuple[str, str]:
    """The words for a tensor without a shape."""
    return f"the shape of '{name}' is unknown", "fix the model's input shapes; what depends on data stays unknown"


def dynamic(name: str, axis: int, size: int | str | None) -> tuple[str, str]:
    """The words for an axis without a size."""
    if size is None:
        return f"axis {axis} of '{name}' is dynamic", "fix the model's input shapes; what depends on data stays dynamic"
    return f"axis {axis} of '{name}' is dynamic ('{size}')", f"give the axis '{size}' a size in [shapes]"


def _type(case: Case, index: str, *kinds: str) -> Broken:
    name = case.input(index)
    have = case.facts.types.get(name, "unknown")
    taken = ", ".join(kinds)
    return None if not name or have in kinds else (f"'{name}' is {have}; {taken} is taken", f"cast '{name}' to {kinds[0]}")


def _type_out(case: Case, index: str, *kinds: str) -> Broken:
    name = case.node.output[int(index)]
    have = case.facts.types.get(name, "unknown")
    return None if have in kinds else (f"'{name}' is {have}; {', '.join(kinds)} is taken", f"quantise to {kinds[0]}")


def _attribute(case: Case, name: str, *values: str) -> Broken:
    have = case.facts.attribute(case.node, name)
    if have is None or have in values:
        return None
    return f"{name} is {have}; {', '.join(values)} is taken", f"set {name} to {values[0]}"


def _not_attribute(case: Case, name: str, *values: str) -> Broken:
    have = case.facts.attribute(case.node, name)
    return (f"{name} {have} is not taken", f"another {name}") if have in values else None


def _no_attribute(case: Case, name: str) -> Broken:
    there = any(attribute.name == name for attribute in case.node.attribute)
    return (f"the attribute {name} is not taken", f"leave out {name}") if there else None


def _without(case: Case, *places: str) -> Broken:
    outputs = case.node.output
    name = next((outputs[int(i)] for i in places if int(i) < len(outputs) and outputs[int(i)]), None)
    return (f"its output '{name}' is not taken", f"leave out the output '{name}'") if name else None


def _without_input(case: Case, *places: str) -> Broken:
    name = next((case.input(place) for place in places if case.input(place)), None)
    return (f"its input '{name}' is not taken", f"leave out the input '{name}'") if name else None


def _after(case: Case, *operators: str) -> Broken:
    name = case.input("0")
    maker = case.facts.makers.get(name)
    alone = len(case.facts.readers.get(name, ())) == 1 and name not in case.facts.outputs
    if maker is not None and maker.op_type in operators and name in case.taken and alone:
        return None
    return f"{case.node.op_type} is taken only when it fuses with a {', '.join(operators)} before it that is taken", ""


def _last_axis(case: Case) -> Broken:
    axis, shape = case.facts.attribute(case.node, "axis"), case.facts.shapes.get(case.input("0"))
    if axis == "-1" or (shape is not None and axis == str(len(shape) - 1)):
        return None
    return f"axis is {axis}; only the last one is taken", "transpose so that it is the last axis"


_RULES: dict[str, Callable[..., Broken]] = {
    "rank": _rank, "max_rank": _max_rank, "min_rank": _min_rank, "constant": _constant, "zero": _zero, "fixed": _fixed,
    "known": _known, "type": _type, "type_out": _type_out, "attribute": _attribute, "not_attribute": _not_attribute,
    "no_attribute": _no_attribute, "without": _without, "without_input": _without_input, "after": _after,
    "last_axis": _last_axis,
}  # fmt: skip
NAMES = frozenset(_RULES)
"""The rules that exist."""
