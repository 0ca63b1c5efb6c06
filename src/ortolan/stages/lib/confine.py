"""Code that the user calls trusted runs confined: no network, no files but its own folder's, no reach into other processes.

What contains what is told by ``confined``; docs/decisions/0030 says what each is worth.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from . import audit, landlock, seccomp, syscalls

_FLAG = "ORTOLAN_CONFINED"
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/proc", "/sys", "/etc/ld.so.cache", "/etc/localtime")
_READABLE = ("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_WRITABLE = ("/dev/null",)


def confined() -> dict[str, str]:
    """What keeps this process in: ``{"network", "files"}``, each ``seccomp``, ``landlock`` or ``audit hook``; empty: nothing."""
    return dict(json.loads(os.environ.get(_FLAG, "{}")))


def enter(out: Path) -> dict[str, str]:
    """Confine this process for good, before any of the user's code runs; call it first of all in a stage.

    The kernel's restrictions hold for a thread and what comes from it, so the worker starts anew under them, and this returns
    only in the new one. Where the kernel lacks one of them, Python's audit hook stops accidents in its place: no attacker.
    """
    if not confined():
        by = {"network": _try(_no_network), "files": _try(_own_folder)}
        out.rmdir()
        os.environ[_FLAG] = json.dumps({what: how or "audit hook" for what, how in by.items()})
        os.execve(sys.executable, sys.orig_argv, dict(os.environ))  # noqa: S606 - itself, as it was started
    if "audit hook" in confined().values():
        sys.addaudithook(audit.refuse_outside(Path.cwd()))
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
    landlock.restrict(map(Path, (*_SYSTEM, *_READABLE, *interpreter)), [Path.cwd(), *map(Path, _WRITABLE)])
    return "landlock"
