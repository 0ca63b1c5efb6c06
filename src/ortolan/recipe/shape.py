"""What a recipe may hold at a path, read off the pydantic models: the tables, their keys, and types in TOML's words."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from .toml_lines import Keys

_WORDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", dict: "a table"}
_MANY = {str: "strings", int: "integers", float: "numbers", bool: "true or false"}


@dataclass(frozen=True)
class Place:
    """A key in a recipe: its path, the kinds of table that it stands in, and the types that it may have."""

    path: Keys
    tables: tuple[type[BaseModel], ...]
    types: tuple[Any, ...]

    @property
    def keys(self) -> list[str]:
        """The keys of the table that it stands in."""
        return list(dict.fromkeys(key for table in self.tables for key in table.model_fields))


def place(model: type[BaseModel], loc: tuple[int | str, ...]) -> Place:
    """Where an error of pydantic is. Its ``loc`` also names members of unions; these are no keys and are left out."""
    path: Keys = ()
    tables: tuple[type[BaseModel], ...] = ()
    here: tuple[Any, ...] = (model,)
    for part in loc:
        if len(member := tuple(t for t in _tables(here) if part in _tags(t))) == 1 and len(_tables(here)) > 1:
            here = member
        elif below := _below(here, part):
            path, tables, here = (*path, part), _tables(here), below
        elif _tables(here) and isinstance(part, str):
            return Place((*path, part), _tables(here), ())
        else:
            break
    return Place(path, tables, here)


def _below(here: tuple[Any, ...], part: int | str) -> tuple[Any, ...]:
    """The types of an element or of a key's value; none where nothing is known by this name."""
    found: list[Any] = []
    for one in here:
        origin, args = get_origin(one), get_args(one)
        if isinstance(part, int) and origin is list:
            found += alternatives(args[0])
        elif isinstance(part, int) and origin is tuple and part < len(args):
            found += alternatives(args[part])
        elif isinstance(part, str) and origin is dict:
            found += alternatives(args[1])
        elif isinstance(part, str) and is_table(one) and part in one.model_fields:
            found += alternatives(one.model_fields[part].annotation)
    return tuple(found)


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, without None and without pydantic's annotations."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return tuple(one for member in get_args(annotation) for one in alternatives(member))
    return () if annotation is types.NoneType else (annotation,)


def is_table(annotation: Any) -> bool:
    """Whether a type is one of our tables."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def kinds(here: tuple[Any, ...]) -> list[str]:
    """What ``kind`` may be in a table that comes in kinds."""
    return [tag for table in _tables(here) for tag in _tags(table)]


def homes(model: type[BaseModel], key: str, path: Keys = ()) -> Iterator[str]:
    """The tables of a recipe that have a key, as their headers are written."""
    for name, field in model.model_fields.items():
        for one in alternatives(field.annotation):
            many = get_origin(one) is list
            for table in _tables(alternatives(get_args(one)[0]) if many else (one,)):
                if key in table.model_fields:
                    dotted = ".".join((*map(str, path), name))
                    yield f"[[{dotted}]]" if many else f"[{dotted}]"
                yield from homes(table, key, (*path, name))


def wanted(here: tuple[Any, ...]) -> str:
    """What may stand there, in TOML's words."""
    words = list(dict.fromkeys(_words(one) for one in here))
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def found(value: Any) -> str:
    """What stands there, in TOML's words."""
    if isinstance(value, str):
        return f'the string "{value if len(value) <= 40 else value[:37] + "..."}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the {'integer' if isinstance(value, int) else 'number'} {value}"
    if isinstance(value, list | tuple):
        return "an array"
    return "a table" if isinstance(value, dict) else "a date or time"


def _words(one: Any) -> str:
    origin, args = get_origin(one), get_args(one)
    if origin is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in args)
    if origin is tuple:
        return f"an array of {len(args)} {_plural(args[0])}"
    if origin is list:
        return f"an array of {_plural(args[0])}"
    return str(_WORDS.get(origin or one, "a table"))


def _plural(annotation: Any) -> str:
    return " or ".join(_MANY.get(one, "tables") for one in alternatives(annotation))


def _tables(here: tuple[Any, ...]) -> tuple[type[BaseModel], ...]:
    return tuple(one for one in here if is_table(one))


def _tags(table: type[BaseModel]) -> tuple[str, ...]:
    return get_args(table.model_fields["kind"].annotation) if "kind" in table.model_fields else ()
