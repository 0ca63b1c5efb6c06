"""The folder that a step runs in: its stage's files, its inputs, its request, and after it the output."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .stage_files import stage_files

Fetch = Callable[[Path], None]


def prepare(folder: Path, stage: str, inputs: Mapping[str, str], files: Mapping[str, Fetch], params: Mapping[str, Any]) -> None:
    """Fill ``folder``: ``inputs`` maps names to paths below it, ``files`` says how to bring each file to its path."""
    for path, data in stage_files(stage).items():
        _parent(folder / path).write_bytes(data)
    for path, fetch in files.items():
        fetch(_parent(folder / path))
    for path in inputs.values():
        if not (folder / path).exists():
            (folder / path).mkdir(parents=True)  # a tree without files
    request = {"stage": stage, "inputs": dict(inputs), "params": dict(params)}
    (folder / "request.json").write_text(json.dumps(request, sort_keys=True))


def copy_from(source: Path) -> Fetch:
    """A fetch that copies a file or a folder."""

    def fetch(to: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, to)
        else:
            shutil.copyfile(source, to)

    return fetch


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
