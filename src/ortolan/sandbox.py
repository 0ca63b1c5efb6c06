"""The folder that a step runs in: its stage's files, its inputs, its request, and after it the output."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import known
from .contract import contract
from .disk import alive, copied
from .errors import StepError
from .stage_files import stage_files
from .step import Step, Tree
from .store import Output, Store

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


def from_tree(source: Tree, path: str, *, shared: bool) -> Fetch:
    """A fetch of one of the user's files. StepError where it is not what it was; ``shared`` is as in ``Store.fetch``."""

    def fetch(to: Path) -> None:
        large = shared and source.paths[path].stat().st_size >= known.LARGE
        if large and known.link(source.paths[path], to, source.files[path]):
            return
        if copied(source.paths[path], to) != source.files[path]:
            raise StepError(
                "the file changed while the build ran", where=str(source.paths[path]), hint="run the same command again"
            )

    return fetch


def put_all(store: Store, step: Step, out: Path) -> dict[str, Output]:
    """Keep in the store what the step left. StepError for more or less than it declares, and for what is no plain file.

    A link may lead to what the step itself could not read, and nobody ends a read from a pipe.
    """
    declared = contract(step.stage)
    inside = sorted(out.rglob("*")) if out.is_dir() and not out.is_symlink() else [out]
    left = {path.relative_to(out.parent).as_posix(): path.lstat().st_mode for path in inside if os.path.lexists(path)}
    if strange := sorted(name for name, mode in left.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))):
        raise StepError(
            f"stage {step.stage} left what is no plain file: {', '.join(strange)}", where=step.label,
            hint="only code in the model's own files does such things: look at who made them",
        )  # fmt: skip
    found = {name.removeprefix(f"{out.name}/") for name, mode in left.items() if stat.S_ISREG(mode)}
    missing = set(declared.outputs) - declared.optional_outputs - found
    if missing or found - set(declared.outputs):
        raise StepError(
            f"stage {step.stage} left {sorted(found)}, declared are {list(declared.outputs)}", where=step.label,
            hint="this is a mistake in the stage, not in your recipe; please report it",
        )  # fmt: skip
    return {name: store.take(out / name) for name in declared.outputs if name in found}


def keep(folder: Path, kept: Path) -> Path:
    """Move a folder to where it stays; no name in it is then the user's file or the store's."""
    shutil.rmtree(kept, ignore_errors=True)
    _own(folder)
    folder.rename(kept)
    return kept


def _own(folder: Path) -> None:
    """Let no name in a folder that stays be the user's file or the store's: copies stay, or nothing where the disk is full."""
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_nlink == 1:
            continue
        handle, own = tempfile.mkstemp(dir=folder)
        os.close(handle)
        try:
            shutil.copyfile(path, own)
            Path(own).replace(path)
        except OSError:
            Path(own).unlink()
            path.unlink()


def sweep(work: Path) -> None:
    """Remove the work folders of builds that were killed."""
    for folder in work.glob("*-*"):
        owner = folder.name.partition("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
