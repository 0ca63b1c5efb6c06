"""Whether a finished build is still up to date: everything it read and everything it wrote has the digests of then.

This is what makes a build with nothing to do instant: no recipe is parsed and no plan is made. It can only say "nothing changed";
any doubt leads to a real build, whose keys decide.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import digest
from .disk import write_json
from .platforms import cpu_features

PACKAGE = Path(__file__).parent


def recall(path: Path) -> str | None:
    """What the build that left this record said, when nothing has changed since; otherwise None."""
    try:
        record = json.loads(path.read_bytes())
        same = (
            record["machine"] == _machine()
            and _unchanged(record["folders"], listing)
            and _unchanged(record["files"], file_digest)
        )
        return str(record["said"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Seen:
    """Files with their digests and folders with their listings, as they were at one moment."""

    files: Mapping[str, str]
    folders: Mapping[str, str]

    def __or__(self, other: Seen) -> Seen:
        return Seen({**self.files, **other.files}, {**self.folders, **other.folders})


def look(files: Iterable[Path], folders: Iterable[Path]) -> Seen:
    """What is there now. Look before it is read: what changes while a build runs must not pass for built."""
    return Seen({str(file): file_digest(file) for file in files}, {str(folder): listing(folder) for folder in folders})


def remember(path: Path, said: str, seen: Seen) -> None:
    """Keep what a build said, and what it read and wrote."""
    write_json(path, {"said": said, "machine": _machine(), "files": seen.files, "folders": seen.folders})


def own() -> list[Path]:
    """Ortolan's own files: another version may come to another result."""
    return [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def record_path(cache: Path, request: Mapping[str, Any]) -> Path:
    """Where the record of a request (project, targets, models, form of the output) is."""
    return cache / "fresh" / f"{digest.short(digest.of_json('request', request), 32)}.json"


def file_digest(path: Path) -> str:
    """A file's digest, or ``absent``."""
    try:
        return digest.of_file(path)
    except OSError:
        return "absent"


def listing(folder: Path) -> str:
    """The names in a folder, in order."""
    return "/".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "absent"


def _unchanged(known: Mapping[str, str], look: Callable[[Path], str]) -> bool:
    return all(look(Path(path)) == value for path, value in known.items())


def _machine() -> list[str]:
    return [sys.version, sys.platform, *cpu_features()]
