"""Goes wrong in the way it is asked to, for tests of orchestration."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib.refused import Refused

INPUTS = ()
PARAMS = ("how",)
OUTPUTS = ("text.txt",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Refuse, raise, exit, hang, die, forget its output, leave too much, or be random."""
    how = params["how"]
    print(f"about to {how}")  # noqa: T201  it must reach the log
    if how == "refuse":
        raise Refused("the input is bad", why="it is", hint="another")
    if how == "raise":
        raise ValueError("something unforeseen")
    if how == "exit":
        sys.exit(7)
    if how == "hang":
        time.sleep(3600)
    if how == "die":
        os.abort()
    if how != "forget":
        (out / "text.txt").write_text(str(time.time_ns()) if how == "random" else how)
    if how == "litter":
        (out / "more.txt").write_text("more")
    return {}
