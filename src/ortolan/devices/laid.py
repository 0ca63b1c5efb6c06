"""The files of an errand laid into a folder of this machine, as a host lays them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def lay(files: Mapping[str, Path], folder: Path) -> None:
    """Each file at its path below the folder, unless something is there already."""
    for name, path in files.items():
        to = folder / name
        if not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            _link(path, to)


def _link(path: Path, to: Path) -> None:
    """Weights beside a model must not be a symbolic link for newer versions of ONNX Runtime."""
    try:
        os.link(path.resolve(), to)
    except OSError:
        shutil.copyfile(path, to)
