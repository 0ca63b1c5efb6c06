"""``device``: copy out ortolan-device, an example of its settings, and how to put it onto a device."""

from __future__ import annotations

from pathlib import Path

from ..cache import shipped
from ..disk import write_bytes
from ..errors import OrtolanError
from .lists import dump

PROGRAM = "ortolan-device"


def run(out: Path | None, *, as_json: bool) -> None:
    """Copy the files that are shipped for devices to ``out``, and print where they are. OrtolanError without a folder."""
    if out is None:
        raise OrtolanError("which folder?", hint="./inv device --out for-the-device")
    made = [_copy(path, out / path.name) for path in sorted((shipped() / "device").iterdir()) if path.is_file()]
    if as_json:
        dump({path.name: str(path) for path in made})
    else:
        print("\n".join(map(str, made)))


def _copy(path: Path, to: Path) -> Path:
    write_bytes(to, path.read_bytes())
    if path.name == PROGRAM:
        to.chmod(0o755)
    return to
