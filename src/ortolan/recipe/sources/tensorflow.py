"""``[source] kind = "tensorflow"``: a SavedModel, or a frozen graph."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..reference import Reference
from .base import Look, Missing, Offer, SourceTable, TimeLimit
from .wire import fields

Layout = Annotated[
    Literal["keep", "NCHW"], Field(description="of inputs with four axes: as the model has them, or channels moved to the front")
]
"""A key of all that TensorFlow has trained."""
_NODE = re.compile(
    rb"\A\n[\x00-\xff]{1,5}?\n[\x01-\xff]{1,2}?([A-Za-z0-9.][A-Za-z0-9_.\\/>-]*)\x12[\x01-\x7f]([A-Z_][A-Za-z0-9_>]*)"
)
_SAVED = "saved_model.pb"
_GRAPHS, _SIGNATURES, _KEY = 2, 5, 1
_INTERNAL = frozenset({"__saved_model_init_op", "__saved_model_train_op"})  # signatures that TensorFlow adds for itself


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
            return _saved(look.path, look.path.name)
        if look.path.name == _SAVED:
            return _saved(look.path.parent, ".")
        if look.suffix == ".pb" and _NODE.match(look.head):
            return Offer("a TensorFlow graph", {"kind": "tensorflow", "file": look.path.name})
        return None


def whole(path: Path) -> Path:
    """The model that a path names: of the file ``saved_model.pb`` its folder, all else as it is."""
    if path.name != _SAVED or not path.is_file():
        return path
    return Path(os.path.abspath(path)).parent  # noqa: PTH100 - links stay as they are


def _saved(folder: Path, file: str) -> Offer:
    names, missing = _signatures(folder / _SAVED), tuple[Missing, ...]()
    if len(names) > 1:
        lines = f'[source]\nsignature = "{names[0]}"'
        missing = (Missing(lines, f"the SavedModel has {len(names)} signatures: {', '.join(names)}"),)
    return Offer("a TensorFlow SavedModel", {"kind": "tensorflow", "file": file}, missing)


def _signatures(path: Path) -> list[str]:
    """The names of its signatures; none where the file is damaged, which the stage that loads it tells better.

    Numbers of fields: saved_model.proto (meta_graphs 2), meta_graph.proto (signature_def 5, a map: key 1).
    """
    try:
        saved = memoryview(path.read_bytes())
        graphs = [content for number, content in fields(saved) if number == _GRAPHS]
        entries = [content for graph in graphs for number, content in fields(graph) if number == _SIGNATURES]
        names = {bytes(key).decode() for entry in entries for number, key in fields(entry) if number == _KEY}
    except (OSError, ValueError):
        return []
    return sorted(names - _INTERNAL)
