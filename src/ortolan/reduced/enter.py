"""Runs commands in a root file system of their own, without network: in namespaces of the kernel, as root or as any user."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from ..errors import RuntimeSetupError
from .flags import BUILD

PROGRAMS = ("unshare", "setpriv", "chroot")
_SINCE = "1735689600"  # seconds: what the compiler takes for today wherever a source asks
# What is mounted is seen by this process and those that it starts, and gone with them.
_SCRIPT = """set -e
root=$1 tree=$2; shift 2
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
mount --bind "$tree" "$root{build}"
exec chroot "$root" "$@"
"""
_HINT = "run it as root; or allow users namespaces (sysctl kernel.unprivileged_userns_clone=1); in Docker: --cap-add SYS_ADMIN"


def missing() -> list[str]:
    """The programs that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def check(root: Path, tree: Path) -> None:
    """RuntimeSetupError where this machine's kernel does not allow what ``run`` needs."""
    done = subprocess.run(command(root, tree, ["true"]), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        why = done.stderr.strip() or f"exit code {done.returncode}"
        raise RuntimeSetupError("a root file system of its own cannot be entered here", where=str(root), why=why, hint=_HINT)


def run(
    root: Path, tree: Path, asked: Sequence[str], log: IO[bytes], line: Callable[[str], object] = str, held: int | None = None
) -> int:
    """Run ``asked`` in ``root`` with ``tree`` as /build; its exit code. What it says goes to ``log``, and by lines to ``line``.

    It ends when this process does, however that ends. ``held`` is a file that it keeps open until then: the tree's lock.
    """
    begun = subprocess.Popen(  # noqa: S603 - our own command line
        command(root, tree, asked),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=() if held is None else (held,),
        start_new_session=True,
    )
    try:
        for said in begun.stdout or ():
            log.write(said)
            line(said.decode(errors="replace").rstrip())
        return begun.wait()
    except BaseException:
        begun.kill()  # unshare takes all others along
        begun.wait()
        raise


def command(root: Path, tree: Path, asked: Sequence[str]) -> list[str]:
    """The command line; the environment inside is made from scratch."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    apart = ["unshare", *own, "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--propagation", "private"]
    inside = [
        "/usr/bin/env",
        "-i",
        "-C",
        BUILD,
        "PATH=/usr/bin",
        "LC_ALL=C",
        "TZ=UTC",
        f"HOME={BUILD}/scratch",
        f"TMPDIR={BUILD}/scratch",
    ]
    inside += [f"SOURCE_DATE_EPOCH={_SINCE}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0"]
    script = ["sh", "-c", _SCRIPT.format(build=BUILD), "sh", str(root), str(tree)]
    return ["setpriv", "--pdeathsig", "KILL", *apart, *script, *inside, *asked]
