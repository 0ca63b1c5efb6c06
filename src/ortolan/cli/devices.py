"""The verbs that look at devices."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from ..root import find_root
from .verb import JSON, TARGET, module, verb

HOST = "device to reach by ssh: user@name, a device or a label of recipes/fleet.toml, or all; may be given more than once"
PYTHON = "its interpreter with ONNX Runtime, by name or path; default: python3, or what the fleet file says"


@verb(iterable=["host", "target"], help={"host": HOST, "target": TARGET, "python": PYTHON, "json": JSON})
def doctor(_: Context, host: list[str], target: list[str], python: str = "", json: bool = False) -> None:
    """Tell what this machine or a device is, and what of it does not fit a target, with what to do.

    ./inv doctor
    ./inv doctor --host pi@pi5 --target raspberry-pi-5
    ./inv doctor --host all
    """
    code = module("doctor").run(find_root(Path.cwd()), host, target, python=python, as_json=json)
    if code:
        raise Exit(code=code)
