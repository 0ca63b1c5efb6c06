"""The Go binding of ONNX Runtime: which of its tags fits a fleet, and what that tag can do (``go_tags.toml``)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .rules import Mistake

KIND = "go"
MODULE = "github.com/yalue/onnxruntime_go"
_TABLE = Path(__file__).parent / "go_tags.toml"


@dataclass(frozen=True)
class Adding:
    """How a provider is added to a session: by the function ``AppendExecutionProvider<call>``, or by ``name``."""

    call: str = ""
    name: str = ""


@dataclass(frozen=True)
class Binding:
    """A tag, the version of the C API that it asks for, and its ``has`` of what later tags have.

    ``note`` is empty unless the runtime is newer than every known tag.
    """

    tag: str
    api: int
    note: str
    has: Mapping[str, bool]
    providers: Mapping[str, Adding]


def minor(version: str) -> int:
    """The newest version of the C API in ONNX Runtime 1.X, which is X."""
    return int(version.split(".")[1])


def find(oldest: str) -> Binding | None:
    """The newest tag that the fleet's oldest runtime accepts; None for one that is older than every tag.

    A runtime that is newer than every tag takes the newest, as the API only grows; what it gained since is out of reach.
    """
    table = _table()
    fitting = [(tag, api) for tag, api in table["tags"].items() if api <= minor(oldest)]
    if not fitting:
        return None
    tag, api = max(fitting, key=lambda pair: number(pair[0]))
    has = {what: number(first) <= number(tag) for what, first in table["since"].items()}
    known = {name: dict(how) for name, how in table["providers"].items()}
    adding = {name: Adding(**how) for name, how in known.items() if number(how.pop("since")) <= number(tag)}
    return Binding(tag, api, _note(oldest), has, adding)


def number(tag: str) -> tuple[int, ...]:
    """``v1.17.0`` as numbers that can be compared."""
    return tuple(map(int, tag.removeprefix("v").split(".")))


def mistakes(snippets: Sequence[str], package: str, versions: Sequence[str]) -> Iterator[Mistake]:
    """What a target that wants Go says of its ``[runtime]``; ``versions`` are the fleet's, oldest first."""
    if KIND not in snippets:
        return
    without = f'take "{KIND}" out of [outputs] snippets'
    if package == "onnxruntime-web":
        yield Mistake(("runtime", "package"), "no Go program loads it", f"{without[0].upper()}{without[1:]}.")
    elif find(versions[0]) is None:
        first, least = next(iter(_table()["tags"].items()))
        what = f"Go's binding of ONNX Runtime begins with {first}, which needs 1.{least} or newer, not {versions[0]}"
        yield Mistake(("runtime", "versions"), what, f"Raise it, or {without}.")


def _note(oldest: str) -> str:
    """For a runtime that is newer than every tag."""
    newest = max(_table()["tags"].values())
    if minor(oldest) <= newest:
        return ""
    return f"ONNX Runtime {oldest} has API {minor(oldest)}; no tag of the binding is known that reaches beyond API {newest}"


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(_TABLE.read_text())
