"""What every ``[source]`` table is made with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from ..base import Strict
from ..reference import Reference
from .look import Look, Missing, Offer

_DAY = 86_400  # seconds; a timer of Python's takes no number at will

TimeLimit = Annotated[int, Field(ge=1, le=_DAY, description="seconds that each step on the source may take")]
"""A key that every source has."""
INPUTS = '[[input]]\nname = "x"\ndtype = "float32"\nshape = ["batch", 4]'
"""``[[input]]`` to be filled in."""


def _kind_may_be_absent(schema: dict[str, Any]) -> None:
    """The loader recognises a kind by the file, so that editors must not ask for it."""
    schema["required"] = [key for key in schema.get("required", []) if key != "kind"]


class SourceTable(Strict):
    """One kind of source: its keys, the files that it names, and how its files are recognised.

    ``SUFFIXES`` are what files of this kind are called. ``TELLS_INPUTS`` is false where a recipe must have ``[[input]]``.
    ``SAMPLES`` is how many samples parity is measured on where the recipe does not say.
    """

    model_config = ConfigDict(json_schema_extra=_kind_may_be_absent)
    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    TELLS_INPUTS: ClassVar[bool] = True
    SAMPLES: ClassVar[int] = 2

    @property
    def tells_inputs(self) -> bool:
        """Whether the inputs can be read from what the table names."""
        return self.TELLS_INPUTS

    @property
    def main(self) -> str:
        """The path of the model's own file, as the recipe has it."""
        return str(getattr(self, "file", ""))

    def references(self) -> Iterator[Reference]:
        """Every path of the table, with role ``source`` or ``weights``."""
        yield Reference(("source", "file"), self.main, "source")

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """What a file is by itself; None where it is not of this kind. Reads, and never runs, what is there."""
        raise NotImplementedError


__all__ = ["INPUTS", "Look", "Missing", "Offer", "SourceTable", "TimeLimit"]
