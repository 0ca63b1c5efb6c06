"""System programs that a runtime's steps start, such as a browser: which version of each this machine has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PATH = "/usr/bin:/bin"
"""Where they are looked for: the ``PATH`` that every step gets."""

ABSENT = "absent"
_PATIENCE = 60.0  # seconds; the first start of a browser on a cold disk takes two


def versions(names: Sequence[str], memory: Path) -> dict[str, str]:
    """``{program: the first line of what it says to --version}``, ``absent`` for one that is not installed.

    ``memory`` is a file that keeps the answers, since asking a browser takes a third of a second; a program is asked again
    when its file is another one than it was.
    """
    known = _read(memory)
    found = {name: _known(name, known.get(name)) for name in names}
    if found != known:
        _write(memory, found)
    return {name: str(entry["version"]) for name, entry in found.items()}


def _known(name: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    program = shutil.which(name, path=PATH)
    file = _file(Path(program)) if program else []
    if before and before.get("file") == file:
        return dict(before)
    return {"file": file, "version": _ask(program) if program else ABSENT}


def _file(program: Path) -> list[str | int]:
    real = program.resolve(strict=True)
    seen = real.stat()
    return [str(real), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]


def _ask(program: str) -> str:
    with tempfile.TemporaryDirectory() as home:
        try:
            done = subprocess.run(  # noqa: S603  a program that a runtime names
                [program, "--version"], env={"PATH": PATH, "HOME": home, "LANG": "C.UTF-8"}, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=_PATIENCE, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"does not start: {type(error).__name__}"
    said = done.stdout.strip().splitlines()
    return said[0].strip() if said and not done.returncode else f"does not start: exit code {done.returncode}"


def _read(memory: Path) -> dict[str, Any]:
    try:
        kept = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(memory: Path, found: Mapping[str, Any]) -> None:
    part = memory.with_name(f".{memory.name}.part-{os.getpid()}")
    try:
        part.write_text(json.dumps(found, sort_keys=True))
        part.replace(memory)
    except OSError:
        part.unlink(missing_ok=True)  # it is asked again next time
