"""What a comparison consists of: changes in groups, each with what it means for whoever has the old release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """What a change means. ``BREAKING``: programs or devices that work with OLD may not work with NEW."""

    CHANGED = "changed"
    BETTER = "better"
    REGRESSION = "regression"
    BREAKING = "breaking"


@dataclass(frozen=True)
class Change:
    """One thing that differs; ``old`` or ``new`` is empty where the thing is not there."""

    what: str
    old: str
    new: str
    level: Level = Level.CHANGED
    why: str = ""


@dataclass(frozen=True)
class Group:
    """Changes of one kind; what was compared and is the same; what could not be compared, with the reason."""

    name: str
    changes: tuple[Change, ...] = ()
    same: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass
class Notes:
    """A group while it is written."""

    name: str
    changes: list[Change] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def value(self, what: str, old: str, new: str, level: Level = Level.CHANGED, why: str = "") -> None:
        """A change if the two differ; else they stand with what is the same. Two empty ones say nothing."""
        if old != new:
            self.changes.append(Change(what, old, new, level, why))
        elif new:
            self.same.append(f"{what} {new}")

    def values(self, old: Mapping[str, str], new: Mapping[str, str], what: str = "") -> None:
        """Each key's value, those of both or of one."""
        for key, before, after in both(old, new):
            self.value(f"{what} {key}".strip(), before or "", after or "")

    def group(self) -> Group:
        """What it has become."""
        return Group(self.name, tuple(self.changes), tuple(self.same), tuple(self.unseen))


def both(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Key, OLD's value and NEW's, None where there is none: first what NEW has, in its order, then what only OLD has."""
    for key in [*new, *(key for key in old if key not in new)]:
        yield key, old.get(key), new.get(key)


def some(count: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
