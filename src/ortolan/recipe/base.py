"""What all tables of recipes are made with."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from .rules import Mistake, check

DIGEST = r"^sha256:[0-9a-f]{64}$"
SIZE = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*$")
_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SIZE_SCHEMA: JsonDict = {"anyOf": [{"type": "string", "pattern": SIZE.pattern}, {"type": "integer", "minimum": 1}]}
"""A size in JSON Schema."""


class Strict(BaseModel):
    """Frozen, and unknown keys are errors. Built on first use: an unused table costs no start-up time."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


def in_bytes(size: Any) -> Any:
    """``8 MB`` as a number of bytes; a number stays what it is."""
    match = SIZE.match(size) if isinstance(size, str) else None
    number = int(float(match[1]) * _UNITS[match[2]]) if match else size
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        check([Mistake((), "wants a number and a unit", "Write it like '8 MB' or '512 KiB'.")])
    return number


def as_tuple(value: Any) -> Any:
    """TOML has arrays only."""
    return tuple(value) if isinstance(value, list) else value
