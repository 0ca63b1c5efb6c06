"""Python's audit hook in place of the kernel's restrictions: stops accidents in a model's code, not an attacker. Reads stay free.

Source: the table of audit events in Python's documentation. Native code, os.mkfifo, and os.open relative to another folder raise
no event, or one that does not tell where.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LINUX = sys.platform == "linux"
_REACH = ("socket.", "subprocess.", "ctypes.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.kill")
_CHANGES = {
    "os.chdir": ((0, None),), "os.chmod": ((0, 2),), "os.chown": ((0, 3),), "os.link": ((0, 2), (1, 3)), "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),), "os.rename": ((0, 2), (1, 3)), "os.rmdir": ((0, 1),), "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),), "os.utime": ((0, 3),), "os.setxattr": ((0, None),), "os.removexattr": ((0, None),),
}  # fmt: skip
"""What changes files, by the names of the events: which arguments are paths, and which say what folder each is relative to."""
_F_GETPATH = 50  # sys/fcntl.h of macOS
_HERE = -1  # what an event says where no folder was given


def refuse_outside(folder: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """A hook that raises PermissionError at what reaches out of Python's functions, or changes files outside ``folder``."""
    own = folder.resolve()

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REACH):
            raise PermissionError(f"{event} is refused to code from a model file")
        if not all(_inside(own, path) for path in _changed(event, arguments)):
            raise PermissionError(f"{event} outside its own folder is refused to code from a model file")

    return refuse


def _changed(event: str, arguments: tuple[Any, ...]) -> list[Path]:
    """The paths that an event is about to change, and where the symbolic link that it is about to make will lead."""
    if event == "open":
        return [_path(arguments[0])] if _writes(arguments) and not isinstance(arguments[0], int) else []
    found = [_path(arguments[at], arguments[base] if base else None) for at, base in _CHANGES.get(event, ())]
    return [*found, found[0].parent / _path(arguments[0])] if event == "os.symlink" else found


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    return (isinstance(mode, str) and bool(set(mode) & set("wax+"))) or bool(
        (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    )


def _path(given: Any, base: int | None = None) -> Path:
    """A path of an event; ``given`` may be a descriptor, and ``base`` that of the folder it is relative to."""
    if isinstance(given, int):
        return _opened(given)
    path = Path(os.fsdecode(given))
    return path if base is None or base == _HERE else _opened(base) / path


def _opened(descriptor: int) -> Path:
    if _LINUX:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    return Path(os.fsdecode(fcntl.fcntl(descriptor, _F_GETPATH, bytes(1024)).rstrip(b"\0")))


def _inside(own: Path, path: Path) -> bool:
    return str(path) == os.devnull or path.resolve().is_relative_to(own)
