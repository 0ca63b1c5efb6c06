"""Confines what this process and all that it starts may read and write on disk. Needs no root; Linux 5.13 or newer.

Sources: landlock(7); linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from . import syscalls

_EXECUTE, _WRITE, _READ_FILE, _READ_FOLDER, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_READING = _EXECUTE | _READ_FILE | _READ_FOLDER
_OF_FILES = _EXECUTE | _WRITE | _READ_FILE | _TRUNCATE
_KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1}  # rights that the kernel knows, by version of its interface
_NEWER = (1 << 15) - 1
_SCOPES = 0b11  # no signals to processes that are not so restricted, nor abstract sockets of theirs
_WITH_SCOPES = 6
_VERSION, _PATH_BENEATH = 1, 1


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """From now on, and for good, only these and what is below them; from Linux 6.12 on, no signals to processes outside either.

    OSError where the kernel has no Landlock.
    """
    version = syscalls.call("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    known = _KNOWN.get(version, _NEWER)
    wanted = struct.pack("=QQQ", known, 0, _SCOPES) if version >= _WITH_SCOPES else struct.pack("=Q", known)
    ruleset = syscalls.call("landlock_create_ruleset", wanted, ctypes.c_size_t(len(wanted)), ctypes.c_uint32(0))
    for path in readable:
        _allow(ruleset, path, _READING & known)
    for path in writable:
        _allow(ruleset, path, known)
    syscalls.call("landlock_restrict_self", ruleset, ctypes.c_uint32(0))
    os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    if not path.exists():
        return
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", rights if path.is_dir() else rights & _OF_FILES, beneath)
    syscalls.call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0))
    os.close(beneath)
