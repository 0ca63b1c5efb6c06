"""Digests of files that were read whole and have not changed since: a build hashes a large one once, however often it is read."""

from __future__ import annotations

import os
import time
from pathlib import Path

from . import digest

_Identity = tuple[int, int, int, int]

LARGE = 1 << 24
"""Bytes of a file that is worth another name in place of a copy; a smaller one is copied and hashed in milliseconds."""
_SETTLED = 946_684_800 * 10**9
"""The time of change, in nanoseconds, that ``settle`` gives: the first second of 2000, which no write leaves behind."""
_FRESH = 2 * 10**9
"""Nanoseconds: a file that was written so shortly before it is read could be written again in the same tick of its clock."""

_found: dict[_Identity, str] = {}
_linked: dict[Path, tuple[Path, _Identity]] = {}
"""The names that ``link`` made: the file that each is another name of, and what it was then."""


def of_file(path: Path) -> str:
    """The digest of a file: that of its bytes now, or of those that it had when this process last read it and nobody wrote since.

    A write shows in the file's time of change. What was written less than two seconds ago is read again.
    """
    now, before = time.time_ns(), _identity(path)
    if before in _found:
        return _found[before]
    found = digest.of_file(path)
    if before == _identity(path) and now - before[-1] > _FRESH:
        _found[before] = found
    return found


def settle(path: Path) -> None:
    """Give a file a time of change in the past, so that the next write shows however soon it comes.

    It is read anew after that: a file system gives the number of a file that is gone to the next one, which may be of that size.
    """
    os.utime(path, ns=(_SETTLED, _SETTLED))
    _found.pop(_identity(path), None)


def link(path: Path, to: Path, wanted: str) -> bool:
    """Make ``to`` another name of the file ``path``; False, and no file there, where that cannot be or its digest is another.

    It cannot be on another disk, or where the system keeps users from linking to each other's files. Where ``path`` is a symbolic
    link, ``to`` becomes a name of the file that it leads to: os.link would name the link itself (link(2)).
    """
    real = Path(os.path.realpath(path))
    try:
        os.link(real, to)
    except OSError:
        return False
    if of_file(to) == wanted and (now := _identity(to)) in _found:
        _linked[to] = (real, now)
        return True
    to.unlink()
    return False


def changed(path: Path) -> bool:
    """Whether a file that ``link`` made was written to since, under this name or the one that it was given beside.

    A name that is gone by now, or is another file's, tells nothing; one that ``link`` did not make has not changed.
    """
    if path not in _linked:
        return False
    real, before = _linked[path]
    return any(now[:2] == before[:2] and now != before for now in map(_identity_or_none, (path, real)) if now)


def _identity_or_none(path: Path) -> _Identity | None:
    try:
        return _identity(path)
    except OSError:
        return None


def _identity(path: Path) -> _Identity:
    about = path.stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
