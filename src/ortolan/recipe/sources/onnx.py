"""``[source] kind = "onnx"``: a finished model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from ..base import SIZE_SCHEMA, in_bytes
from ..reference import Reference, several
from .base import Look, Offer, SourceTable, TimeLimit


class OnnxSource(SourceTable):
    """A finished ``.onnx`` file."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".onnx",)

    kind: Literal["onnx"]
    file: str
    external_data: list[str] = Field(default=[], description="files with weights that the model refers to")
    inline: int = Field(
        default=10**9,
        description="a model of more bytes, its weights counted, has these in a file of their own, model.onnx.data",
        json_schema_extra=SIZE_SCHEMA,
    )
    time_limit: TimeLimit = 600

    _bytes = field_validator("inline", mode="before")(in_bytes)

    def references(self) -> Iterator[Reference]:
        """The model and its external data."""
        yield from super().references()
        yield from several(("source", "external_data"), "source", self.external_data, "file")

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """By its suffix, as protobuf has no magic bytes. Files beside it that bear its name and hold weights belong to it."""
        if look.suffix != ".onnx" or look.folder or look.amiss[0] or look.members:
            return None
        weights = _weights_beside(look.path)
        table: dict[str, Any] = {"kind": "onnx", "file": look.path.name, **({"external_data": weights} if weights else {})}
        return Offer("an ONNX model", table)


def _weights_beside(path: Path) -> list[str]:
    """``net.data``, ``net.onnx.data``, ``net.onnx_data_1``, ``net.weights.bin``: what exporters call external data."""
    ours = re.compile(re.escape(path.stem) + r"(?:\.onnx)?(?:[._-](?:data|weights?|bin|[0-9]+))+")
    folder = path.parent.resolve()
    beside = (other for other in path.parent.iterdir() if ours.fullmatch(other.name) and other.is_file())
    return sorted(other.name for other in beside if other.resolve().parent == folder)  # a link may lead to anything
