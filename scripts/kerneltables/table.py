"""The form of a table of kernels, and its file: the same facts give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REGISTERED, LISTED = "registered", "listed"
Types = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Form:
    """One way in which an operator is taken: the versions of its definition, types by type name or place, and rules.

    ``since`` and ``until`` bound the version in which the operator's definition last changed, not the model's opset. ``types``
    has a key for a type name of the definition (``T``) or for a place (``in 0``). ``rules`` are those of
    ``ortolan/stages/lib/table_rules.py``; ``note`` says in words what else is asked that nobody checks here.
    """

    since: int
    until: int | None
    types: Types
    rules: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Table:
    """What one version of a provider takes. ``operators``: ``{"domain:Op": forms}`` for each value of ``option``, or for ``""``.

    ``fixed``: True when it takes fixed shapes only; an option's name when that option asks for them. ``qdq``: Q/DQ are operators
    like others (``nodes``), go with the operator that they surround (``units``: by operator the types of activations and
    weights), or are not taken (``none``). ``opsets``: the highest that the runtime loads. ``unseen``: operators known to be
    taken, of which the source says no more.
    """

    provider: str
    version: str
    software: str
    level: str
    made: str
    sources: Sequence[str]
    operators: Mapping[str, Mapping[str, Sequence[Form]]]
    qdq: str = "nodes"
    units: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fixed: bool | str = False
    max_rank: int | None = None
    opsets: Mapping[str, int] = field(default_factory=dict)
    option: Mapping[str, str] | None = None
    unseen: Sequence[str] = ()


def merged(forms: Iterable[Form]) -> list[Form]:
    """The same kernels in fewer entries: those that differ in one type only become one that takes both."""
    left = sorted(set_of(forms), key=_order)
    changed = True
    while changed:
        changed = False
        for one in left:
            other = next((form for form in left if form is not one and _alike(one, form)), None)
            if other:
                left = sorted([form for form in left if form not in (one, other)] + [_both(one, other)], key=_order)
                changed = True
                break
    return left


def set_of(forms: Iterable[Form]) -> list[Form]:
    """The forms without repetitions."""
    found: list[Form] = []
    for form in forms:
        if form not in found:
            found.append(form)
    return found


def _order(form: Form) -> Any:
    return form.since, form.until or 10**6, sorted((name, sorted(kinds)) for name, kinds in form.types.items()), form.rules


def _alike(one: Form, other: Form) -> bool:
    same = (one.since, one.until, one.rules, one.note) == (other.since, other.until, other.rules, other.note)
    return same and one.types.keys() == other.types.keys() and sum(one.types[k] != other.types[k] for k in one.types) <= 1


def _both(one: Form, other: Form) -> Form:
    return Form(one.since, one.until, {name: one.types[name] | other.types[name] for name in one.types}, one.rules, one.note)


def write(table: Table, folder: Path, name: str) -> Path:
    """Write ``<folder>/<name>-<version>.json``: a line for each operator, the sets of types once."""
    path = folder / f"{name}-{table.version}.json"
    path.write_text(render(table))
    return path


def render(table: Table) -> str:
    """The text of a table's file."""
    sets = sorted({",".join(sorted(kinds)) for form in _forms(table) for kinds in form.types.values()})
    index = {text: place for place, text in enumerate(sets)}
    head = {
        "provider": table.provider, "version": table.version, "software": table.software, "level": table.level,
        "made": table.made, "sources": list(table.sources), "qdq": table.qdq, "units": dict(table.units), "fixed": table.fixed,
        "max_rank": table.max_rank, "opsets": dict(table.opsets), "option": table.option, "unseen": sorted(table.unseen),
    }  # fmt: skip
    lines = [f" {json.dumps(key)}: {json.dumps(value, sort_keys=True)}," for key, value in sorted(head.items())]
    operators = [_choice(choice, table.operators[choice], index) for choice in sorted(table.operators)]
    return "\n".join(["{", *lines, ' "operators": {', ",\n".join(operators), " },", _types(sets), "}"]) + "\n"


def _forms(table: Table) -> Iterable[Form]:
    return (form for operators in table.operators.values() for forms in operators.values() for form in forms)


def _choice(choice: str, operators: Mapping[str, Sequence[Form]], index: Mapping[str, int]) -> str:
    rows = [
        f"   {json.dumps(name)}: {json.dumps([_row(form, index) for form in forms], separators=(',', ':'), ensure_ascii=False)}"
        for name, forms in sorted(operators.items())
    ]
    return f"  {json.dumps(choice)}: {{\n" + ",\n".join(rows) + "\n  }"


def _row(form: Form, index: Mapping[str, int]) -> list[Any]:
    """``[since, until, types, rules, note]``, without the last ones where they are empty."""
    types = {name: index[",".join(sorted(kinds))] for name, kinds in sorted(form.types.items())}
    more: list[Any] = [list(form.rules), form.note] if form.note else [list(form.rules)] if form.rules else []
    return [form.since, form.until, types, *more]


def _types(sets: Sequence[str]) -> str:
    return ' "types": [\n' + ",\n".join(f"  {json.dumps(text)}" for text in sets) + "\n ]"
