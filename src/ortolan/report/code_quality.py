"""Failed and waived gates in GitLab's Code Quality format, at the line of the recipe that sets the limit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from .. import digest
from ..artifact import Gate, Outcome, Precision
from ..ci.records import Record
from ..recipe.toml_lines import Keys, line_of, lines
from .junit import plain, said

_TARGET: Mapping[str, Keys] = {
    "size": ("gates", "max_size"),
    "quantised": ("gates", "min_quantized_macs"),
    "agreement": ("gates", "min_agreement"),
    "recovered": ("quantize", "policy"),
    "smaller": ("gates", "max_relative_size"),
    **{f"{one}-faster": ("gates", "min_speedup") for one in get_args(Precision)},
    "coverage": ("gates", "min_coverage"),
    "partitions": ("gates", "max_partitions"),
    "latency": ("gates", "max_latency_ms"),
    "throughput": ("gates", "min_fps"),
    "sustained": ("gates", "min_sustained"),
    "opset": ("runtime", "opset"),
    "load": ("runtime", "versions"),
    "shapes": ("shapes",),
    "ort": ("outputs", "ort"),
    "engine": ("outputs",),
    "providers": ("provider",),
}
"""Where a target's recipe sets what a gate judges by, by the gate's name up to ``@`` or a blank."""
_MODEL: Mapping[str, Keys] = {"accuracy": ("accuracy", "max_drop"), "parity": ("parity",), "input-range": ("input",)}
"""The same of a model's recipe."""


def code_quality(records: Sequence[Record], root: Path, top: Path) -> bytes:
    """A JSON list with an entry for each failed or waived gate and each error; paths are relative to ``top``, the repository.

    A fingerprint stays what it is while the measured value changes, so that GitLab tells new from known.
    """
    found = [entry for one in records for entry in _entries(one, root, top)]
    return (json.dumps(found, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _entries(record: Record, root: Path, top: Path) -> Iterator[dict[str, Any]]:
    for gate in record.gates:
        if gate.outcome in {Outcome.FAIL, Outcome.WAIVED}:
            severity = "minor" if gate.outcome is Outcome.WAIVED else "major" if record.ok else "critical"
            words = f"{record.name}: {gate.name} ({gate.subject}): {said(gate)}"
            yield _entry(record, f"{gate.name} {gate.subject}", words, severity, _place(record, gate, root, top))
    target = _location(root / "recipes" / "targets" / f"{record.target}.toml", (), top)
    for number, error in enumerate(record.errors, 1):
        yield _entry(record, f"error {number}", f"{record.name}: {error.partition(chr(10))[0]}", "blocker", target)


def _entry(record: Record, what: str, words: str, severity: str, location: Mapping[str, Any]) -> dict[str, Any]:
    identity = {"target": record.target, "model": record.model, "what": plain(what)}
    return {
        "check_name": plain(f"ortolan/{what.partition(' ')[0].partition('@')[0]}"),
        "description": plain(words),
        "fingerprint": digest.short(digest.of_json("finding", identity), 40),
        "severity": severity,
        "location": dict(location),
    }


def _place(record: Record, gate: Gate, root: Path, top: Path) -> Mapping[str, Any]:
    """The line of the limit; of the nearest table above it where it is the default; else the first."""
    name = gate.name.partition("@")[0].partition(" ")[0]
    if name in _MODEL:
        return _location(root / "recipes" / "models" / f"{record.model}.toml", _MODEL[name], top)
    return _location(root / "recipes" / "targets" / f"{record.target}.toml", _TARGET.get(name, ()), top)


def _location(recipe: Path, keys: Keys, top: Path) -> Mapping[str, Any]:
    try:
        line = line_of(keys, lines(recipe.read_text()))
    except (OSError, ValueError):  # the recipe is gone, or is no longer one
        line = 1
    path = recipe.resolve().relative_to(top) if recipe.resolve().is_relative_to(top) else recipe
    return {"path": path.as_posix(), "lines": {"begin": line}}
