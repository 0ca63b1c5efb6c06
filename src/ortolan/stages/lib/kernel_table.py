"""Reads a table of kernels: which operators, opsets and types one version of an execution provider takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Types = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Form:
    """One way in which an operator is taken.

    ``since`` and ``until`` bound the version in which the operator's definition last changed (``None``: no bound known), which
    is what ONNX Runtime compares, not the model's opset. ``types``: allowed types by type name of the definition (``T``) or by
    place (``in 0``). ``rules``: see ``table_rules``. ``note``: what else is asked, which nobody checks here.
    """

    since: int
    until: int | None
    types: Types
    rules: tuple[str, ...]
    note: str

    def covers(self, version: int) -> bool:
        """Whether this form is for that version of the operator's definition."""
        return self.since <= version and (self.until is None or version <= self.until)


@dataclass(frozen=True)
class KernelTable:
    """What a provider takes, and how that is known; ``operators`` by ``domain:Op``.

    ``qdq``: QuantizeLinear and DequantizeLinear are operators like others (``nodes``), go with the operator between them
    (``units``: by operator the pairs ``activations,weights``), or are not taken (``none``). ``opsets``: the highest that the
    runtime takes. ``unseen``: operators that the provider has, of which the source of the table tells no more. ``elsewhere``:
    operators that it takes only with another option, which is named.
    """

    provider: str
    version: str
    software: str
    level: str
    sources: tuple[str, ...]
    qdq: str
    units: Mapping[str, Sequence[str]]
    fixed: bool
    max_rank: int | None
    opsets: Mapping[str, int]
    unseen: frozenset[str]
    elsewhere: Mapping[str, str]
    operators: Mapping[str, Sequence[Form]]


def read(path: Path, options: Mapping[str, Any]) -> KernelTable:
    """The table of a file, for a provider with these options: some choose between operators, some ask for fixed shapes."""
    raw = json.loads(path.read_text())
    sets = [frozenset(text.split(",")) if text else frozenset[str]() for text in raw["types"]]
    choice = str(options.get(raw["option"]["name"], raw["option"]["default"])) if raw["option"] else ""
    rows = raw["operators"].get(choice, {})
    fixed = raw["fixed"]
    return KernelTable(
        provider=raw["provider"],
        version=raw["version"],
        software=raw["software"],
        level=raw["level"],
        sources=tuple(raw["sources"]),
        qdq=raw["qdq"],
        units=raw["units"],
        fixed=str(options.get(fixed, 0)).lower() in {"1", "true"} if isinstance(fixed, str) else fixed,
        max_rank=raw["max_rank"],
        opsets=raw["opsets"],
        unseen=frozenset(raw["unseen"]),
        elsewhere=_elsewhere(raw, choice) if raw["option"] else {},
        operators={name: [_form(row, sets) for row in forms] for name, forms in rows.items()},
    )


def _elsewhere(raw: Mapping[str, Any], choice: str) -> dict[str, str]:
    others = {value: operators for value, operators in raw["operators"].items() if value != choice}
    option, here = raw["option"]["name"], raw["operators"].get(choice, {})
    return {name: f"{option} = '{value}'" for value, operators in others.items() for name in operators if name not in here}


def _form(row: Sequence[Any], sets: Sequence[frozenset[str]]) -> Form:
    since, until, types, *more = row
    rules, note = (*more, (), "")[:2] if len(more) != 1 else (more[0], "")
    return Form(since, until, {name: sets[index] for name, index in types.items()}, tuple(rules), note)
