"""The programs that every build carries for its device: as modules, and as programs run by some interpreter."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import ROOT
from ortolan import runtime
from ortolan.cache import user_cache

FOLDER = ROOT / "templates" / "device"
PREFLIGHT, SELFTEST = FOLDER / "preflight.py", FOLDER / "selftest.py"


def module(path: Path) -> Any:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location(f"device_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def interpreter(name: str) -> str:
    """The Python of a pinned runtime."""
    return str(runtime.ensure(runtime.find(name, [ROOT / "runtimes"]), user_cache().runtimes).interpreter)


def run(
    *command: str | Path, python: str = sys.executable, given: bytes = b"", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that never ends in a traceback."""
    done = subprocess.run(
        [python, *map(str, command)], input=given, capture_output=True, check=False, env={**os.environ, **(environment or {})}
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def checks(done: subprocess.CompletedProcess[bytes]) -> dict[str, dict[str, str]]:
    """The checks of ``preflight.py --json`` by name; its verdict is its exit code."""
    told = json.loads(done.stdout)
    assert told["fits"] == (done.returncode == 0)
    assert all(one.keys() == {"name", "outcome", "measured", "limit", "why"} for one in told["checks"])
    return {one["name"]: one for one in told["checks"]}


def outcomes(found: Mapping[str, Mapping[str, str]], *but: str) -> set[str]:
    """The outcomes of all checks but some."""
    return {one["outcome"] for name, one in found.items() if name not in but}


def names(found: Mapping[str, Mapping[str, str]], outcome: str) -> Sequence[str]:
    """The checks with this outcome."""
    return [name for name, one in found.items() if one["outcome"] == outcome]
