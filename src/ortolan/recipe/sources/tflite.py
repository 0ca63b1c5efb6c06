"""``[source] kind = "tflite"``: a model for LiteRT, which was TensorFlow Lite."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Look, Offer, SourceTable, TimeLimit
from .tensorflow import Layout

_MARK = b"TFL3"


class TFLiteSource(SourceTable):
    """A ``.tflite`` flatbuffer, in float or already quantised."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".tflite",)

    kind: Literal["tflite"]
    file: str
    layout: Layout = "keep"
    time_limit: TimeLimit = 600

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """By the identifier of the flatbuffer, its bytes 4 to 7. Nothing in such a file is run."""
        if look.head[4:8] != _MARK:
            return None
        return Offer("a TFLite model", {"kind": "tflite", "file": look.path.name})
