"""A configuration of a reduced runtime in ONNX Runtime's own form, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .config_types import Types, to_json

ALLOWED = "!globally_allowed_types;"
EVERYTHING = "!no_ops_specified_means_all_ops_are_required"


@dataclass(frozen=True, order=True)
class Operator:
    """An operator in the version of its definition that came with ``opset``: what a kernel is registered for."""

    domain: str
    opset: int
    name: str

    def __str__(self) -> str:
        return f"{self.domain};{self.opset};{self.name}"


@dataclass(frozen=True)
class Config:
    """What a runtime holds, or what a model needs.

    ``types``: the limits of operators, by domain and name; one that is not in it has all types. ``allowed``: the types that all
    operators are limited to alike, which excludes ``types``. ``everything``: all operators; then ``operators`` is empty.
    """

    operators: frozenset[Operator] = frozenset()
    types: Mapping[tuple[str, str], Types] = field(default_factory=dict)
    allowed: frozenset[str] | None = None
    everything: bool = False

    def of(self, operator: Operator) -> Types | None:
        """An operator's limits; None: it has none of its own."""
        return self.types.get((operator.domain, operator.name))

    def text(self) -> str:
        """The canonical form, sorted; without comments it is what ONNX Runtime's tools write for the same models, to the byte."""
        lines = [f"{ALLOWED}{','.join(sorted(self.allowed))}"] if self.allowed is not None else []
        lines += [EVERYTHING] if self.everything else []
        at: dict[tuple[str, int], list[str]] = {}
        for one in sorted(self.operators):
            types = self.of(one)
            at.setdefault((one.domain, one.opset), []).append(one.name + (to_json(types) if types else ""))
        return "".join(f"{line}\n" for line in [*lines, *(f"{d};{o};{','.join(names)}" for (d, o), names in at.items())])
