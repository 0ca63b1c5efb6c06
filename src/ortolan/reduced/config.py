"""Configurations of reduced runtimes, in ONNX Runtime's own form: which operators, at which opsets, with which types.

The form is that of ``onnxruntime.tools.reduced_build_config_parser``: lines ``domain;opset;Op{types},Op``. Types belong to an
operator whatever its opset: that parser keeps those that it read last, which is how configurations that are put together by
hand lose types. So one that says two things of an operator is refused here, and a merge writes the same types at each opset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from .config_form import Config, Operator
from .config_read import NAME, read
from .config_types import Types, beyond, each, join, told

__all__ = ["NAME", "Config", "Lack", "Operator", "lacking", "merge", "read"]


@dataclass(frozen=True)
class Lack:
    """Something that is needed and not there.

    ``kind``: what is missing, all of the operator, this opset of it, or types. ``types``: the types that are needed, of kind
    ``types`` those that are missing; None: all. ``there``: in words what is there in its place.
    """

    operator: Operator
    kind: Literal["operator", "opset", "types"]
    types: Types | None
    there: str = ""

    def __str__(self) -> str:
        return f"{self.operator} ({told(self.types)})"


def merge(configs: Iterable[Config]) -> Config:
    """The least configuration that this form can say into which each of them fits."""
    given = [one for one in configs if one != Config()]
    limited = [one.allowed for one in given if one.allowed is not None]
    allowed = frozenset[str].union(*limited) if given and len(limited) == len(given) else None
    if any(one.everything for one in given):
        return Config(allowed=allowed, everything=True)
    needed: dict[tuple[str, str], list[Types | None]] = {}
    for one in given:
        for domain, name in {(operator.domain, operator.name) for operator in one.operators}:
            needed.setdefault((domain, name), []).append(one.types.get((domain, name)))
    joined = {key: types for key, several in needed.items() if (types := join(several))}
    return Config(frozenset(operator for one in given for operator in one.operators), joined, allowed)


def lacking(needed: Config, within: Config) -> list[Lack]:
    """What ``needed`` needs and ``within`` does not hold, sorted; empty where it fits.

    Held literally: the few types that ONNX Runtime's kernels keep whatever a configuration says count as missing, too.
    """
    if needed.everything and not within.everything:
        return [Lack(Operator("*", 0, "*"), "operator", None, f"{len(within.operators)} operators")]
    if needed.everything:
        return _unlimited(needed, within)
    opsets: dict[tuple[str, str], list[int]] = {}
    for one in sorted(within.operators):
        opsets.setdefault((one.domain, one.name), []).append(one.opset)
    return [lack for one in sorted(needed.operators) if (lack := _lack(one, needed, within, opsets))]


def _unlimited(needed: Config, within: Config) -> list[Lack]:
    fits = within.allowed is None or (needed.allowed is not None and needed.allowed <= within.allowed)
    return [] if fits else [Lack(Operator("*", 0, "*"), "types", None, _alike(within))]


def _lack(one: Operator, needed: Config, within: Config, opsets: Mapping[tuple[str, str], list[int]]) -> Lack | None:
    types, there = needed.of(one), opsets.get((one.domain, one.name), [])
    if not within.everything and one.opset not in there:
        known = f"opset {', '.join(map(str, there))}" if there else ""
        return Lack(one, "opset" if there else "operator", types, known)
    if within.allowed is not None:
        wanted = needed.allowed if types is None else each(types)
        fits = wanted is not None and wanted <= within.allowed
        return None if fits else Lack(one, "types", types, _alike(within))
    more = beyond(types, within.of(one))
    return None if more == {} else Lack(one, "types", more, told(within.of(one)))


def _alike(within: Config) -> str:
    return f"for all operators: {', '.join(sorted(within.allowed or ()))}"
