"""The verbs on waivers: failed gates that may ship all the same."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from .verb import JSON, module, verb


@verb(help={"json": JSON})
def waivers(_: Context, json: bool = False) -> None:
    """List the waivers of the project (waivers/*.toml): gate, target, model, who, until when, and whether each counts today."""
    module("waivers").waivers(find_root(Path.cwd()), as_json=json)


@verb(
    positional=["gate"],
    help={
        "gate": "name of the gate that failed, as the table of gates prints it",
        "target": "name of the target",
        "model": "name of the model",
        "reason": "why it may ship all the same",
        "who": "who answers for it",
        "expires": "the last day on which the waiver counts, like 2027-01-31",
    },
)
def waive(_: Context, gate: str, target: str, model: str, reason: str, who: str, expires: str) -> None:
    """Write a waiver for a gate that failed in the last build, to be reviewed and committed.

    ./inv waive size --target raspberry-pi-5 --model digits --reason EDGE-17 --who $USER --expires 2027-01-31
    """
    module("waivers").waive(find_root(Path.cwd()), gate, target, model, reason=reason, who=who, expires=expires)
