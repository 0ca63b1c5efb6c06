"""pydantic's errors as mistakes in a recipe: its key, what is wrong in TOML's words, and what was perhaps meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from .nearest import did_you_mean
from .schema import METRICS, WANTED
from .shape import Place, found, homes, is_table, kinds, place, wanted
from .toml_lines import Keys

_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


@dataclass(frozen=True)
class Problem:
    """One mistake: ``path`` is its key, ``text`` what is wrong, ``hint`` a sentence or nothing."""

    path: Keys
    text: str
    hint: str = ""


def explain(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Every mistake once, in the order of pydantic's errors."""
    problems = [problem for one in error.errors(include_url=False) for problem in _explain(one, model)]
    return list({(p.path, p.text): p for p in _without_echoes(problems)}.values())


def _explain(error: Mapping[str, Any], model: type[BaseModel]) -> Iterator[Problem]:
    where, kind, context = place(model, error["loc"]), error["type"], error.get("ctx", {})
    if kind == "mistakes":
        yield from (Problem((*where.path, *m.at), m.text, m.hint) for m in context["mistakes"])
    elif kind in _SPECIAL:
        yield _SPECIAL[kind](where, error, model)
    elif kind in _LIMITS:
        key, words = _LIMITS[kind]
        yield Problem(where.path, f"wants {words} {context[key]:g}, found {error['input']}")
    elif kind in {"value_error", "assertion_error"}:
        yield Problem(where.path, str(context["error"]))
    else:
        yield Problem(where.path, f"wants {wanted(where.types)}, found {found(error['input'])}", _brackets(where, error["input"]))


def _unknown(where: Place, _error: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    key = str(where.path[-1])
    hint = did_you_mean(key, where.keys) or _elsewhere(where, key, model) or f"Known here: {', '.join(where.keys)}."
    return Problem(where.path, "unknown key", hint)


def _elsewhere(where: Place, key: str, model: type[BaseModel]) -> str:
    """Where a key belongs that is no slip of one that may stand here."""
    siblings = [one for one in place(model, where.path[:-1]).types if is_table(one) and key in one.model_fields]
    if siblings:
        return f'It goes with kind = "{kinds(tuple(siblings))[0]}".'
    tables = sorted(set(homes(model, key)))
    if key in model.model_fields:
        return "Did you mean to put it above the first table?"
    return f"Did you mean to put it in {' or '.join(tables)}?" if tables else ""


def _brackets(where: Place, value: Any) -> str:
    """[x] makes a table, [[x]] the next one of an array of tables."""
    if isinstance(value, dict) and wanted(where.types) == "an array of tables":
        return f"Did you mean [[{where.path[-1]}]]?"
    many = isinstance(value, list) and value and isinstance(value[0], dict) and any(is_table(one) for one in where.types)
    return f"Did you mean [{where.path[-1]}]?" if many else ""


def _missing(where: Place, error: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    last = error["loc"][-1]
    if isinstance(last, int):  # pydantic's word for a tuple that is too short
        return _length(place(model, error["loc"][:-1]), error, model)
    described = next((t.model_fields[last].description for t in where.tables if last in t.model_fields), None)
    return Problem(where.path, "missing", f"Add {_form(where)}" + (f": {described}." if described else "."))


def _form(where: Place) -> str:
    key = where.path[-1]
    if any(is_table(one) for one in where.types):
        return f"the table [{key}]"
    return f"{key} = {wanted(where.types)}"


def _choice(where: Place, error: Mapping[str, Any], _model: type[BaseModel]) -> Problem:
    choices = [str(choice) for one in where.types for choice in get_args(one)]
    return _one_of(where.path, error["input"], choices)


def _kind(where: Place, error: Mapping[str, Any], _model: type[BaseModel]) -> Problem:
    return _one_of((*where.path, "kind"), error["input"]["kind"], kinds(where.types))


def _no_kind(where: Place, error: Mapping[str, Any], _model: type[BaseModel]) -> Problem:
    """A source says its kind; a data set is told by the key that names its file."""
    tables = [one for one in where.types if is_table(one)]
    if all(t.model_fields["kind"].is_required() for t in tables):
        choices = ", ".join(f'"{kind}"' for kind in kinds(where.types))
        return Problem((*where.path, "kind"), "missing", f"Add kind = one of {choices}.")
    near = [did_you_mean(key, kinds(where.types)) for key in error["input"]]
    return Problem(where.path, f"wants one of the keys {', '.join(kinds(where.types))}", next(filter(None, near), ""))


def _one_of(path: Keys, value: Any, choices: list[str]) -> Problem:
    listed = ", ".join(f'"{choice}"' for choice in choices)
    if not isinstance(value, str):
        return Problem(path, f"wants one of {listed}, found {found(value)}")
    return Problem(path, f'"{value}" is not one of {listed}', did_you_mean(value, choices, quote='"'))


def _pattern(where: Place, error: Mapping[str, Any], _model: type[BaseModel]) -> Problem:
    words = WANTED[error["ctx"]["pattern"]]
    near = did_you_mean(error["input"], METRICS, quote='"') if METRICS[0] in words else ""
    return Problem(where.path, f"wants {words}, found {found(error['input'])}", near)


def _length(where: Place, error: Mapping[str, Any], _model: type[BaseModel]) -> Problem:
    count, limits = len(error["input"]), error.get("ctx", {})
    if where.types and get_origin(where.types[0]) is tuple:
        return Problem(where.path, f"wants {wanted(where.types)}, found {count}")
    words = f"at least {limits['min_length']}" if "min_length" in limits else f"at most {limits['max_length']}"
    return Problem(where.path, f"wants {words} element(s), found {count}")


def _finite(where: Place, error: Mapping[str, Any], _model: type[BaseModel]) -> Problem:
    return Problem(where.path, f"wants a finite number, found {error['input']}")


_SPECIAL: dict[str, Callable[[Place, Mapping[str, Any], type[BaseModel]], Problem]] = {
    "extra_forbidden": _unknown,
    "finite_number": _finite,
    "literal_error": _choice,
    "missing": _missing,
    "string_pattern_mismatch": _pattern,
    "too_long": _length,
    "too_short": _length,
    "union_tag_invalid": _kind,
    "union_tag_not_found": _no_kind,
}


def _without_echoes(problems: list[Problem]) -> Iterable[Problem]:
    """A misspelt key is unknown and, where it is needed, missing as well: one mistake, not two."""
    meant = {(*p.path[:-1], p.hint[len("Did you mean ") : -1]) for p in problems if p.text == "unknown key"}
    return (p for p in problems if not (p.text == "missing" and p.path in meant))
