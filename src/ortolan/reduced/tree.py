"""The tree that is compiled: sources unpacked and patched, with what stands in for packages; kept for the next build."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..disk import disk, part_of, remove, sweep, write_json
from ..errors import OrtolanError
from . import enter
from .edits import Patch
from .flags import BUILD
from .root import Root
from .sources import Source, unpack

GLUE = Path(__file__).parent / "glue"
LOG = "build.log"
_READY, _CONFIGURED = "ready.json", "configured.json"


@dataclass(frozen=True)
class Tree:
    """A tree that is this process's alone; ``lock`` is the file that keeps it so."""

    place: Path
    root: Root
    lock: int

    @property
    def objects(self) -> Path:
        """The folder of CMake and ninja."""
        return self.place / "obj"

    def run(self, asked: Sequence[str], line: Callable[[str], object] = str) -> int:
        """Run a command in the root file system with the tree as /build; what it says goes to the log."""
        with disk(self.place), (self.place / LOG).open("ab", buffering=0) as log:
            log.write(f"\n$ {' '.join(asked)}\n".encode())
            return enter.run(self.root.place, self.place, asked, log, line, self.lock)

    def tail(self, lines: int = 12) -> str:
        """The end of what the last command said."""
        said = (self.place / LOG).read_text(errors="replace").rpartition("\n$ ")[2].splitlines()[1:]
        return "\n".join(said[-lines:])

    @property
    def configured(self) -> dict[str, Any] | None:
        """The flags with which CMake came to its end here last, none where it was stopped since; None: it never did."""
        try:
            told: dict[str, Any] = json.loads((self.place / _CONFIGURED).read_text())
        except (OSError, ValueError):
            return None
        return told

    def forget(self) -> None:
        """Before CMake goes over a tree once more: one that is stopped then has flags that nobody knows.

        What was compiled stays; a tree in which CMake never came to its end has nothing to forget.
        """
        if self.configured is not None:
            write_json(self.place / _CONFIGURED, {})

    def now_configured(self, flags: Mapping[str, str]) -> None:
        """From here on ninja goes on by itself, whatever stops it."""
        write_json(self.place / _CONFIGURED, flags)


@contextmanager
def opened(
    place: Path, root: Root, sources: Sequence[Source], patches: Sequence[Patch], say: Callable[[str], object] = str
) -> Iterator[Tree]:
    """The tree at ``place``, unpacked and patched; no other process has it meanwhile.

    A tree whose unpacking was stopped is made anew. OrtolanError when a patch does not apply; StoreError when the disk is full.
    """
    with disk(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build uses the same tree: waiting until it is done")
            fcntl.flock(stream, fcntl.LOCK_EX)
        tree = Tree(place, root, stream.fileno())
        if not (place / _READY).is_file():
            _unpack(tree, sources, patches, say)
        yield tree


def _unpack(tree: Tree, sources: Sequence[Source], patches: Sequence[Patch], say: Callable[[str], object]) -> None:
    sweep(tree.place.parent)
    part = Tree(part_of(tree.place), tree.root, tree.lock)
    with disk(tree.place.parent):
        try:
            remove(part.place)
            (part.place / "scratch").mkdir(parents=True)
            for source in sources:
                say(f"unpacking {source.file}")
                unpack(source, part.place / source.pinned.name)
            shutil.copytree(GLUE, part.place / "glue")
            enter.check(part.root.place, part.place)
            for patch in patches:
                _apply(part, patch)
            (part.place / _READY).write_text(json.dumps([source.digest for source in sources]))
            remove(tree.place)
            part.place.rename(tree.place)
        finally:
            remove(part.place)


def _apply(tree: Tree, patch: Patch) -> None:
    shutil.copyfile(patch.path, tree.place / "scratch" / patch.path.name)
    told = ["--batch", "--forward", "--fuzz=0", "--strip=1", "--no-backup-if-mismatch"]
    into = f"--directory={BUILD}/{patch.source}"
    if tree.run(["patch", *told, into, f"--input={BUILD}/scratch/{patch.path.name}"]):
        hint = "is this the unchanged source of that version? ./inv runtime-build without --sources fetches it"
        raise OrtolanError(f"the patch {patch.path.name} does not apply", why=tree.tail(4), hint=hint)
