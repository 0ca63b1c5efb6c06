"""The verb that builds a target's reduced ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from ..verbs.guard import count
from .verb import CACHE, JSON, module, verb
from .verb import cache as caches


@verb(
    name="runtime-build",
    help={
        "target": "name of a target (see: targets)",
        "sources": "folder with the tarballs, or with unpacked trees; default: they are fetched once from a Debian mirror",
        "config": "the operators and types that it holds; default: that of build/<target>/runtime/, made as by runtime-config",
        "jobs": "compilations at a time; default: one for each processor",
        "json": JSON,
        "cache": CACHE,
    },
)
def runtime_build(
    _: Context,
    target: str = "",
    sources: str | None = None,
    config: str | None = None,
    jobs: str = "",
    json: bool = False,
    cache: str | None = None,
) -> None:
    """Build an ONNX Runtime that holds just what a target's models need into build/<target>/runtime/<key>/.

    The first build of a platform takes 15 minutes of two processors, one with other operators a quarter of that at most.

    ./inv runtime-build --target arm64-cpu
    ./inv runtime-build --target x86-cpu --sources ~/tarballs --jobs 2
    """
    given, own = (Path(text).resolve() if text else None for text in (sources, config))
    wide = count("--jobs", jobs)
    module("runtime_build").run(find_root(Path.cwd()), target, given, own, caches(cache), wide, as_json=json)
