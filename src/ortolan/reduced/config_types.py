"""The types that an operator needs, by place: how a configuration writes them, how two join, and what one lacks of another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..recipe.nearest import did_you_mean

Types = Mapping[str, frozenset[str]]
"""What an operator is limited to: ``{"inputs 0": {"float"}, "custom": {"float int64_t int64_t"}}``.

A place that is not named takes all types: for such a one ONNX Runtime's build writes no limit
(``get_cpp_entry`` of ``onnxruntime.tools.ort_format_model.operator_type_usage_processors``). ``custom`` holds combinations of
types, which OneHot alone has. An operator without any limit has no ``Types`` at all.
"""

CUSTOM = "custom"
KNOWN = frozenset({
    "BFloat16", "Float8E4M3FN", "Float8E4M3FNUZ", "Float8E5M2", "Float8E5M2FNUZ", "MLFloat16", "bool", "double", "float",
    "int16_t", "int32_t", "int64_t", "int8_t", "std::string", "uint16_t", "uint32_t", "uint64_t", "uint8_t",
})  # fmt: skip
"""Types of tensors as ONNX Runtime 1.17 to 1.31 name them (``onnxruntime.tools.ort_format_model.types``)."""
_PLACES = ("inputs", "outputs")
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_TYPE = re.compile(r"[A-Za-z]\w*(?:::\w+)*(?:<[\w:<>,]+>)?")


def from_json(entry: Any) -> dict[str, frozenset[str]]:
    """What stands behind an operator's name, as parsed. ValueError in words for what ONNX Runtime's tools would not write."""
    if not isinstance(entry, dict) or not entry:
        raise ValueError("names no types")
    for key in entry.keys() - {*_PLACES, CUSTOM}:
        raise ValueError(f"has no key '{key}'. {did_you_mean(key, [*_PLACES, CUSTOM])}".rstrip())
    found = {f"{place} {index}": _names(types) for place in _PLACES for index, types in _indexed(entry.get(place))}
    if CUSTOM in entry:
        found[CUSTOM] = frozenset(" ".join(sorted_names(one)) for one in _list(entry[CUSTOM]))
    return found


def _indexed(entry: Any) -> list[tuple[int, Any]]:
    if entry is None:
        return []
    if not isinstance(entry, dict) or not entry or not all(map(_INDEX.fullmatch, entry)):
        raise ValueError('has its types by number, like {"0": ["float"]}')
    return [(int(index), types) for index, types in entry.items()]


def _names(types: Any) -> frozenset[str]:
    return frozenset(sorted_names(types))


def sorted_names(types: Any) -> list[str]:
    """The names in a list, in its order."""
    found = _list(types)
    for one in found:
        if not isinstance(one, str) or not _TYPE.fullmatch(one):
            raise ValueError(f"{json.dumps(one)} is not the name of a type")
    return [str(one) for one in found]


def _list(types: Any) -> list[Any]:
    if not isinstance(types, list) or not types:
        raise ValueError("names no types")
    return types


def to_json(types: Types) -> str:
    """As ONNX Runtime's tools write it, to the byte."""
    entry: dict[str, Any] = {}
    for place in _PLACES:
        of = {int(key.split()[1]): sorted(names) for key, names in types.items() if key.startswith(f"{place} ")}
        entry |= {place: {str(index): of[index] for index in sorted(of)}} if of else {}
    if CUSTOM in types:
        entry[CUSTOM] = sorted(combination.split() for combination in types[CUSTOM])
    return json.dumps(entry)


def join(types: Iterable[Types | None]) -> Types | None:
    """What lets through all that each lets through; None where nothing is limited any more."""
    given = list(types)
    limited = [one for one in given if one is not None]
    if len(limited) < len(given):
        return None
    places = frozenset[str].intersection(*(frozenset(one) for one in limited))
    return {place: frozenset[str].union(*(one[place] for one in limited)) for place in places} or None


def beyond(needed: Types | None, limit: Types | None) -> Types | None:
    """What is needed and does not stand within the limit, by place; empty where all does. None: all types are needed."""
    if limit is None:
        return {}
    if needed is None or limit.keys() - needed.keys():
        return None
    return {place: more for place in sorted(limit) if (more := needed[place] - limit[place])}


def each(types: Types) -> frozenset[str]:
    """The names of all types, whatever their place."""
    return frozenset(name for names in types.values() for combination in names for name in combination.split())


def told(types: Types | None) -> str:
    """In words: ``inputs 0: float, int8_t``."""
    if types is None:
        return "all types"
    return "; ".join(f"{place}: {', '.join(sorted(types[place]))}" for place in sorted(types))
