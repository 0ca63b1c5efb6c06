"""Files and their sizes, and the bytes that a device fetches to get from OLD to NEW."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from ...digest import short
from ..delta import Delta
from ..layout import FilePart
from .change import Change, Group, Notes, both, some
from .side import Side


@dataclass(frozen=True)
class Bytes:
    """Bytes to send: the packed bundle, a delta from OLD, and the files that OLD does not hold, each counted once.

    ``full`` and ``delta`` are None where there is no release, or no delta. ``unpacked`` is what NEW takes on the device.
    """

    full: int | None
    delta: int | None
    files: int
    unpacked: int


def count(old: Side, new: Side) -> Bytes:
    """What it costs to send NEW to a device that has OLD."""
    known = {part.digest for part in old.files.values()}
    fresh = {part.digest: part.size for part in new.files.values() if part.digest not in known}
    delta = _delta(old, new)
    return Bytes(
        full=new.release.zst.size if new.release else None,
        delta=delta.size if delta else None,
        files=sum(fresh.values()),
        unpacked=sum(part.size for part in new.files.values()),
    )


def files(old: Side, new: Side) -> Group:
    """Files that came, went or changed: artifacts by name, rendered packages by kind."""
    notes = Notes("files")
    kept = 0
    packages: dict[str, list[str]] = {}
    for path, was, now in both(old.files, new.files):
        kind = PurePosixPath(path).parts[0] if "/" in path else ""
        if was and now and was.digest == now.digest:
            kept += 1
        elif kind:
            packages.setdefault(kind, []).append("came" if not was else "went" if not now else "changed")
        else:
            notes.changes.append(Change(path, _file(was), _file(now)))
    for kind, words in sorted(packages.items()):
        told = ", ".join(f"{words.count(word)} {word}" for word in ("changed", "came", "went") if word in words)
        notes.changes.append(Change(f"{kind}/", _package(old, kind), _package(new, kind), why=f"files: {told}"))
    notes.value("all files", _sum(old.files), _sum(new.files))
    notes.same += [some(kept, "file")] if kept else []
    return notes.group()


def _delta(old: Side, new: Side) -> Delta | None:
    if not old.release or not new.release:
        return None
    ends = old.release.tar.digest, new.release.tar.digest
    return next((one for one in new.deltas if (one.old, one.new) == ends), None)


def _file(part: FilePart | None) -> str:
    return "" if part is None else f"{part.size:,} B, {short(part.digest)}"


def _package(side: Side, kind: str) -> str:
    sizes = [part.size for path, part in side.files.items() if path.startswith(f"{kind}/")]
    return f"{some(len(sizes), 'file')}, {sum(sizes):,} B" if sizes else ""


def _sum(parts: Mapping[str, FilePart]) -> str:
    return f"{sum(part.size for part in parts.values()):,} B"
