"""The console program as a process of its own, in a workspace, whatever HOME holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Workspace

PROGRAM = [sys.executable, "-m", "ortolan"]


def caches(workspace: Workspace) -> Path:
    """A folder for XDG_CACHE_HOME in which ``ortolan`` is the workspace's cache, with the user's runtimes in it."""
    workspace.cache.root.mkdir(parents=True, exist_ok=True)
    _link(workspace.cache.root / "runtimes", workspace.cache.runtimes)
    home = workspace.root.parent / "xdg"
    home.mkdir(exist_ok=True)
    _link(home / "ortolan", workspace.cache.root)
    return home


def environment(workspace: Workspace, **more: str) -> dict[str, str]:
    """The environment that the program runs in; ``more`` goes before it."""
    return os.environ | {"PYTHONPATH": str(ROOT / "src"), "XDG_CACHE_HOME": str(caches(workspace))} | more


def call(workspace: Workspace, *words: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end."""
    return subprocess.run(
        [*PROGRAM, *words], cwd=cwd or workspace.root, env=environment(workspace, **more), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def _link(path: Path, to: Path) -> None:
    if path != to and not path.exists():
        try:
            path.symlink_to(to)
        except FileExistsError:
            return  # another worker was faster
