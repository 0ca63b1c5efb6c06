"""The verbs that look at devices."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from ..root import find_root
from ..verbs.guard import count
from .verb import CACHE, JSON, MODEL, TARGET, module, verb
from .verb import cache as caches

HOST = (
    "device to reach by ssh: user@name, a device or a label of recipes/fleet.toml, or all; emulated: a 64-bit ARM on this one; "
    "may be given more than once"
)
PYTHON = "its interpreter with ONNX Runtime, by name or path, of an emulated one its runtime; default: python3, the fleet file's"


@verb(iterable=["host", "target"], help={"host": HOST, "target": TARGET, "python": PYTHON, "json": JSON})
def doctor(_: Context, host: list[str], target: list[str], python: str = "", json: bool = False) -> None:
    """Tell what this machine or a device is, and what of it does not fit a target, with what to do.

    ./inv doctor
    ./inv doctor --host pi@pi5 --target raspberry-pi-5
    ./inv doctor --host all
    ./inv doctor --host emulated
    """
    code = module("doctor").run(find_root(Path.cwd()), host, target, python=python, as_json=json)
    if code:
        raise Exit(code=code)


@verb(
    iterable=["target", "model", "host"],
    help={
        "target": TARGET,
        "model": MODEL,
        "host": f"{HOST}; default: this machine, in the pinned runtime of the fleet's newest version",
        "seconds": "of the sustained run at the most; it ends sooner when latency and temperature are steady (10)",
        "python": PYTHON,
        "json": JSON,
        "cache": CACHE,
    },
)
def bench(
    _: Context, target: list[str], model: list[str], host: list[str], seconds: str = "10", python: str = "", json: bool = False,
    cache: str | None = None,
) -> None:  # fmt: skip
    """Time what was built: burst, sustained, cold start, memory; into build/<target>/bench/<tag>/<device>.json.

    ./inv bench --target x86-cpu
    ./inv bench --host pi@pi5 --target raspberry-pi-5 --model digits --seconds 120
    """
    places, wide = caches(cache), count("--seconds", seconds)
    code = module("bench").run(find_root(Path.cwd()), target, model, host, places, seconds=wide, python=python, as_json=json)
    if code:
        raise Exit(code=code)
