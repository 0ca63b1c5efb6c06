"""The verb that ranks layers by what quantising them costs."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from ..verbs.guard import count
from .verb import CACHE, JOBS, MODEL, TARGET, module, verb
from .verb import cache as caches


@verb(
    iterable=["target", "model"],
    help={
        "target": TARGET,
        "model": MODEL,
        "jobs": JOBS,
        "json": "print events and the result as lines of JSON",
        "cache": CACHE,
    },
)
def sensitivity(
    _: Context, target: list[str], model: list[str], jobs: str = "", json: bool = False, cache: str | None = None
) -> None:
    """Rank a model's layers by what quantising each of them alone does to the outputs; reads no labels.

    ./inv sensitivity --target x86-cpu --model digits
    """
    wide = count("--jobs", jobs)
    module("sensitivity").run(find_root(Path.cwd()), target, model, caches(cache), jobs=wide, as_json=json)
