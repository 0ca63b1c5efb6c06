"""The verb that finds session settings by measuring."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from ..root import find_root
from ..verbs.guard import count
from .devices import HOST, PYTHON
from .verb import CACHE, JSON, MODEL, TARGET, module, verb
from .verb import cache as caches


@verb(
    iterable=["target", "model", "host"],
    help={
        "target": TARGET,
        "model": MODEL,
        "host": f"{HOST}; default: this machine, in the pinned runtime of the fleet's newest version",
        "seconds": "for each model, about (60)",
        "seed": "of the order of the trials (1)",
        "python": PYTHON,
        "json": JSON,
        "cache": CACHE,
    },
)
def tune(
    _: Context, target: list[str], model: list[str], host: list[str], seconds: str = "60", seed: str = "1", python: str = "",
    json: bool = False, cache: str | None = None,
) -> None:  # fmt: skip
    """Find the fastest session settings of what was built, by measuring; into build/<target>/tune/<tag>/<device>/.

    ./inv tune --target x86-cpu --model digits
    ./inv tune --host pi@pi5 --target raspberry-pi-5 --model digits --python '~/venv/bin/python' --seconds 300
    """
    verbs = module("tune")
    asked = verbs.Asked(find_root(Path.cwd()), caches(cache), count("--seconds", seconds), count("--seed", seed))
    code = verbs.run(asked, target, model, host, python=python, as_json=json)
    if code:
        raise Exit(code=code)
