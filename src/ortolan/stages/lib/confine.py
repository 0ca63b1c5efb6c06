"""Code that the user calls trusted runs confined: no network, no files but its own folder's, no reach into other processes.

What contains what is told by ``confined``; docs/decisions/0030 says what each is worth.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from . import landlock, seccomp, syscalls

_FLAG = "ORTOLAN_CONFINED"
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/proc", "/sys", "/dev", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null",)


def confined() -> dict[str, str]:
    """What keeps this process in: ``{"network", "files"}``, each ``seccomp``, ``landlock`` or ``audit hook``; empty: nothing."""
    return dict(json.loads(os.environ.get(_FLAG, "{}")))


def enter(out: Path) -> dict[str, str]:
    """Confine this process for good, before any of the user's code runs; call it first of all in a stage.

    The kernel's restrictions hold for a thread and what comes from it, so the worker starts anew under them, and this returns
    only in the new one. Where the kernel has neither, Python's audit hook refuses the same: native code is not held by that.
    """
    if not confined():
        by = {"network": _try(_no_network), "files": _try(_own_folder)}
        out.rmdir()
        os.environ[_FLAG] = json.dumps({what: how or "audit hook" for what, how in by.items()})
        os.execve(sys.executable, sys.orig_argv, dict(os.environ))  # noqa: S606 - itself, as it was started
    if "audit hook" in confined().values():
        sys.addaudithook(_refuse)
    return confined()


def _try(restrict: Any) -> str:
    try:
        return str(restrict())
    except OSError as error:
        sys.stderr.write(f"{restrict.__name__}: {error}\n")
        return ""


def _no_network() -> str:
    syscalls.give_up_privileges()
    seccomp.restrict()
    return "seccomp"


def _own_folder() -> str:
    interpreter = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).resolve().parents[1])}
    landlock.restrict(map(Path, (*_SYSTEM, *interpreter)), [Path.cwd(), *map(Path, _DEVICES)])
    return "landlock"


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: what reaches out of Python's functions, by the names of the table of audit events."""
    if event.startswith(("socket.", "subprocess.", "ctypes.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.kill")):
        raise PermissionError(f"{event} is refused to code from a model file")
    writes = event in _CHANGES or (event == "open" and _writes(arguments))
    if writes and isinstance(path := arguments[0], str | bytes) and not _own(os.fsdecode(path)):
        raise PermissionError(f"{event} outside its own folder is refused to code from a model file")


_CHANGES = frozenset({
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.utime",
})  # fmt: skip


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    return (isinstance(mode, str) and bool(set(mode) & set("wax+"))) or bool(
        (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    )


def _own(path: str) -> bool:
    return path == os.devnull or Path(path).resolve().is_relative_to(Path.cwd())
