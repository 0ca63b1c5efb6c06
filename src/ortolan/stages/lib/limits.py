"""What this runtime's ONNX Runtime can load, in its own words, and how a model stands to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import onnx_head, sessions
from .transient import reraise_if_transient

_TOO_NEW = 10**4
_IR = re.compile(r"max supported IR version: (\d+)")
_OPSET = re.compile(r"Current official support for domain \S+ is till opset (\d+)")


def measure(domains: list[str]) -> dict[str, Any]:
    """``{"ir": N, "opsets": {domain: N}}``, the highest that this ONNX Runtime takes; ``None`` where it names no limit.

    Found by offering it a one-node model that is too new and reading the limit in its refusal: a table of versions would be
    out of date with every release. Seen in 1.17.3 (IR 9, opset 20), 1.20.1 (IR 10, opset 21) and 1.31.1 (IR 13, opset 26).
    """
    lowest = {onnx_head.DEFAULT_DOMAIN: 13}
    return {
        "ir": _limit(_IR, _TOO_NEW, lowest),
        "opsets": {domain: _limit(_OPSET, 7, {**lowest, domain: _TOO_NEW}) for domain in sorted(domains)},
    }


def problems(ir: int, opsets: Mapping[str, int], runtime: str) -> list[str]:
    """Why this ONNX Runtime, of version ``runtime``, will not load a model; empty when IR and opsets are within its limits."""
    limits = measure(list(opsets))
    found = [(f"IR version {ir}", ir, limits["ir"])]
    found += [(f"opset {version} of {domain}", version, limits["opsets"][domain]) for domain, version in opsets.items()]
    return [
        f"{what}; onnxruntime {runtime} takes at most {limit}"
        for what, value, limit in found
        if limit is not None and value > limit
    ]


def _limit(pattern: re.Pattern[str], ir: int, opsets: dict[str, int]) -> int | None:
    try:
        sessions.open_session(onnx_head.relu(ir, opsets))
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
        reraise_if_transient(error)
        match = pattern.search(str(error))
        return int(match[1]) if match else None
    return None
