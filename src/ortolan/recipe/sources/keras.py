"""``[source] kind = "keras"``: a whole model that Keras has saved."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .base import Look, Offer, SourceTable, TimeLimit
from .tensorflow import Layout

_HDF5 = b"\x89HDF\r\n\x1a\n"


class KerasSource(SourceTable):
    """A model with its architecture: ``.keras``, or HDF5."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".keras", ".h5", ".hdf5")

    kind: Literal["keras"]
    file: str
    trust: bool = Field(default=False, description="run the Python code of Lambda layers, confined: see docs/sources/keras.md")
    layout: Layout = "keep"
    time_limit: TimeLimit = 600

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """By HDF5's first bytes, or by the names in Keras's archive. Nothing in it is loaded."""
        if look.head.startswith(_HDF5):
            what = "a Keras model (HDF5)"
        elif {"config.json", "model.weights.h5"} <= set(look.members) and not look.folder:
            what = "a Keras model"
        else:
            return None
        return Offer(what, {"kind": "keras", "file": look.path.name})
