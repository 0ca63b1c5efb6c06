"""The verb that makes releases of builds."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from ..verbs.guard import count
from .verb import TARGET, module, verb


@verb(
    iterable=["target", "model"],
    help={
        "target": TARGET,
        "model": "name of a model that is built for it; may be given more than once; default: all that are built",
        "plain": "keep the archive without compression too, for devices that have no zstd",
        "sequence": "number of the release, larger than the last one's; default: SOURCE_DATE_EPOCH, else the commit's time",
        "json": "print one line of JSON for each release",
    },
)
def bundle(_: Context, target: list[str], model: list[str], plain: bool = False, sequence: str = "", json: bool = False) -> None:
    """Make releases of what was built last: archives, bill of materials, provenance, in dist/<target>/<tag>/. Builds nothing.

    ./inv bundle --target raspberry-pi-5
    ./inv bundle --target x86-cpu --model digits --plain
    """
    number, root = count("--sequence", sequence), find_root(Path.cwd())
    module("bundle").run(root, target, model, plain=plain, number=number, as_json=json)
