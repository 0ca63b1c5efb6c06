"""The verb that copies out what runs on devices."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from .verb import module, verb


@verb(help={"out": "folder to copy it to; it is made where it does not exist", "json": "print the paths as JSON"})
def device(_: Context, out: str = "", json: bool = False) -> None:
    """Copy out ortolan-device, which fetches, checks, installs and rolls back releases on a device.

    ./inv device --out for-the-device
    """
    module("device").run(Path(out) if out else None, as_json=json)
