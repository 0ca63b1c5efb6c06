"""``[source] kind = "tensorflow"``: a SavedModel, or a frozen graph."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..reference import Reference
from .base import Look, Offer, SourceTable, TimeLimit

Layout = Annotated[
    Literal["keep", "NCHW"], Field(description="of inputs with four axes: as the model has them, or channels moved to the front")
]
"""A key of all that TensorFlow has trained."""
_NODE = re.compile(
    rb"\A\n[\x00-\xff]{1,5}?\n[\x01-\xff]{1,2}?([A-Za-z0-9.][A-Za-z0-9_.\\/>-]*)\x12[\x01-\x7f]([A-Z_][A-Za-z0-9_>]*)"
)
_SAVED = "saved_model.pb"


class TensorFlowSource(SourceTable):
    """The folder of a SavedModel, or a ``.pb`` file with a frozen graph."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".pb",)

    kind: Literal["tensorflow"]
    file: str = Field(description="a SavedModel's folder, or the .pb file of a frozen graph")
    signature: str | None = Field(default=None, description="which signature of a SavedModel; needed where it has several")
    output_tensors: list[str] = Field(default=[], description="what a frozen graph gives, like output:0; needed for several")
    constants: dict[str, bool | int | float] = Field(
        default={}, description="inputs that are a constant from here on, like { keep_prob = 1.0 }"
    )
    layout: Layout = "keep"
    time_limit: TimeLimit = 600

    def references(self) -> Iterator[Reference]:
        """A file, or all of a folder."""
        yield Reference(("source", "file"), self.file, "source", "any")

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """A folder with ``saved_model.pb``, that file itself, or a file whose first message is a node of a graph."""
        if _SAVED in look.members and look.folder:
            return Offer("a TensorFlow SavedModel", {"kind": "tensorflow", "file": look.path.name})
        if look.path.name == _SAVED:
            return Offer("a TensorFlow SavedModel", {"kind": "tensorflow", "file": "."})
        if look.suffix == ".pb" and _NODE.match(look.head):
            return Offer("a TensorFlow graph", {"kind": "tensorflow", "file": look.path.name})
        return None
