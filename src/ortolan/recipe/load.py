"""Read a target or a model from its TOML file; all its mistakes at once, each with file, line and key."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import RecipeError
from .explain import Problem, explain
from .nearest import did_you_mean
from .schema import Model, Target
from .sources import kind_of
from .toml_lines import Keys, line_of, lines

Recipe = TypeVar("Recipe", bound=BaseModel)

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CAUSES = {
    "Invalid value": "Strings need quotes; true and false are written in lower case.",
    "Expected newline or end of document after a statement": "One key stands on one line; strings need quotes.",
    "Expected '=' after a key": "Write key = value; table headers stand in [brackets].",
    "Cannot overwrite a value": "The key stands here twice.",
    "Cannot declare": "Join the two tables.",
    "Unescaped '\\' in a string": "Write paths with / or in 'single quotes'.",
}


def load_target(path: Path) -> Target:
    """The target in a file. Raises RecipeError."""
    return load(path, Target)


def load_model(path: Path) -> Model:
    """The model in a file. Raises RecipeError. The files that it names are looked up by ``Project``."""
    return load(path, Model, lambda document: _with_kind(document, path.parent))


def complain(path: Path, problems: Iterable[Problem]) -> RecipeError:
    """The error for mistakes in a recipe that was read from ``path``, in the order of its lines."""
    known = lines(_text(path))
    placed = sorted(((line_of(p.path, known), p) for p in problems), key=lambda pair: pair[0])
    return RecipeError("\n".join(_line(path, number, dotted(p.path), p.text, p.hint) for number, p in placed))


def dotted(path: Keys) -> str:
    """``provider[0].options``, quoted where TOML quotes."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part if _BARE.fullmatch(part) else repr(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def shown(path: Path) -> str:
    """A path as the user would type it: relative where it lies below the current folder."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near


def load(path: Path, kind: type[Recipe], ready: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Recipe:
    """A TOML file as ``kind``. ``ready`` completes what it says. Raises RecipeError."""
    document = ready(_parse(path, _text(path)))
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise complain(path, explain(error, kind)) from None


def _with_kind(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A model's recipe need not say what kind its source is where the keys or the file tell."""
    source = document.get("source")
    if not isinstance(source, dict) or "kind" in source or not (kind := kind_of(source, folder)):
        return document
    return document | {"source": source | {"kind": kind}}


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise _absent(path) from None
    except OSError as error:
        raise RecipeError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise RecipeError(_line(path, line, "", what, "Save the file as UTF-8.")) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        line = int(position[1]) if position and position[1] else text.count("\n") + 1
        column = f"column {position[2]}" if position and position[2] else "at the end"
        what = _POSITION.sub("", str(error))
        unclosed = "A bracket or a quote is not closed." if column == "at the end" else ""
        hint = unclosed or next((cause for start, cause in _CAUSES.items() if what.startswith(start)), "")
        raise RecipeError(_line(path, line, column, f"not valid TOML: {what}", hint)) from None


def _absent(path: Path) -> RecipeError:
    names = [other.name for other in path.parent.glob("*") if other.is_file()] if path.parent.is_dir() else []
    return RecipeError(_line(path, 0, "", "no such file", did_you_mean(path.name, names)))


def _line(path: Path, number: int, key: str, text: str, hint: str = "") -> str:
    where = f"{shown(path)}:{number}" if number else shown(path)
    sentence = ": ".join(part for part in (where, key, text) if part)
    return f"{sentence}. {hint}".rstrip() if hint else sentence
