"""Reads configurations of reduced runtimes, and refuses those that ONNX Runtime's reader would take otherwise than meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ..errors import OrtolanError
from .config_form import ALLOWED, EVERYTHING, Config, Operator
from .config_types import Types, from_json, told

NAME = "required_operators_and_types.config"
_OPSET = re.compile(r"[0-9]{1,6}")


def read(text: str, where: str = NAME) -> Config:
    """A configuration's text, which need not be canonical. OrtolanError with ``where`` and the line for what is not one."""
    seen: dict[tuple[str, str], tuple[int, Types | None]] = {}
    operators: set[Operator] = set()
    allowed: frozenset[str] | None = None
    everything = False
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        at = f"{where}:{number}"
        if line.startswith(ALLOWED):
            allowed = _allowed(line, allowed, at)
        elif line == EVERYTHING:
            everything = True
        elif line and not line.startswith("#"):
            for operator, types in _line(line, at):
                operators.add(operator)
                _agree(seen.setdefault((operator.domain, operator.name), (number, types)), types, operator, at)
    limits = {key: types for key, (_, types) in seen.items() if types}
    if limits and allowed is not None:
        why = "ONNX Runtime takes types for each operator, or types for all operators alike"
        raise OrtolanError("a configuration has both kinds of types", where=where, why=why, hint=f"remove the line {ALLOWED}…")
    return Config(frozenset(operators), limits, allowed, everything and not operators)


def _allowed(line: str, before: frozenset[str] | None, at: str) -> frozenset[str]:
    found = frozenset(part.strip() for part in line.removeprefix(ALLOWED).split(",")) - {""}
    if before is not None or not found:
        raise OrtolanError(f"{ALLOWED} names no types" if not found else f"a second line {ALLOWED}", where=at)
    return found


def _line(line: str, at: str) -> Iterator[tuple[Operator, Types | None]]:
    """The operators of a line, once for each of its opsets."""
    domain, first, rest = line.partition(";")
    numbers, second, names = rest.partition(";")
    opsets = [number.strip() for number in numbers.split(",")]
    if not (first and second and domain.strip() and names.strip()) or not all(map(_OPSET.fullmatch, opsets)):
        hint = 'ai.onnx;13;Relu,Conv{"inputs": {"0": ["float"]}}'
        raise OrtolanError("not a line of a configuration", where=at, why="it should be domain;opset;operators", hint=hint)
    for name, types in _names(names, at):
        yield from ((Operator(domain.strip(), int(opset), name), types) for opset in opsets)


def _names(text: str, at: str) -> Iterator[tuple[str, Types | None]]:
    """``Add,Cast{"inputs": …},Concat``."""
    rest, more = text, True
    while more:
        comma, brace = (rest.find(sign) if sign in rest else len(rest) for sign in ",{")
        name, types = rest[: min(comma, brace)].strip(), None
        if not name or ";" in name or "}" in name:
            raise OrtolanError("an operator has no name" if not name else f"'{name}' is not the name of an operator", where=at)
        if brace < comma:
            types, rest = _types(name, rest[brace:], at)
            comma = len(rest) - len(rest.lstrip())
        more, rest = comma < len(rest), rest[comma + 1 :]
        yield name, types


def _types(name: str, text: str, at: str) -> tuple[Types, str]:
    """The types of an operator, and what follows them."""
    try:
        entry, end = json.JSONDecoder().raw_decode(text)
        types, rest = from_json(entry), text[end:]
    except ValueError as error:
        raise _unreadable(name, str(error), at) from error
    if rest.strip() and not rest.lstrip().startswith(","):
        raise _unreadable(name, "a comma should follow them", at)
    return types, rest


def _unreadable(name: str, why: str, at: str) -> OrtolanError:
    hint = f'{name}{{"inputs": {{"0": ["float"]}}}}'
    return OrtolanError(f"the types of {name} cannot be read", where=at, why=why, hint=hint)


def _agree(before: tuple[int, Types | None], types: Types | None, operator: Operator, at: str) -> None:
    number, known = before
    if known != types:
        raise OrtolanError(
            f"{operator.domain} {operator.name} has {told(types)} here and {told(known)} in line {number}",
            where=at,
            why="types belong to an operator at all opsets, and ONNX Runtime keeps those that it reads last",
            hint="write the same types wherever the operator stands",
        )
