"""A path in a recipe, and what it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .toml_lines import Keys

CALLABLE = r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$"
"""The pattern of a file and a callable in it."""


class Reference(NamedTuple):
    """A path in a recipe: its key, the path, its role, and what must be there: a ``file``, ``folder``, ``images`` or ``any``."""

    keys: Keys
    path: str
    role: str
    what: str = "file"


def file_of(callable_: str) -> str:
    """The file of ``file.py:callable``."""
    return callable_.rpartition(":")[0]


def several(keys: Keys, role: str, paths: Iterable[str], what: str = "any") -> Iterator[Reference]:
    """The paths of a list."""
    for index, path in enumerate(paths):
        yield Reference((*keys, index), path, role, what)
