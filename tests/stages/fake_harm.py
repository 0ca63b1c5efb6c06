"""Runs the code it is given and ends at once, for tests of what a model's own code may leave in a step's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

INPUTS = ("model+?",)
PARAMS = ("code",)
OUTPUTS = ("text.txt",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Whatever the code does; it sees ``inputs`` and ``out``."""
    exec(params["code"], {"inputs": inputs, "out": out})
    return {}
