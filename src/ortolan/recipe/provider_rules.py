"""What the data files of execution providers say about a recipe: options, order, session, quantization."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .nearest import did_you_mean
from .provider_data import Option, ProviderData, find
from .quantize import STATIC
from .rules import CPU, Mistake

Options = Mapping[str, str | int | float | bool]
Given = Sequence[tuple[str, Options]]

_YES, _WORDS, _DIGITS = ("1", "true", "True"), ("true", "True", "false", "False"), ("1", "0")
_SPELT = {"bool": _WORDS + _DIGITS, "word": _WORDS, "flag": _DIGITS}  # booleans as text
_WANTS = {
    "bool": "true or false",
    "word": "true or false",
    "flag": "true or false",
    "int": "an integer",
    "json": "JSON",
    "text": "text",
}
_FEW = 8  # names of options that still fit into one line


def spelt(name: str, options: Options) -> dict[str, str | int | float | bool]:
    """Options with ``true`` and ``false`` in words where the provider takes no 1 and 0, which they are everywhere else."""
    data = find(name) if any(isinstance(value, bool) for value in options.values()) else None
    words = {key for key, option in data.options.items() if option.type == "word"} if data else set()
    return {key: str(value) if isinstance(value, bool) and key in words else value for key, value in options.items()}


def providers(given: Given) -> Iterator[Mistake]:
    """Options that a provider does not have, or that do not go together, and providers in the wrong order."""
    for index, options, data in _known(given):
        for mistake in [*_options(options, data), *_order(data, [name for name, _ in given[:index]])]:
            yield mistake._replace(at=(index, *mistake.at))


def target(
    given: Given, versions: Sequence[str], opset: int, session: Mapping[str, Any], quantize: Mapping[str, Any]
) -> list[Mistake]:
    """What the providers of a target say about its other tables, each key once; ``versions`` are the fleet's, oldest first."""
    found: list[Mistake] = []
    for index, options, data in _known(given):
        here = [*_versions(options, data, versions[0]), *_int8(options, data, quantize), *_pool(options, data)]
        here += _backend(options, data)
        found += [mistake._replace(at=("provider", index, "options", *mistake.at)) for mistake in here]
        found += [*_opset(data, opset), *_session(data, session)]
        found += _scheme(data, quantize) if quantize["policy"] != "never" else ()
    return list({mistake.at: mistake for mistake in reversed(found)}.values())


def _known(given: Given) -> Iterator[tuple[int, Options, ProviderData]]:
    """The providers that have data, with their places and options. Nothing need be read for the CPU."""
    for index, (name, options) in enumerate(given):
        data = None if name == CPU else find(name)
        if data:
            yield index, options, data


# --- one provider ------------------------------------------------------------------------------------------------


def _options(options: Options, data: ProviderData) -> Iterator[Mistake]:
    for key, value in options.items():
        found = _value(value, data.options[key]) if key in data.options else _unknown(key, data)
        yield from (mistake._replace(at=("options", key)) for mistake in found)
    for group in data.together:
        missing = [key for key in group if key not in options]
        if missing and len(missing) < len(group):
            yield Mistake(("options", *missing[:1]), "missing", f"{', '.join(group)} are set together or not at all.")
    for group in data.either:
        both = [key for key in group if key in options]
        yield from (Mistake(("options", key), f"{both[0]} says the same", "Keep one of them.") for key in both[1:])


def _order(data: ProviderData, earlier: Sequence[str]) -> Iterator[Mistake]:
    for name in data.before:
        if name in earlier:
            yield Mistake(("name",), f'"{name}" stands above it and takes its nodes', f'Put "{data.name}" first.')


def _unknown(key: str, data: ProviderData) -> Iterator[Mistake]:
    names = list(data.options)
    few = f"It has {', '.join(names) or 'none'}." if len(names) <= _FEW else f"docs/providers.md lists its {len(names)} options."
    yield Mistake((), f"{data.title} has no such option", did_you_mean(key, names) or few)


def _value(value: str | float | bool, option: Option) -> Iterator[Mistake]:
    text, shown = str(int(value)) if isinstance(value, bool) else str(value), json.dumps(value, ensure_ascii=False)
    parts = text.split(",") if option.many else [text]
    if option.type == "address":
        yield Mistake((), "is an address in the running process, which no recipe knows", "Set it in the program.")
    elif option.values and (strange := [part for part in parts if part not in option.values]):
        yield _one_of(strange[0] if isinstance(value, str) else value, shown, option.values)
    elif not option.values and not _fits(value, text, option.type):
        yield Mistake((), f"wants {option.wants or _WANTS[option.type]}, found {shown}")
    elif option.pattern and not all(re.fullmatch(option.pattern, part) for part in parts):
        yield Mistake((), f"wants {option.wants}, found {shown}")
    else:
        yield from _range(text, option)


def _one_of(value: str | float | bool, shown: str, values: Sequence[str]) -> Mistake:
    listed = ", ".join(f'"{one}"' for one in values)
    if isinstance(value, str):
        return Mistake((), f'"{value}" is not one of {listed}', did_you_mean(value, values, quote='"'))
    meant = f'Did you mean "{value}", in quotes?' if str(value) in values else ""
    return Mistake((), f"wants one of {listed}, found {shown}", meant)


