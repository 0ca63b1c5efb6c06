"""Writes text with a number of its own, for tests of orchestration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

INPUTS = ("before?", "folder?")
PARAMS = ("text",)
OUTPUTS = ("text.txt",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Append the text to what was before."""
    before = inputs["before"].read_text() if "before" in inputs else ""
    (out / "text.txt").write_text(before + params["text"])
    return {"length": len(before + params["text"])}
