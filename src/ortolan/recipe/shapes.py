"""``[shapes]``: what becomes of each named axis: fixed, dynamic within a profile, or dynamic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from .base import Strict
from .provider_data import find
from .rules import CPU, Mistake, check

DYNAMIC = "dynamic"
_WANTS = 'a size, "dynamic", or a profile like { min = 1, opt = 4, max = 8 }'


class Profile(Strict):
    """Sizes of an axis in an engine: the least, the one to tune for, the most. None: of any size; all alike: fixed."""

    min: int | None = Field(default=None, ge=1)
    opt: int | None = Field(default=None, ge=1)
    max: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _grows(self) -> Self:
        sizes = {"min": self.min, "opt": self.opt, "max": self.max}
        missing = [name for name, size in sizes.items() if size is None]
        if missing and len(missing) < len(sizes):
            check([Mistake((missing[0],), "missing", f"A profile is {_WANTS.partition('like ')[2]}.")])
        for low, high in (("min", "opt"), ("opt", "max")):
            if not missing and sizes[low] > sizes[high]:  # type: ignore[operator]
                text = f"{low} = {sizes[low]} is more than {high} = {sizes[high]}"
                check([Mistake((low,), text, "A profile grows: min ≤ opt ≤ max.")])
        return self

    @property
    def fixed(self) -> int | None:
        """The size, when there is only one."""
        return self.opt if self.min == self.max else None

    @property
    def ranged(self) -> bool:
        """Whether it is dynamic within bounds."""
        return self.opt is not None and self.fixed is None


def _axis(value: Any) -> Any:
    if value == DYNAMIC:
        return {}
    if isinstance(value, bool) or not isinstance(value, int | dict | Profile):
        check([Mistake((), f"wants {_WANTS}, found {value!r}")])
    if isinstance(value, int):
        check([Mistake((), f"wants at least 1, found {value}")] if value < 1 else [])
        return {"min": value, "opt": value, "max": value}
    if value == {}:
        check([Mistake((), f"wants {_WANTS}, found an empty table")])
    return value


_TABLE = {"type": "object", "properties": {n: {"type": "integer", "minimum": 1} for n in ("min", "opt", "max")}}
_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1}, {"const": DYNAMIC}, {**_TABLE, "additionalProperties": False}]}
AxisShape = Annotated[Profile, BeforeValidator(_axis), WithJsonSchema(_SCHEMA)]


def mistakes(shapes: Mapping[str, Profile], providers: Sequence[str]) -> Iterator[Mistake]:
    """Axes that the first provider, which should get the nodes, cannot take as they are asked for."""
    data = None if providers[0] == CPU else find(providers[0])
    if data is None:
        return
    for axis, shape in shapes.items():
        if data.shapes == "fixed" and shape.fixed is None:
            yield Mistake(("shapes", axis), f"{data.title} takes fixed shapes only", "Give the axis one size.")
        elif data.shapes == "profiles" and shape.opt is None:
            text = f"{data.title} builds engines for a size or a profile"
            yield Mistake(("shapes", axis), text, "Write { min = 1, opt = 4, max = 8 }, or one size.")