def _fits(value: str | float | bool, text: str, kind: str) -> bool:
    """Whether a value gives the text that ONNX Runtime parses as this type: 1 for true, 4 or "4" for an integer."""
    if kind in _SPELT:
        return isinstance(value, bool) or text in _SPELT[kind]
    if isinstance(value, bool | float):
        return False
    if kind == "int":
        return re.fullmatch(r"-?[0-9]+", text) is not None
    return kind != "json" or _is_json(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _range(text: str, option: Option) -> Iterator[Mistake]:
    if option.min is not None and int(text) < option.min:
        yield Mistake((), f"wants at least {option.min}, found {text}")
    if option.max is not None and int(text) > option.max:
        yield Mistake((), f"wants at most {option.max}, found {text}")


# --- a provider and the target's other tables ------------------------------------------------------------------------


def _versions(options: Options, data: ProviderData, oldest: str) -> Iterator[Mistake]:
    for key in options:
        last = data.options[key].newer_than if key in data.options else ""
        if last and numbers(oldest) <= numbers(last):
            yield Mistake((key,), f"ONNX Runtime {oldest}, the oldest of the fleet, does not know it", f"{last} does not either.")


def numbers(version: str) -> tuple[int, ...]:
    """``1.20.1`` as numbers that can be compared."""
    return tuple(map(int, version.split(".")))


def _opset(data: ProviderData, opset: int) -> Iterator[Mistake]:
    if data.max_opset is not None and opset > data.max_opset:
        what = f"{data.title} takes up to opset {data.max_opset}, and would leave the nodes of opset {opset} to the next provider"
        yield Mistake(("runtime", "opset"), what, f"Say opset = {data.max_opset} or lower.")


def _int8(options: Options, data: ProviderData, quantize: Mapping[str, Any]) -> Iterator[Mistake]:
    """8 bits come from the Q/DQ nodes that quantization makes, or from a table; not from both, nor from neither."""
    if data.int8 is None:
        return
    enable, table = data.int8.enable, data.int8.table
    static = quantize["policy"] != "never" and quantize["scheme"] == STATIC
    if static and table in options:
        yield Mistake((table,), "a model with Q/DQ nodes takes no table", 'Leave it out, or say [quantize] policy = "never".')
    elif not static and str(options.get(enable, 0)) in _YES and table not in options:
        key = "policy" if quantize["policy"] == "never" else "scheme"
        what = f'there would be nothing in 8 bits: [quantize] {key} = "{quantize[key]}" makes no Q/DQ nodes'
        yield Mistake((enable,), what, f"Say another {key}, or name a {table}.")


def _backend(options: Options, data: ProviderData) -> Iterator[Mistake]:
    """An engine is compiled and emulated for HTP."""
    for key, value in options.items():
        if data.name == "QNNExecutionProvider" and key in {"backend_type", "backend_path"} and "htp" not in str(value).lower():
            what = f'"{value}" is not the backend that can be asked and compiled for here'
            yield Mistake((key,), what, 'Say backend_type = "htp".')


def _pool(options: Options, data: ProviderData) -> Iterator[Mistake]:
    """A provider with threads of its own is held to the same limit as the session beside it."""
    key = "intra_op_num_threads"
    if key in data.options and isinstance(value := options.get(key), int | str) and str(value).isdigit():
        yield from (mistake._replace(at=(key,)) for mistake in _threads(data, int(value)))


def _session(data: ProviderData, session: Mapping[str, Any]) -> Iterator[Mistake]:
    at = ("session", "intra_op_num_threads")
    yield from (mistake._replace(at=at) for mistake in _threads(data, session["intra_op_num_threads"]))
    for key in ("enable_mem_pattern", "execution_mode"):
        wanted = getattr(data.session, key)
        if wanted is not None and session[key] != wanted:
            yield _needs(("session", key), data.title, key, [wanted])


def _threads(data: ProviderData, given: int) -> Iterator[Mistake]:
    most = data.session.max_intra_op_num_threads
    if most is not None and given == 0:
        yield Mistake((), f"wants 1 to {most} with {data.title}; 0, the default, takes every core", f"Say {most}.")
    if most is not None and given > most:
        yield Mistake((), f"wants at most {most} with {data.title}, found {given}", "More of them only wait for each other.")


def _scheme(data: ProviderData, quantize: Mapping[str, Any]) -> Iterator[Mistake]:
    """What a provider that takes no other schemes, or no other Q/DQ types, needs of ``[quantize]``."""
    if data.quantize_schemes and quantize["scheme"] not in data.quantize_schemes:
        yield _needs(("quantize", "scheme"), data.title, "scheme", data.quantize_schemes)
        return
    if data.qdq is None or not data.qdq.required or quantize["scheme"] != STATIC:
        return
    symmetric = data.qdq.symmetric_activations
    wants: dict[str, Iterable[str | bool]] = {
        "activations": data.qdq.activations,
        "weights": data.qdq.weights,
        "symmetric_activations": () if symmetric is None else (symmetric,),
    }
    for key, values in wants.items():
        if values and quantize[key] not in values:
            yield _needs(("quantize", key), data.title, key, list(values))


def _needs(at: tuple[str, ...], title: str, key: str, values: Sequence[str | bool]) -> Mistake:
    texts = [json.dumps(value) for value in values]
    return Mistake(at, f"{title} needs {' or '.join(texts)}", f"Say {key} = {texts[0]}.")
