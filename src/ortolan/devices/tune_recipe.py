"""Session settings as a target's recipe has them, so that the next build ships what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .tune_settings import DEFAULTS, OPTIMISED, OPTIMISED_SESSION


def session_lines(settings: Mapping[str, Any]) -> list[str]:
    """``[session]`` of these settings: what is not ONNX Runtime's default. No line but the head where nothing differs."""
    options = {key: value for key, value in settings["session_options"].items() if value != DEFAULTS[key]}
    lines = [f"{key} = {_value(_word(key, value))}" for key, value in options.items()]
    entries = settings["config_entries"]
    return ["[session]", *lines, *([f"config = {_table(entries)}"] if entries else [])]


def provider_lines(settings: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """``[[provider]]`` of each, in order; ``options`` by name as the recipe has them."""
    for one in settings["providers"]:
        yield from ("[[provider]]", f"name = {_value(one['name'])}")
        if own := options.get(one["name"]):
            yield f"options = {_table(own)}"


def advice(settings: Mapping[str, Any], defaults: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of a recipe for these settings: ``[[provider]]`` only where others than the build's are meant."""
    changed = [one["name"] for one in settings["providers"]] != [one["name"] for one in defaults["providers"]]
    return [*(provider_lines(settings, options) if changed else ()), *session_lines(settings)]


def opens(settings: Mapping[str, Any], files: Sequence[str]) -> str:
    """Which file is to be opened, where it is not the one that is opened anyway."""
    if settings["file"] == OPTIMISED:
        own = f"open {OPTIMISED}, as {OPTIMISED_SESSION} beside it says"
        return f"{own}: it is for this machine's processor and this ONNX Runtime alone, and stays out of bundles"
    return "" if settings["file"] == files[0] else f"open {settings['file']} in place of {files[0]}"


def _word(key: str, value: Any) -> Any:
    """A recipe's word for session.json's."""
    kinds = {"execution_mode": "ORT_", "graph_optimization_level": "ORT_ENABLE_"}
    if value == "ORT_DISABLE_ALL":
        return "disable"
    return value.removeprefix(kinds[key]).lower() if key in kinds else value


def _table(values: Mapping[str, Any]) -> str:
    return "{{ {} }}".format(", ".join(f"{_value(key)} = {_value(value)}" for key, value in sorted(values.items())))


def _value(value: Any) -> str:
    """Texts, numbers and booleans are written alike in JSON and TOML."""
    return json.dumps(value, ensure_ascii=False)
