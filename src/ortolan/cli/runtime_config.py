"""The verb that says what a target's reduced runtime must hold."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from .verb import CACHE, JSON, module, verb
from .verb import cache as caches


@verb(
    name="runtime-config",
    iterable=["model", "also"],
    help={
        "target": "name of a target (see: targets)",
        "model": "name of a model that is built for it; may be given more than once; default: all that it takes",
        "also": "release that devices may go back to, by tag, folder or bundle; may be given more than once",
        "within": "a configuration that all must fit, such as that of the runtime in the field; what does not fails a gate",
        "onnxruntime": "version that the runtime will be built from; default: the pinned one, for phones the fleet's oldest",
        "json": JSON,
        "cache": CACHE,
    },
)
def runtime_config(
    _: Context,
    model: list[str],
    also: list[str],
    target: str = "",
    within: str | None = None,
    onnxruntime: str = "",
    json: bool = False,
    cache: str | None = None,
) -> None:
    """Merge the operators and types that a target's models need into build/<target>/runtime/. Builds nothing.

    ./inv runtime-config --target raspberry-pi-5
    ./inv runtime-config --target raspberry-pi-5 --also digits-5f3c9a1b2c4d-opset17-ort1.20.1
    ./inv runtime-config --target raspberry-pi-5 --within fielded/required_operators_and_types.config
    """
    given = Path(within) if within else None
    module("runtime_config").run(find_root(Path.cwd()), target, model, also, given, onnxruntime, caches(cache), as_json=json)
