"""Old Pythons for tests, as devices have them: on PATH, and in the folders that pyenv and uv install them in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

FOLDERS = "ORTOLAN_PYTHONS"
"""The environment variable with more such folders, which .ci/run sets before it takes another home."""


def find(version: str) -> str:
    """An interpreter of a version like ``3.8`` that starts; empty where there is none."""
    folders = [*filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)), str(Path.home() / ".pyenv" / "versions")]
    there = [path for folder in folders for form in ("{}.*", "cpython-{}.*") for path in _in(Path(folder), form.format(version))]
    return next((one for one in (shutil.which(f"python{version}"), *there) if one and _starts(one)), "")


def _in(folder: Path, form: str) -> list[str]:
    return [str(path / "bin" / "python") for path in sorted(folder.glob(form))]


def _starts(python: str) -> bool:
    """A shim of pyenv is there also where the version is not."""
    try:
        return subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
