"""One build of a reduced runtime: what it is made of, and the keys by which its tree and its result are found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import digest
from .config import Config
from .edits import Patch
from .flags import LINKING, Knobs
from .root import Root
from .sources import Source
from .tree import GLUE

_HOW = 1  # counts up when the way of building changes what is compiled: then trees start anew, too
_FILES = 3  # counts up when something else changes in what a build leaves: the record, licence texts, the library's name


@dataclass(frozen=True)
class Work:
    """What a library is built from, and nothing else: two that are equal have equal libraries."""

    platform: str
    config: Config
    knobs: Knobs
    flags: Mapping[str, str]
    sources: Sequence[Source]
    patches: Sequence[Patch]
    root: Root

    @property
    def tree(self) -> str:
        """The key of the build tree: all but the configuration and what the linker is told."""
        return digest.of_json("tree", self._same() | {"flags": {k: v for k, v in self.flags.items() if k != LINKING}})

    @property
    def key(self) -> str:
        """The key of the library."""
        own = {"files": _FILES, "config": self.config.text(), "knobs": asdict(self.knobs), "flags": dict(self.flags)}
        return digest.of_json("reduced", self._same() | own)

    def _same(self) -> dict[str, Any]:
        return {
            "how": _HOW,
            "platform": self.platform,
            "sources": {source.pinned.name: source.digest for source in self.sources},
            "patches": [patch.digest for patch in self.patches],
            "glue": digest.of_tree(_files(GLUE)),
            "toolchain": self.root.digest,
        }


def _files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): digest.of_file(path) for path in folder.rglob("*") if path.is_file()}
