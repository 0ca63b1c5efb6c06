"""Reads a user's finished ONNX model from its folder, as it is or mended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import canon, external, repair, sound
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto


def find(folder: Path, file: str) -> Path:
    """The model's path. Raises ``Refused`` when it leads out of the folder or is no file."""
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Refused(f"{file} leads out of the model's folder", hint="[source] file is a path below the recipe's folder")
    if not path.is_file():
        raise Refused(f"{file} is missing", hint="check [source] file in the model's recipe")
    return path


def read(folder: Path, file: str, most: int = external.LIMIT) -> tuple[ModelProto, list[str]]:
    """The model, and the names of the files that hold its external data. Raises ``Refused``.

    The data are taken in where the whole then has at most ``most`` bytes, else they are looked at and stay where they are.
    """
    path = find(folder, file)
    model = canon.parse(path)
    found = external.ranges(model, path.parent)
    if external.total(model, found) <= most:
        external.take_in(found)
    return model, external.files(found, path.parent)


def mended(folder: Path, file: str, most: int = external.LIMIT) -> tuple[ModelProto, dict[str, Any]]:
    """The model in a form that every later stage can take, and what had to be mended. Raises ``Refused`` if it cannot be."""
    model, files = read(folder, file, most)
    done = repair.mend(model)
    sound.refuse_unsound(model)
    del model.metadata_props[:]  # a file that calls its metadata ortolan's is none of ours
    return model, ({"external_data": files} if files else {}) | done
